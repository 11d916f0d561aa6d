import { type Request, type RequestHandler, Router } from 'express'
import type { Account } from './account/account.ts'
import { accountRoutes } from './account/account-routes.ts'
import { breakGlassRoutes } from './classic-login/break-glass-routes.ts'
import type { ClassicLogin } from './classic-login/classic-login.ts'
import { adminConsentRoutes } from './consent/admin-consent-routes.ts'
import type { ErrorHandler } from './events/error-handler.ts'
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
import { registrationRoutes } from './registration/registration-routes.ts'
import type { Registrations } from './registration/registrations.ts'
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
import { asyncHandler, setPrivateHeaders } from './web/handler.ts'
import { type NextStep, newReference, type Pages } from './web/pages.ts'
import { clientKey, digestKey, type Limit, type RateLimiter, type RateLimits } from './web/rate-limit.ts'
import type { PortalResolver } from './web/request.ts'
import type { StateCookie } from './web/sealed-cookie.ts'
import type { PortalUrls } from './web/urls.ts'

export interface LimitParts {
  urls: PortalUrls
  events: EventLog
  logger: Logger
  pages: Pages
  portalOf: PortalResolver
  rateLimiter: RateLimiter
}

/**
 * The limited routes. They come before all others, so that a flood costs a counter each, but no query, no mail, and no request
 * to a provider, whose own limits would then lock out every user.
 */
export function rateLimitRoutes(
  parts: LimitParts & {
    /** parses a posted authorization response */
    form: RequestHandler
    limits: RateLimits
  },
): Router {
  const perClient = (name: keyof RateLimits) =>
    limitRequests(parts, { name, maxRequests: parts.limits[name], windowSeconds: 60 }, clientKey)
  // An attempt is used once. Many responses to one attempt come from a copied cookie and guess codes.
  const perAttempt = limitRequests(
    parts,
    { name: 'attempt', maxRequests: 10, windowSeconds: 600 },
    attemptKey,
  )
  const [start, callback] = [perClient('start'), perClient('callback')]
  const [registration, code] = [perClient('registration'), perClient('code')]
  const counted: RequestHandler = (_req, _res, next) => next('router')

  // Mounted like the routes themselves, so that every spelling of a path that reaches them is counted.
  const signIns = Router()
  signIns.use('/callback', callback, parts.form, perAttempt, counted)
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

/** Limits refusals of the host's own login page: each of them costs a row. */
export function limitRefusals(parts: LimitParts, limits: RateLimits | false): RequestHandler {
  if (!limits) return (_req, _res, next) => next()
  return limitRequests(parts, { name: 'start', maxRequests: limits.start, windowSeconds: 60 }, clientKey)
}

/** @param keyOf requests without a key are not counted */
function limitRequests(
  { urls, events, logger, pages, portalOf, rateLimiter }: LimitParts,
  limit: Limit,
  keyOf: (req: Request) => string | undefined,
): RequestHandler {
  return asyncHandler(async (req, res, next) => {
    const key = keyOf(req)
    if (key === undefined) return next()
    const { isOver, isFirstOver, retryAfterSeconds } = await rateLimiter.consume(limit, key)
    if (!isOver) return next()
    res.set('retry-after', String(retryAfterSeconds))
    const reference = isFirstOver ? newReference() : undefined
    if (reference) {
      const portal = portalOf(req)
      const detail = { limit: limit.name }
      logger.warn({ reference, portal, ...detail }, 'a client makes too many requests')
      await events.record({ kind: 'rate-limited', portal, clientAddress: req.ip, reference, detail })
    }
    const problem = new PortalSsoError('too_many_requests', `over the limit "${limit.name}"`)
    const nextSteps: NextStep[] = [{ label: 'chooseProvider', href: urls.path('/login') }]
    await pages.problem(req, res, problem, { reference, nextSteps })
  })
}

/** Parsed exactly as the sign-in parses it. A request that is no authorization response is not counted here: it costs nothing. */
function attemptKey(req: Request): string | undefined {
  try {
    return digestKey(readAuthorizationResponse(req).state)
  } catch {
    return undefined
  }
}

export interface RouterParts extends ClientKeysRouteParts, LimitParts {
  core: Core
  account: Account
  classicLogin: ClassicLogin
  consentState: StateCookie
  errorHandler: ErrorHandler
  /** parses forms */
  form: RequestHandler
  logout: Logout
  logoutState: StateCookie
  oneTimeLinks: OneTimeLinks
  /** parses posts, after refusing those from other sites */
  posted: RequestHandler[]
  rateLimits: RateLimits | false
  registration: Registrations
  sessions: Sessions
  signIn: SignIn
  table: ProvidersTable
  testSignIns: TestSignIns
  users: UserDirectory
}

const ours = ['/login', '/register', '/logout', '/account/security']

/** All routes, in the order in which a request passes them. */
export function createRouter(parts: RouterParts): Router {
  const { core, errorHandler, form, pages, rateLimits, registration, sessions, signIn } = parts
  const { connectedProviders, refusals } = signIn
  const routes = Router()
  routes.use('/login/assets', pages.assets)
  routes.use(ours, (_req, res, next) => {
    setPrivateHeaders(res)
    next()
  })
  if (rateLimits) routes.use(rateLimitRoutes({ ...parts, limits: rateLimits }))
  // Before the session: the provider itself, not a user's browser, calls some of these routes.
  routes.use(backChannelRoute(core, { ...parts, connectedProviders }))
  routes.use(frontChannelRoute(core, { ...parts, connectedProviders }))
  routes.use(createClientKeysRoute(parts))
  routes.use(ours, sessions.identify)
  routes.get(
    '/login',
    pickerRoute(core, { ...parts, allowsClassic: (req) => parts.classicLogin.isAllowed(req) }),
  )
  routes.use(initiateRoutes(core, parts), adminConsentRoutes(core, { ...parts, refusals }))
  routes.use(breakGlassRoutes(core, parts), testSignInLinkRoutes(core, parts))
  // The form is parsed first, so that nothing runs between the look-up of the strategy and its use. Exempt from the CSRF check:
  // a provider's `form_post` comes from its own origin.
  routes.use('/login/:provider', form, connectedProviders.route)
  routes.use(registrationRoutes(core, parts), accountLinkRoutes(core, parts))
  const { emailVerification } = registration
  if (emailVerification) routes.use(emailVerificationRoutes(core, { ...parts, emailVerification }))
  routes.use(logoutRoutes(core, parts))
  routes.use(accountRoutes(core, { ...parts, guard: guard(parts) }))
  routes.use(errorHandler.handle)
  return routes
}
