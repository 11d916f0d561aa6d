import express, { type Request, type RequestHandler, type Response, type Router } from 'express'
import type { Knex } from 'knex'
import { Passport } from 'passport'
import { createShowAccount } from './account/account-page.ts'
import { createEndLinking, createMethods } from './account/sign-in-methods.ts'
import { type AdminOptions, createAdmin } from './admin/admin.ts'
import { type BreakGlass, createBreakGlass, createBrokenGlass } from './classic-login/break-glass.ts'
import { createClassicLoginGate } from './classic-login/classic-login-gate.ts'
import { connectDatabase } from './database/connect.ts'
import { migrate, pendingMigrations } from './database/migrate.ts'
import { createHistory, type History } from './events/event-history.ts'
import { createEventLog, type PortalEvents } from './events/event-log.ts'
import { createGuard, type GuardOptions } from './guard.ts'
import { createObey } from './logout/provider-logout.ts'
import { createFindProviderLogout } from './logout/rp-initiated-logout.ts'
import { createSendExpiryMail } from './mail/secret-expiry-mail.ts'
import { createSendMail } from './mail/send-mail.ts'
import { createSendMethodMail } from './mail/sign-in-method-mail.ts'
import { createSendCodeMail } from './mail/verification-code-mail.ts'
import { createUpkeep } from './maintenance/scheduler.ts'
import { createTasks } from './maintenance/tasks.ts'
import { type ClientKeys, createClientKeys } from './management/client-keys.ts'
import { createProviders, type Providers } from './management/providers-api.ts'
import { createRebinding, type Rebinding } from './management/rebind-identities.ts'
import { createRetirement, type Retirement } from './management/retire-provider.ts'
import { createRotateSecrets, type RotateSecrets } from './management/rotate-secrets.ts'
import { createSessionActs, type SessionActs } from './management/sessions-api.ts'
import { createOutbound } from './oidc/http-client.ts'
import { createTickets } from './one-time-links/one-time-links.ts'
import { type PortalSsoOptions, readOptions, type Settings } from './options.ts'
import { createProvidersTable } from './providers/providers-table.ts'
import { createAddressProofs } from './registration/email-verification.ts'
import { createShowProof } from './registration/email-verification-routes.ts'
import { createProofsTable } from './registration/email-verifications-table.ts'
import { createLimitRefusals, createRouter } from './router.ts'
import { createSession, type SessionOptions } from './session.ts'
import { createEndSessions, createKnownStores } from './sessions/end-sessions.ts'
import { createLogoutTokensTable } from './sessions/logout-tokens-table.ts'
import { createPlaceOf } from './sessions/session-data.ts'
import { createLimitsOf, longestOf } from './sessions/session-limits.ts'
import { createSessionMiddleware, createSessionStore } from './sessions/session-store.ts'
import { createRunningSessions, spare } from './sessions/session-validity.ts'
import { createPortalSessions } from './sessions/sessions.ts'
import { createSessionIndex } from './sessions/sessions-table.ts'
import { ConfigurationError } from './shared/errors.ts'
import { fitForLog } from './shared/logger.ts'
import { createSeal, createSecretBox, deriveKey } from './shared/seal.ts'
import { createAttempts } from './sign-in/attempts.ts'
import { createLastUsed, createSignedOutHere } from './sign-in/browser-hints.ts'
import { createAdmit } from './sign-in/complete-sign-in.ts'
import { createProviderClients, createProviderStrategies } from './sign-in/connected-providers.ts'
import { createLookUp } from './sign-in/decide.ts'
import { createTellMethods } from './sign-in/notify-sign-in-method.ts'
import {
  createBeginRegistration,
  createOfferLink,
  createPendingRegistrations,
  createStartAgain,
  createWithPending,
} from './sign-in/pending-registration.ts'
import { createDemandFresh } from './sign-in/reauthentication.ts'
import { createRefuse } from './sign-in/refuse.ts'
import { createReport } from './test-sign-in/report.ts'
import { createEndRehearsal, createRehearsals, type Rehearsals } from './test-sign-in/test-sign-in.ts'
import { createIdentitiesTable } from './users/identities-table.ts'
import { createKnownUsers, punctual, type UserDirectory } from './users/user-directory.ts'
import { createUsersTable } from './users/users-table.ts'
import { sameOrigin } from './web/csrf.ts'
import { createPages, createViews } from './web/pages.ts'
import { createPortalOf } from './web/request.ts'
import { cookieName, createRoundTrips } from './web/sealed-cookie.ts'
import { createAddresses } from './web/urls.ts'

