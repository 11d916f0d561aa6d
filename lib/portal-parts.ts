import express, { type Request, type Response } from 'express'
import type { Knex } from 'knex'
import { Passport } from 'passport'
import { createEndLinking } from './account/end-linking.ts'
import { createMethods } from './account/methods.ts'
import { createShowAccount } from './account/show-account.ts'
import { createBrokenGlass } from './classic-login/broken-glass.ts'
import { createEventLog } from './events/events.ts'
import { createHistory } from './events/history.ts'
import { fitForLog } from './logger.ts'
import { createLogoutTokensTable } from './logout/logout-tokens-table.ts'
import { createObey } from './logout/obey.ts'
import { createFindProviderLogout } from './logout/provider-logout.ts'
import { createSendCodeMail } from './mail/code-mail.ts'
import { createSendExpiryMail } from './mail/expiry-mail.ts'
import { createSendMethodMail } from './mail/method-mail.ts'
import { createSendMail } from './mail/send-mail.ts'
import { createRebinding } from './moving/rebind-identities.ts'
import { createRetirement } from './moving/retire-provider.ts'
import { createClientKeys } from './providers/client-keys.ts'
import { createOutbound } from './providers/outbound-http.ts'
import { createProviderClients } from './providers/provider-clients.ts'
import { createProviders } from './providers/providers.ts'
import { createProvidersTable } from './providers/providers-table.ts'
import { createRotateSecrets } from './providers/rotate-secrets.ts'
import { createSecretBox } from './providers/secret-box.ts'
import type { Settings } from './read-options.ts'
import { createAddressProofs } from './registration/address-proof.ts'
import { createBeginRegistration } from './registration/begin-registration.ts'
import { createOfferLink } from './registration/offer-link.ts'
import { createPendingRegistrations } from './registration/pending-registration.ts'
import { createProofsTable } from './registration/proofs-table.ts'
import { createShowProof } from './registration/show-proof.ts'
import { createStartAgain } from './registration/start-again.ts'
import { createWithPending } from './registration/with-pending.ts'
import { createEndRehearsal } from './rehearsal/end-rehearsal.ts'
import { createRehearsals } from './rehearsal/rehearsals.ts'
import { createReport } from './rehearsal/report.ts'
import { createTickets } from './rehearsal/tickets.ts'
import { createSeal, deriveKey } from './seal.ts'
import { createEndSessions } from './sessions/end-sessions.ts'
import { createKnownStores } from './sessions/known-stores.ts'
import { createLimitsOf, longestOf } from './sessions/limits.ts'
import { createPlaceOf } from './sessions/place.ts'
import { createPortalSessions } from './sessions/portal-session.ts'
import { createRunningSessions, spare } from './sessions/running-sessions.ts'
import { createSessionActs } from './sessions/session-acts.ts'
import { createSessionIndex } from './sessions/session-index.ts'
import { createSessionMiddleware } from './sessions/session-middleware.ts'
import { createSessionStore } from './sessions/session-store.ts'
import { createAdmit } from './sign-in/admit.ts'
import { createAttempts } from './sign-in/attempts.ts'
import { createDemandFresh } from './sign-in/demand-fresh.ts'
import { createLastUsed } from './sign-in/last-used.ts'
import { createLookUp } from './sign-in/look-up.ts'
import { createProviderStrategies } from './sign-in/provider-strategies.ts'
import { createRefuse } from './sign-in/refuse.ts'
import { createSignedOutHere } from './sign-in/signed-out-here.ts'
import { createTellMethods } from './sign-in/tell-methods.ts'
import { createTasks } from './upkeep/tasks.ts'
import { createUpkeep } from './upkeep/upkeep.ts'
import { createIdentitiesTable } from './users/identities-table.ts'
import { createKnownUsers } from './users/known-users.ts'
import { punctual } from './users/punctual-directory.ts'
import { createUsersTable } from './users/users-table.ts'
import { createAddresses } from './web/addresses.ts'
import { createPages } from './web/pages.ts'
import { createPortalOf } from './web/portal-of.ts'
import { createRoundTrips } from './web/round-trips.ts'
import { sameOrigin } from './web/same-origin.ts'
import { cookieName } from './web/sealed-cookie.ts'
import { createViews } from './web/views.ts'
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
