import express, { type RequestHandler, type Router } from 'express'
import type { Knex } from 'knex'
import { Account } from './account/account.ts'
import { type AdminOptions, adminRouter } from './admin/admin.ts'
import type { CallbackModules } from './callback/handle-callback.ts'
import { providerRouter } from './callback/provider-router.ts'
import type { BreakGlass } from './classic-login/break-glass.ts'
import { ClassicLogin } from './classic-login/classic-login.ts'
import { connectDatabase } from './database/connect.ts'
import { migrate, pendingMigrations } from './database/migrate.ts'
import { ErrorHandler } from './events/error-handler.ts'
import { EventHistory } from './events/event-history.ts'
import { EventLog, type PortalEvents } from './events/event-log.ts'
import { type GuardOptions, guard } from './guard.ts'
import { Logout } from './logout/logout.ts'
import { Mail } from './mail/mail.ts'
import { Maintenance } from './maintenance/maintenance.ts'
import { maintenanceTasks } from './maintenance/tasks.ts'
import { ProvidersApi } from './management/providers-api.ts'
import { rotateSecrets } from './management/rotate-secrets.ts'
import { SessionsApi } from './management/sessions-api.ts'
import { createHttpClients } from './oidc/http-client.ts'
import { OneTimeLinks } from './one-time-links/one-time-links.ts'
import { type PortalSsoOptions, readOptions, type Settings } from './options.ts'
import { ProvidersTable } from './providers/providers-table.ts'
import { SecretReferences } from './providers/secret-references.ts'
import { Registrations } from './registration/registrations.ts'
import { createRouter, limitRefusals } from './router.ts'
import { type SessionMiddlewareOptions, sessionMiddleware } from './session.ts'
import { Sessions } from './sessions/sessions.ts'
import type { SessionMatch } from './sessions/sessions-table.ts'
import type { ActOptions } from './shared/act-options.ts'
import { ConfigurationError } from './shared/errors.ts'
import { SecretBox } from './shared/seal.ts'
import { SignIn } from './sign-in/sign-in.ts'
import { TestSignIns } from './test-sign-in/test-sign-in.ts'
import type { UserDirectory } from './users/user-directory.ts'
import { Users } from './users/users.ts'
import { createCore } from './web/core.ts'
import { refuseCrossSitePosts } from './web/csrf.ts'
import { Pages } from './web/pages.ts'
import { RateLimiter } from './web/rate-limit.ts'
import { StateCookie } from './web/sealed-cookie.ts'

/**
 * The one place where the parts meet: made once, in the order in which they need each other. Each takes just what its own
 * `…Parts` names.
 */
export function createPortalParts(settings: Settings, knex: Knex) {
  const { secrets, homePath, mailer, mailFrom, redis } = settings
  const core = createCore(settings, knex)
  const { logger, portalOf, urls } = core
  const events = new EventLog(core, settings.events)
  const pages = new Pages(core, settings)
  const errorHandler = new ErrorHandler(core, pages, events)
  const secretBox = new SecretBox(secrets)
  const table = new ProvidersTable(knex, secretBox, new SecretReferences(settings.secretReferences))
  const outbound = createHttpClients(settings.outbound)
  const cacheSeconds = settings.session.userCacheSeconds
  const users = new Users(core, { directory: settings.users, cacheSeconds })
  const sessions = new Sessions(core, users.cache, events, settings)
  const form = express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 100 })
  const mail = mailer && new Mail(pages, mailer, mailFrom)
  const oneTimeLinks = new OneTimeLinks(core)
  const signIn = new SignIn(core, {
    buildRouter: (connection) => providerRouter(connection, callbackModules),
    events,
    mail,
    outbound,
    pages,
    registrationPolicy: settings.registration,
    sessions,
    table,
    users,
  })
  const registrationForm = { fields: settings.registrationFields, terms: settings.registrationTerms }
  const registration = new Registrations(core, {
    form: registrationForm,
    mail,
    pages,
    secrets,
    signIn,
    table,
  })
  const logout = new Logout({ events, sessions, signIn, table })
  const account = new Account(core, { pages, sessions, signIn, table, users })
  const { allowsClassic } = settings
  const classicLogin = new ClassicLogin(core, { allowsClassic, errorHandler, events, oneTimeLinks, table })
  const testSignIns = new TestSignIns(core, { events, oneTimeLinks, pages, signIn, table })
  const callbackModules: CallbackModules = { core, account, pages, signIn, testSignIns }
  const parts = {
    core,
    urls,
    account,
    classicLogin,
    connectedProviders: signIn.connectedProviders,
    consentState: new StateCookie(core, 'admin-consent'),
    endSessions: (match: SessionMatch) => sessions.endAll(match),
    errorHandler,
    events,
    form,
    homePath,
    identities: users.identities,
    index: sessions.table,
    knex,
    logger,
    logout,
    logoutState: new StateCookie(core, 'logout'),
    oneTimeLinks,
    pages,
    portalOf,
    posted: [refuseCrossSitePosts(core), form, sessions.revalidate],
    rateLimits: settings.rateLimits,
    rateLimiter: new RateLimiter(core, redis),
    registration,
    sessions,
    sessionsApi: new SessionsApi(sessions, events, table),
    signIn,
    table,
    testSignIns,
    users,
  }

  const { adminMail } = settings
  const { retentionDays } = settings.events
  const management = {
    knex,
    urls,
    events,
    http: outbound,
    providersTable: table,
    connectedProviders: signIn.connectedProviders,
    sessions,
    secretBox,
  }
  const providers = new ProvidersApi(management)
  const history = new EventHistory(core)
  return {
    ...parts,
    history,
    outbound,
    providers,
    rotateSecrets: ({ actor = 'code' }: Pick<ActOptions, 'actor'> = {}) =>
      rotateSecrets(management, { actor }),
    maintenance: new Maintenance(
      core,
      maintenanceTasks(core, { events, sessionsTable: sessions.table, mail, adminMail, retentionDays }),
    ),
  }
}