/**
 * The one place where the parts meet: made once, in the order in which they need each other. Each takes just what its own
 * `…Parts` names.
 */
export function createPortalParts(settings: Settings, knex: Knex) {
  const { secrets, secure, homePath, branding, mailer, mailFrom, redis } = settings
  const logger = fitForLog(settings.logger)
  const portalOf = createPortalOf(settings.portal, settings.baseUrl)
  const addresses = createAddresses(settings.baseUrl, settings.mountPath)
  const events = createEventLog(knex, logger, settings.events)
  const views = createViews(settings.viewsDir)
  const pages = createPages({
    addresses,
    logger,
    branding,
    views,
    recordRefusal: async (req, { reference, ...detail }) => {
      await events.record({
        kind: 'refused',
        portal: portalOf(req),
        clientAddress: req.ip,
        reference,
        detail,
      })
    },
  })
  const secretBox = createSecretBox(secrets)
  const table = createProvidersTable(knex, secretBox)
  const outbound = createOutbound(settings.outbound)
  const users = punctual(settings.users ?? createUsersTable(knex))
  const identities = createIdentitiesTable(knex)
  // Our own, not the module's singleton, so that a host's Passport keeps its strategies and serializers.
  const passport = new Passport()
  const { portals, userCacheSeconds, place } = settings.session
  const limitsOf = createLimitsOf(settings.session, portals)
  const fresh = userCacheSeconds * 1000
  const knownUsers = createKnownUsers(users, { fresh, spare: fresh && spare })
  const index = createSessionIndex(knex, createSeal(secrets, 'session-index'), limitsOf)
  const runningSessions = createRunningSessions({ index, limitsOf, logger, fresh })
  const knownStores = createKnownStores()
  const endSessions = createEndSessions({ index, knownStores, logger, runningSessions })
  const placeOf = createPlaceOf(place ?? ((req) => events.addressOf(req.ip)), logger)
  const sessions = createPortalSessions({
    passport,
    endSessions,
    index,
    isSignOut: ({ method, originalUrl }) =>
      method === 'POST' && originalUrl.split('?')[0] === addresses.path('/logout'),
    knownStores,
    knownUsers,
    limitsOf,
    placeOf,
    portalOf,
    runningSessions,
  })
  const pendings = createPendingRegistrations(createSeal(secrets, 'registration'), secure)
  const forgetRegistration = (res: Response) => pendings.clear(res)
  const lastUsed = createLastUsed(secure)
  const signedOutHere = createSignedOutHere(secure)
  const offerLink = createOfferLink(pendings, addresses)
  const refuse = createRefuse({ addresses, homePath, pages, events, logger })
  const form = express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 100 })
  const clients = createProviderClients(table, outbound)
  const sendMail = mailer && createSendMail(mailer, mailFrom)
  const tellMethods = createTellMethods({
    addresses,
    logger,
    pages,
    placeOf,
    sendMethodMail: sendMail && createSendMethodMail(sendMail, views, branding),
  })
  const proving = sendMail && {
    proofs: createAddressProofs(createProofsTable(knex), secrets),
    sendCodeMail: createSendCodeMail(sendMail, views, branding.name),
    showProof: createShowProof({ addresses, pages, table }),
  }
  const attempts = createAttempts(createSeal(secrets, 'attempt'), secure)
  const strategies = createProviderStrategies({ addresses, attempts, clients, passport })
  const lookUp = createLookUp({ identities, users, registration: settings.registration })
  const provesAddresses = proving !== undefined
  const tickets = createTickets(knex)
  const report = createReport({ events, logger, lookUp, pages, provesAddresses, table, tickets })
  const rehearsals = createRehearsals({ addresses, pages, report, strategies, table, tickets })
  const brokenGlass = createBrokenGlass(createSeal(secrets, 'break-glass'), secure, portalOf)
  const methods = createMethods({ identities, table })
  const logoutTokens = createLogoutTokensTable(knex)
  const parts = {
    addresses,
    admit: createAdmit({
      sessions,
      identities,
      events,
      lastUsed,
      homePath,
      forgetRegistration,
      offerLink,
      signedOutHere,
      table,
      tellMethods,
      wasSignedOut: logoutTokens.wasSignedOut,
    }),
    allowsClassic: async (req: Request) => settings.allowsClassic(req) || (await brokenGlass.isOpen(req)),
    attempts,
    beginRegistration: createBeginRegistration(pendings, addresses),
    brokenGlass,
    clients,
    demandFresh: createDemandFresh({ addresses, identities, pages, portalOf, sessions, table }),
    consents: createRoundTrips(createSeal(secrets, 'admin-consent'), secure, 'sso-consent'),
    endLinking: createEndLinking({ addresses, identities, pendings, users }),
    endRehearsal: createEndRehearsal({ report, strategies }),
    endSessions,
    events,
    findProviderLogout: createFindProviderLogout({ clients, table }),
    findRegistrationId: async (req: Request, portal: string) => (await pendings.find(req, portal))?.id,
    forgetRegistration,
    form,
    homePath,
    identities,
    knex,
    lastUsed,
    logger,
    lookUp,
    methods,
    obey: createObey({ endSessions, events, logoutTokens }),
    index,
    pages,
    passport,
    pendings,
    portalOf,
    posted: [sameOrigin((req) => addresses.origin(portalOf(req))), form, sessions.identifyAgain],
    provesAddresses,
    proving,
    rateLimits: settings.rateLimits,
    redis,
    refuse,
    rehearsals,
    registrationForm: { fields: settings.registrationFields, terms: settings.registrationTerms },
    returns: createRoundTrips(createSeal(secrets, 'logout'), secure, 'sso-logout'),
    sessions,
    showAccount: createShowAccount({ addresses, homePath, index, methods, pages, portalOf, table }),
    sessionActs: createSessionActs({ endSessions, events, index, table }),
    showProof: proving?.showProof,
    signedOutHere,
    startAgain: createStartAgain(pendings, addresses),
    strategies,
    table,
    tellMethods,
    tickets,
    users,
    withPending: createWithPending({ addresses, homePath, pendings, portalOf, refuse, table }),
  }

  const inRedis = redis && createSessionStore({ limitsOf, logger, redis })
  // What this instance ends is ended there, also before the first request.
  if (inRedis) knownStores.note(inRedis)
  const cookieSession = () => {
    const store = inRedis ?? createSessionStore({ limitsOf, logger, redis: undefined })
    knownStores.note(store)
    return createSessionMiddleware({
      store,
      longest: longestOf(settings.session, portals),
      secrets: secrets.map((secret) =>
        Buffer.from(deriveKey(secret, 'session-cookie')).toString('base64url'),
      ),
      cookieName: cookieName('portal-sso', secure),
      secure,
    })
  }

  const sendExpiryMail = sendMail && createSendExpiryMail(sendMail, views, branding.name)
  const { adminMail } = settings
  const { keepDays } = settings.events
  const providers = {
    ...createProviders({ ...parts, outbound }),
    ...createClientKeys(parts),
    ...createRetirement(parts),
    ...createRebinding(parts),
  }
  const history = createHistory(parts)
  return {
    ...parts,
    cookieSession,
    history,
    outbound,
    providers,
    rotateSecrets: createRotateSecrets({ ...parts, secretBox }),
    upkeep: createUpkeep(createTasks({ ...parts, adminMail, keepDays, sendExpiryMail }), logger),
  }
}

