import { type Request, type RequestHandler, Router } from 'express'
import { type AccountParts, createAccountRoutes } from './account/account-routes.ts'
import { createProviderRouters, type ProviderRoutersParts } from './callback/provider-router.ts'
import { type BreakGlassRoutesParts, createBreakGlassRoutes } from './classic-login/break-glass-routes.ts'
import { type ConsentRoutesParts, createConsentRoutes } from './consent/admin-consent-routes.ts'
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
    Omit<LimitParts, 'limits'> {
  rateLimits: RateLimits | false
  /** sends and takes codes; left out where there is nothing to send them with */
  proving:
    | Pick<EmailVerificationRoutesParts, 'emailVerifications' | 'sendCodeMail' | 'emailVerificationPages'>
    | undefined
}

const ours = ['/login', '/register', '/logout', '/account/security']

/** All routes, in the order in which a request meets them. */
export function createRouter(parts: RouterParts): Router {
  const { form, pages, proving, rateLimits, sessions } = parts
  const routes = Router()
  routes.use('/login/assets', pages.assets)
  routes.use(ours, (_req, res, next) => {
    setPrivateHeaders(res)
    next()
  })
  if (rateLimits) routes.use(createLimitRoutes({ ...parts, limits: rateLimits }))
  // Before anything that looks for a person: a provider comes here itself, without one.
  routes.use(createBackChannelRoute(parts), createFrontChannelRoute(parts))
  routes.use(createClientKeysRoute(parts))
  routes.use(ours, sessions.identify)
  routes.get('/login', createPickerRoute(parts))
  routes.use(createInitiateRoute(parts), createConsentRoutes(parts))
  routes.use(createBreakGlassRoutes(parts), createTestSignInLinkRoutes(parts))
  // The form is read before the strategy is looked up, so that nothing lies between the two. A provider's post is not of
  // our origin.
  routes.use('/login/:provider', form, createProviderRouters(parts))
  routes.use(createRegistrationRoutes(parts), createLinkRoutes(parts))
  if (proving) routes.use(createEmailVerificationRoutes({ ...parts, ...proving }))
  routes.use(createLogoutRoutes(parts))
  routes.use(createAccountRoutes({ ...parts, guard: guard(parts) }))
  routes.use(pages.onError)
  return routes
}
