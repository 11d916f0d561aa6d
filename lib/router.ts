import { type Request, type RequestHandler, Router } from 'express'
import { type AccountParts, createAccountRoutes } from './account/account-routes.ts'
import { createProviderRouters, type ProviderRoutersParts } from './callback/provider-router.ts'
import { type BreakGlassRoutesParts, createBreakGlassRoutes } from './classic-login/break-glass-routes.ts'
import { type ConsentRoutesParts, createConsentRoutes } from './consent/admin-consent-routes.ts'
import type { ErrorHandler } from './events/error-handler.ts'
import type { EventLog } from './events/event-log.ts'
import { guard } from './guard.ts'
import { type BackChannelRouteParts, createBackChannelRoute } from './logout/back-channel-route.ts'
import { createFrontChannelRoute, type FrontChannelRouteParts } from './logout/front-channel-route.ts'
import { createLogoutRoutes, type LogoutParts } from './logout/logout-routes.ts'
import { type ClientKeysRouteParts, createClientKeysRoute } from './management/client-keys-route.ts'
import { readAuthorizationResponse } from './oidc/authorization-response.ts'
import {
  createEmailVerificationRoutes,
  type EmailVerificationRoutesParts,
} from './registration/email-verification-routes.ts'
import {
  createLinkRoutes,
  createRegistrationRoutes,
  type LinkRoutesParts,
  type RegistrationParts,
} from './registration/registration-routes.ts'
import { PortalSsoError } from './shared/errors.ts'
import type { Logger } from './shared/logger.ts'
import { createInitiateRoute, type InitiateParts } from './sign-in/initiate-route.ts'
import { createPickerRoute, type PickerParts } from './sign-in/picker-route.ts'
import {
  createTestSignInLinkRoutes,
  type TestSignInLinkRoutesParts,
} from './test-sign-in/test-sign-in-link-routes.ts'
import { asyncHandler, setPrivateHeaders } from './web/handler.ts'
import { type NextStep, newReference, type Pages } from './web/pages.ts'
import { clientKey, digestKey, type Limit, type RateLimiter, type RateLimits } from './web/rate-limit.ts'
import type { PortalResolver } from './web/request.ts'
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

type GuardModules = Parameters<typeof guard>[0]

export interface RouterParts
  extends PickerParts,
    ProviderRoutersParts,
    InitiateParts,
    ConsentRoutesParts,
    RegistrationParts,
    LinkRoutesParts,
    LogoutParts,
    BackChannelRouteParts,
    FrontChannelRouteParts,
    ClientKeysRouteParts,
    GuardModules,
    Omit<AccountParts, 'guard'>,
    TestSignInLinkRoutesParts,
    BreakGlassRoutesParts,
    LimitParts {
  errorHandler: ErrorHandler
  /** parses forms */
  form: RequestHandler
  rateLimits: RateLimits | false
  /** sends and verifies codes; undefined without a mailer */
  proving:
    | Pick<EmailVerificationRoutesParts, 'emailVerifications' | 'mail' | 'emailVerificationPages'>
    | undefined
}

const ours = ['/login', '/register', '/logout', '/account/security']

/** All routes, in the order in which a request passes them. */
export function createRouter(parts: RouterParts): Router {
  const { errorHandler, form, pages, proving, rateLimits, sessions } = parts
  const routes = Router()
  routes.use('/login/assets', pages.assets)
  routes.use(ours, (_req, res, next) => {
    setPrivateHeaders(res)
    next()
  })
  if (rateLimits) routes.use(rateLimitRoutes({ ...parts, limits: rateLimits }))
  // Before the session: the provider itself, not a user's browser, calls some of these routes.
  routes.use(createBackChannelRoute(parts), createFrontChannelRoute(parts))
  routes.use(createClientKeysRoute(parts))
  routes.use(ours, sessions.identify)
  routes.get('/login', createPickerRoute(parts))
  routes.use(createInitiateRoute(parts), createConsentRoutes(parts))
  routes.use(createBreakGlassRoutes(parts), createTestSignInLinkRoutes(parts))
  // The form is parsed first, so that nothing runs between the look-up of the strategy and its use. Exempt from the CSRF check:
  // a provider's `form_post` comes from its own origin.
  routes.use('/login/:provider', form, createProviderRouters(parts))
  routes.use(createRegistrationRoutes(parts), createLinkRoutes(parts))
  if (proving) routes.use(createEmailVerificationRoutes({ ...parts, ...proving }))
  routes.use(createLogoutRoutes(parts))
  routes.use(createAccountRoutes({ ...parts, guard: guard(parts) }))
  routes.use(errorHandler.handle)
  return routes
}
