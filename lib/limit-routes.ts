import { type Request, type RequestHandler, Router } from 'express'
import { PortalSsoError } from './errors.ts'
import type { EventLog } from './events/events.ts'
import type { Logger } from './logger.ts'
import { readAnswer } from './sign-in/answer.ts'
import type { Addresses } from './web/addresses.ts'
import { newReference, type Pages } from './web/pages.ts'
import type { PortalOf } from './web/portal-of.ts'
import {
  clientKey,
  createRateLimiter,
  digestKey,
  type RateLimiterParts,
  type RateLimits,
} from './web/rate-limit.ts'

export interface LimitParts {
  addresses: Addresses
  events: EventLog
  /** reads a posted answer */
  form: RequestHandler
  limits: RateLimits
  logger: Logger
  pages: Pages
  portalOf: PortalOf
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
  addresses,
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
    const ways = [{ label: 'chooseProvider', href: addresses.path('/login') } as const]
    await pages.problem(req, res, problem, { reference, ways })
  }
}

/** Read as the sign-in reads it, lest one see an attempt where the other sees none; what is no answer costs nothing. */
function attemptKey(req: Request): string | undefined {
  try {
    return digestKey(readAnswer(req).state)
  } catch {
    return undefined
  }
}
