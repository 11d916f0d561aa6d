import express, { type Request, type RequestHandler, type Response, type Router } from 'express'
import type { Knex } from 'knex'
import { createAccountPage } from './account/account-page.ts'
import { createEndLinking, createSignInMethods } from './account/sign-in-methods.ts'
import { type AdminOptions, adminRouter } from './admin/admin.ts'
import { type BreakGlass, createBreakGlass, createBreakGlassCookie } from './classic-login/break-glass.ts'
import { createClassicLoginGate } from './classic-login/classic-login-gate.ts'
import { connectDatabase } from './database/connect.ts'
import { migrate, pendingMigrations } from './database/migrate.ts'
import { ErrorHandler } from './events/error-handler.ts'
import { EventHistory } from './events/event-history.ts'
import { EventLog, type PortalEvents } from './events/event-log.ts'
import { type GuardOptions, guard } from './guard.ts'
import { createApplyProviderLogout } from './logout/provider-logout.ts'
import { createFindProviderLogout } from './logout/rp-initiated-logout.ts'
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
import { createEmailVerifications } from './registration/email-verification.ts'
import { createEmailVerificationPages } from './registration/email-verification-routes.ts'
import { createEmailVerificationsTable } from './registration/email-verifications-table.ts'
import { createRouter, limitRefusals } from './router.ts'
import { type SessionMiddlewareOptions, sessionMiddleware } from './session.ts'
import { Sessions } from './sessions/sessions.ts'
import type { SessionMatch } from './sessions/sessions-table.ts'
import type { ActOptions } from './shared/act-options.ts'
import { ConfigurationError } from './shared/errors.ts'
import { SecretBox } from './shared/seal.ts'
import { createAttempts } from './sign-in/attempts.ts'
import { createLastProvider, createSignedOutMarker } from './sign-in/browser-hints.ts'
import { createCompleteSignIn } from './sign-in/complete-sign-in.ts'
import { createProviderClients, createProviderStrategies } from './sign-in/connected-providers.ts'
import { createResolveIdentity } from './sign-in/decide.ts'
import { createNotifySignInMethodChange } from './sign-in/notify-sign-in-method.ts'
import {
  createOfferAccountLink,
  createPendingRegistrations,
  createRestartSignIn,
  createStartRegistration,
  createWithPending,
} from './sign-in/pending-registration.ts'
import { createRequireReauthentication } from './sign-in/reauthentication.ts'
import { createRefuse } from './sign-in/refuse.ts'
import { createReport } from './test-sign-in/report.ts'
import {
  createFinishTestSignIn,
  createTestSignIns,
  type TestSignInLinks,
} from './test-sign-in/test-sign-in.ts'
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
  const { secrets, secure, homePath, mailer, mailFrom, redis } = settings
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
  const { identities } = users
  const sessions = new Sessions(core, users.cache, events, settings)
  const pendingRegistrations = createPendingRegistrations(core.seal('registration'), secure)
  const clearPendingRegistration = (res: Response) => pendingRegistrations.clear(res)
  const lastUsed = createLastProvider(secure)
  const signedOutMarker = createSignedOutMarker(secure)
  const offerAccountLink = createOfferAccountLink(pendingRegistrations, urls)
  const refuse = createRefuse({ urls, homePath, pages, events, logger })
  const form = express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 100 })
  const clients = createProviderClients(table, outbound)
  const mail = mailer && new Mail(pages, mailer, mailFrom)
  const notifySignInMethodChange = createNotifySignInMethodChange({
    urls,
    logger,
    pages,
    sessions,
    mail,
  })
  const proving = mail && {
    emailVerifications: createEmailVerifications(createEmailVerificationsTable(knex), secrets),
    mail,
    emailVerificationPages: createEmailVerificationPages({ urls, pages, table }),
  }
  const attempts = createAttempts(core.seal('attempt'), secure)
  const strategies = createProviderStrategies({ urls, attempts, clients, passport: sessions.passport })
  const resolveIdentity = createResolveIdentity({ identities, users, registration: settings.registration })
  const canVerifyEmail = proving !== undefined
  const oneTimeLinks = new OneTimeLinks(core)
  const report = createReport({ events, logger, resolveIdentity, pages, canVerifyEmail, table, oneTimeLinks })
  const testSignIns = createTestSignIns({ urls, pages, report, strategies, table, oneTimeLinks })
  const breakGlassCookie = createBreakGlassCookie(core.seal('break-glass'), secure, portalOf)
  const methods = createSignInMethods({ identities, table })
  const parts = {
    urls,
    completeSignIn: createCompleteSignIn({
      sessions,
      identities,
      events,
      lastUsed,
      homePath,
      clearPendingRegistration,
      offerAccountLink,
      signedOutMarker,
      table,
      notifySignInMethodChange,
    }),
    allowsClassic: async (req: Request) =>
      settings.allowsClassic(req) || (await breakGlassCookie.isOpen(req)),
    attempts,
    startRegistration: createStartRegistration(pendingRegistrations, urls),
    breakGlassCookie,
    clients,
    requireReauthentication: createRequireReauthentication({
      urls,
      identities,
      pages,
      portalOf,
      sessions,
      table,
    }),
    consents: new StateCookie(core, 'admin-consent'),
    endLinking: createEndLinking({ urls, identities, pendingRegistrations, users }),
    finishTestSignIn: createFinishTestSignIn({ report, strategies }),
    endSessions: (match: SessionMatch) => sessions.endAll(match),
    errorHandler,
    events,
    findProviderLogout: createFindProviderLogout({ clients, table }),
    findPendingRegistrationId: async (req: Request, portal: string) =>
      (await pendingRegistrations.find(req, portal))?.id,
    clearPendingRegistration,
    form,
    homePath,
    identities,
    knex,
    lastUsed,
    logger,
    resolveIdentity,
    methods,
    applyProviderLogout: createApplyProviderLogout({ events, sessions }),
    index: sessions.table,
    pages,
    pendingRegistrations,
    portalOf,
    posted: [refuseCrossSitePosts(core), form, sessions.revalidate],
    canVerifyEmail,
    proving,
    rateLimits: settings.rateLimits,
    rateLimiter: new RateLimiter(core, redis),
    refuse,
    testSignIns,
    registrationForm: { fields: settings.registrationFields, terms: settings.registrationTerms },
    returns: new StateCookie(core, 'logout'),
    sessions,
    showAccountPage: createAccountPage({ urls, homePath, methods, pages, portalOf, sessions, table }),
    sessionsApi: new SessionsApi(sessions, events, table),
    emailVerificationPages: proving?.emailVerificationPages,
    signedOutMarker,
    restartSignIn: createRestartSignIn(pendingRegistrations, urls),
    strategies,
    table,
    notifySignInMethodChange,
    oneTimeLinks,
    users,
    withPending: createWithPending({ urls, homePath, pendingRegistrations, portalOf, refuse, table }),
  }

  const { adminMail } = settings
  const { retentionDays } = settings.events
  const management = {
    knex,
    urls,
    events,
    http: outbound,
    providersTable: table,
    connectedProviders: clients,
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

/** The plugin of one application. Mount `session()` before everything that needs a user, then `router()`. */
export interface PortalSso {
  /** Middleware that runs the cookie session (unless the host has its `own`) and sets `req.user`. */
  session(options?: SessionMiddlewareOptions): RequestHandler
  /** The login, registration, account and logout pages and the protocol's endpoints. Also starts the maintenance timer. */
  router(): Router
  /**
   * Middleware that admits signed-in users only. Pages redirect all others to the sign-in page and back; other clients get 401.
   *
   * @throws ConfigurationError when an option is invalid
   */
  guard(options?: GuardOptions): RequestHandler
  /** Middleware before the host's own password handler: refuses with 403 while a provider is enabled. */
  classicLoginGate(): RequestHandler
  /**
   * The pages on which administrators manage providers, sessions and events.
   *
   * @throws ConfigurationError without `authorize`
   */
  admin(options: AdminOptions): Router
  /** Connects and manages providers. */
  readonly providers: ProvidersApi
  /** Lists and ends sessions. */
  readonly sessions: SessionsApi
  /** Tests providers with a sign-in that starts no session. */
  readonly testSignIns: TestSignInLinks
  /** Access for when every provider fails. */
  readonly breakGlass: BreakGlass
  /** Encrypts all client secrets and keys with the first secret of `secret: [new, old]`. @returns how many providers have some */
  rotateSecrets(options?: Pick<ActOptions, 'actor'>): Promise<{ providers: number }>
  /** Reads the stored events. */
  readonly history: EventHistory
  /** The directory in use: the option `users`, or the table `sso_users`. */
  readonly users: UserDirectory
  /** Emits events as they happen. */
  readonly events: PortalEvents
  /**
   * Runs the maintenance that the router starts every minute: disables retired providers, warns of expiring client secrets and
   * deletes expired rows. For a host that is frozen between requests. Safe on any number of instances.
   */
  runMaintenance(): Promise<void>
  /** Stops the maintenance and closes what the plugin opened. The host's own Knex instance and Redis client stay open. */
  close(): Promise<void>
}

/**
 * Migrates the tables (unless `migrate: false`) and returns the plugin.
 *
 * @throws ConfigurationError for an invalid option, or outdated tables with `migrate: false`
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
      // Who serves people looks after what has its time; a command or a script does not.
      maintenance.start()
      return createRouter(parts)
    },
    guard: (options) => guard(parts, options),
    classicLoginGate: () =>
      createClassicLoginGate({ ...parts, limitRefusals: limitRefusals(parts, settings.rateLimits) }),
    admin: (options) => adminRouter(parts, options),
    providers,
    sessions: sessionsApi,
    testSignIns,
    breakGlass: createBreakGlass(parts),
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
