import { type Request, type RequestHandler, Router } from 'express'
import type { Account } from './account/account.ts'
import { accountRoutes } from './account/account-routes.ts'
import type { BreakGlassCookie } from './classic-login/break-glass.ts'
import { breakGlassRoutes } from './classic-login/break-glass-routes.ts'
import type { ClassicLogin } from './classic-login/classic-login.ts'
import { adminConsentRoutes } from './consent/admin-consent-routes.ts'
import type { EventLog } from './events/event-log.ts'
import { guard } from './guard.ts'
import { backChannelRoute } from './logout/back-channel-route.ts'
import { frontChannelRoute } from './logout/front-channel-route.ts'
import type { Logout } from './logout/logout.ts'
import { logoutRoutes } from './logout/logout-routes.ts'
import { type ClientKeysRouteParts, createClientKeysRoute } from './management/client-keys-route.ts'
import { readAuthorizationResponse } from './oidc/authorization-response.ts'
import type { OneTimeLinks } from './one-time-links/one-time-links.ts'
import type { ProvidersTable } from './providers/providers-table.ts'
import { accountLinkRoutes } from './registration/account-link-routes.ts'
import { emailVerificationRoutes } from './registration/email-verification-routes.ts'
import type { Registration } from './registration/registration.ts'
import { registrationRoutes } from './registration/registration-routes.ts'
import type { Sessions } from './sessions/sessions.ts'
import { PortalSsoError } from './shared/errors.ts'
import type { Logger } from './shared/logger.ts'
import { initiateRoutes } from './sign-in/initiate-route.ts'
import { pickerRoute } from './sign-in/picker-route.ts'
import type { SignIn } from './sign-in/sign-in.ts'
import type { TestSignIns } from './test-sign-in/test-sign-in.ts'
import { testSignInLinkRoutes } from './test-sign-in/test-sign-in-link-routes.ts'
import type { UserDirectory } from './users/user-directory.ts'
import type { Core } from './web/core.ts'
import { setPrivateHeaders } from './web/handler.ts'
import { newReference, type Pages } from './web/pages.ts'
import {
  clientKey,
  createRateLimiter,
  digestKey,
  type RateLimiterParts,
  type RateLimits,
} from './web/rate-limit.ts'
import type { PortalResolver } from './web/request.ts'
import type { StateCookie } from './web/sealed-cookie.ts'
import type { PortalUrls } from './web/urls.ts'

export interface LimitParts {
  urls: PortalUrls
  events: EventLog
  /** reads a posted answer */
  form: RequestHandler
  limits: RateLimits
  logger: Logger
  pages: Pages
  portalOf: PortalResolver
  redis: RateLimiterParts['redis']
}

/**
 * Which routes are limited. They come before everything that costs: who floods us is to cost a counter, and neither a query,
 * nor a mail, nor a request to a provider, whose own limits would then shut out everybody.
 */
export function createLimitRoutes({ form, limits, redis, logger, ...parts }: LimitParts): Router {
  const limit = createRateLimiter({ redis, logger, tooMany: createTooMany({ logger, ...parts }) })
  const perClient = (name: keyof RateLimits) =>
    limit({ name, most: limits[name], window: 60, keyOf: clientKey })
  // An attempt is good once: who brings its answer again and again has copied the cookie, and tries codes.
  const perAttempt = limit({ name: 'attempt', most: 10, window: 600, keyOf: attemptKey })
  const [start, callback] = [perClient('start'), perClient('callback')]
  const [registration, code] = [perClient('registration'), perClient('code')]
  const counted: RequestHandler = (_req, _res, next) => next('router')

  // Mounted as the routes themselves are, so that no spelling of a path reaches those and passes by here.
  const signIns = Router()
  signIns.use('/callback', callback, form, perAttempt, counted)
  signIns.use(start)
  const registrations = Router()
  registrations.use(
    ['/code', '/verify'],
    (req, res, next) => (req.method === 'POST' ? code : registration)(req, res, next),
    counted,
  )
  registrations.use(registration)

  const routes = Router()
  routes.use('/login/:provider', signIns)
  routes.use('/register', registrations)
  routes.use('/account/security', registration)
  routes.use('/logout', perClient('logout'))
  return routes
}