export interface PortalSso {
  /** Cookie session, unless the host has its `own`, and `req.user`; before everything that needs a user. */
  session(options?: SessionMiddlewareOptions): RequestHandler
  /** The pages and routes. */
  router(): Router
  /**
   * Lets signed-in users pass; with `maxAge` or `acr` those who showed their provider who they are not long ago, or well enough.
   *
   * @throws ConfigurationError when an option is wrong
   */
  guard(options?: GuardOptions): RequestHandler
  /** Before the host's own password handler: refuses while a provider is enabled. */
  classicLoginGate(): RequestHandler
  /** The pages on which an administrator connects providers; mounted where the host likes. */
  admin(options: AdminOptions): Router
  readonly providers: ProvidersApi
  /** The sessions that run: whose they are, and how they are ended. */
  readonly sessions: SessionsApi
  readonly testSignIns: Pick<TestSignIns, 'link' | 'outcome'>
  readonly breakGlass: BreakGlass
  /** Encrypts all client secrets with the first secret, after `secret: [new, old]`. */
  rotateSecrets(options?: Pick<ActOptions, 'actor'>): Promise<{ providers: number }>
  readonly history: EventHistory
  /** The directory in use: the host's, or the built-in one. */
  readonly users: UserDirectory
  readonly events: PortalEvents
  /**
   * Does now what is done each minute by itself: retires providers, warns of client secrets that run out, forgets what is over.
   * For a host that is frozen between requests. Safe on any number of instances.
   */
  runMaintenance(): Promise<void>
  /** Closes what was opened here; a host's own Knex and Redis stay open. */
  close(): Promise<void>
}

/**
 * Brings the tables up to date and puts the parts together.
 *
 * @throws ConfigurationError with a sentence that says what to write, when an option is wrong
 */
export async function createPortalSso(options: PortalSsoOptions): Promise<PortalSso> {
  const settings = readOptions(options)
  const database = connectDatabase(settings.database)
  try {
    await (settings.migrate ? migrate(database.knex) : refuseOutdated(database.knex))
  } catch (error) {
    await database.close()
    throw error
  }
  const parts = createPortalParts(settings, database.knex)
  const {
    events,
    history,
    outbound,
    providers,
    testSignIns,
    rotateSecrets,
    sessionsApi,
    maintenance,
    users,
  } = parts

  return {
    session: (options) => sessionMiddleware(parts, options),
    router() {
      // Only a process that serves requests runs maintenance; a command or a script does not.
      maintenance.start()
      return createRouter(parts)
    },
    guard: (options) => guard(parts, options),
    classicLoginGate: () => parts.classicLogin.gate(limitRefusals(parts, settings.rateLimits)),
    admin: (options) => adminRouter(parts, options),
    providers,
    sessions: sessionsApi,
    testSignIns,
    breakGlass: parts.classicLogin.breakGlass,
    rotateSecrets,
    history,
    users,
    events: events.emitter,
    runMaintenance: () => maintenance.run(),
    async close() {
      await maintenance.stop()
      await outbound.close()
      await database.close()
    },
  }
}

async function refuseOutdated(knex: Parameters<typeof pendingMigrations>[0]): Promise<void> {
  const pending = await pendingMigrations(knex)
  if (pending.length > 0)
    throw new ConfigurationError(
      `the tables are not up to date (${pending.join(', ')}): run \`portal-sso migrate\``,
    )
}