export interface PortalSso {
  /** Cookie session, unless the host has its `own`, and `req.user`; before everything that needs a user. */
  session(options?: SessionOptions): RequestHandler
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
  readonly providers: Providers & ClientKeys & Retirement & Rebinding
  /** The sessions that run: whose they are, and how they are ended. */
  readonly sessions: SessionActs
  readonly rehearsals: Pick<Rehearsals, 'link' | 'outcome'>
  readonly breakGlass: BreakGlass
  /** Seals all client secrets anew, after `secret: [new, old]`. */
  readonly rotateSecrets: RotateSecrets
  readonly history: History
  /** The directory in use: the host's, or the built-in one. */
  readonly users: UserDirectory
  readonly events: PortalEvents
  /**
   * Does now what is done each minute by itself: retires providers, warns of client secrets that run out, forgets what is over.
   * For a host that is frozen between requests. Safe on any number of instances.
   */
  upkeep(): Promise<void>
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
  const { events, history, outbound, providers, rehearsals, rotateSecrets, sessionActs, upkeep, users } =
    parts

  return {
    session: ({ own = false } = {}) =>
      createSession({ ...parts, cookieSession: own ? undefined : parts.cookieSession() }),
    router() {
      // Who serves people looks after what has its time; a command or a script does not.
      upkeep.start()
      return createRouter(parts)
    },
    guard: (options) => createGuard(parts, options),
    classicLoginGate: () => createClassicLoginGate({ ...parts, limitRefusals: createLimitRefusals(parts) }),
    admin: createAdmin(parts),
    providers,
    sessions: sessionActs,
    rehearsals,
    breakGlass: createBreakGlass(parts),
    rotateSecrets,
    history,
    users,
    events: events.emitter,
    upkeep: () => upkeep.run(),
    async close() {
      await upkeep.stop()
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