/** For the host's own login page, which is none of our routes: refusing costs a row each time. */
export function createLimitRefusals({
  rateLimits,
  redis,
  logger,
  ...parts
}: Omit<LimitParts, 'form' | 'limits'> & { rateLimits: RateLimits | false }): RequestHandler {
  if (!rateLimits) return (_req, _res, next) => next()
  const limit = createRateLimiter({ redis, logger, tooMany: createTooMany({ logger, ...parts }) })
  return limit({ name: 'start', most: rateLimits.start, window: 60, keyOf: clientKey })
}

function createTooMany({
  urls,
  events,
  logger,
  pages,
  portalOf,
}: Omit<LimitParts, 'form' | 'limits' | 'redis'>): RateLimiterParts['tooMany'] {
  return async (req, res, { limit, first }) => {
    const reference = first ? newReference() : undefined
    if (reference) {
      const portal = portalOf(req)
      logger.warn({ reference, portal, limit }, 'a client makes too many requests')
      const clientAddress = req.ip
      await events.record({ kind: 'rate-limited', portal, clientAddress, reference, detail: { limit } })
    }
    const problem = new PortalSsoError('too_many_requests', `over the limit "${limit}"`)
    const ways = [{ label: 'chooseProvider', href: urls.path('/login') } as const]
    await pages.problem(req, res, problem, { reference, ways })
  }
}

/** Read as the sign-in reads it, lest one see an attempt where the other sees none; what is no answer costs nothing. */
function attemptKey(req: Request): string | undefined {
  try {
    return digestKey(readAuthorizationResponse(req).state)
  } catch {
    return undefined
  }
}

export interface RouterParts extends ClientKeysRouteParts, Omit<LimitParts, 'limits'> {
  core: Core
  account: Account
  breakGlassCookie: BreakGlassCookie
  classicLogin: ClassicLogin
  consentState: StateCookie
  events: EventLog
  logout: Logout
  logoutState: StateCookie
  oneTimeLinks: OneTimeLinks
  /** parses posts, after refusing those from other sites */
  posted: RequestHandler[]
  rateLimits: RateLimits | false
  registration: Registration
  sessions: Sessions
  signIn: SignIn
  table: ProvidersTable
  testSignIns: TestSignIns
  users: UserDirectory
}

const ours = ['/login', '/register', '/logout', '/account/security']

/** All routes, in the order in which a request meets them. */
export function createRouter(parts: RouterParts): Router {
  const { core, classicLogin, form, pages, rateLimits, registration, sessions, signIn } = parts
  const { connectedProviders, refusals } = signIn
  const routes = Router()
  routes.use('/login/assets', pages.assets)
  routes.use(ours, (_req, res, next) => {
    setPrivateHeaders(res)
    next()
  })
  if (rateLimits) routes.use(createLimitRoutes({ ...parts, limits: rateLimits }))
  // Before anything that reads a session: a provider calls these itself, without a user.
  routes.use(backChannelRoute(core, { ...parts, connectedProviders }))
  routes.use(frontChannelRoute(core, { ...parts, connectedProviders }))
  routes.use(createClientKeysRoute(parts))
  routes.use(ours, sessions.identify)
  const allowsClassic = (req: Request) => classicLogin.isAllowed(req)
  routes.get('/login', pickerRoute(core, { ...parts, allowsClassic }))
  routes.use(initiateRoutes(core, parts), adminConsentRoutes(core, { ...parts, refusals }))
  routes.use(breakGlassRoutes(core, parts), testSignInLinkRoutes(core, parts))
  // The form is parsed before the strategy is looked up, so that nothing lies between the two. A provider's post is not of our
  // origin.
  routes.use('/login/:provider', form, connectedProviders.route)
  routes.use(registrationRoutes(core, parts), accountLinkRoutes(core, parts))
  const { emailVerification } = registration
  if (emailVerification) routes.use(emailVerificationRoutes(core, { ...parts, emailVerification }))
  routes.use(logoutRoutes(core, parts))
  routes.use(accountRoutes(core, { ...parts, guard: guard(parts) }))
  routes.use(pages.onError)
  return routes
}
