import { type Request, type RequestHandler, Router } from 'express'
import { nextStepsAfter } from './events/error-handler.ts'
import type { Modules } from './modules.ts'
import { PortalSsoError } from './shared/errors.ts'
import type { Core } from './web/core.ts'
import { asyncHandler, inSequence } from './web/handler.ts'
import {
  clientKey,
  failedExchangeKey,
  failedExchanges,
  type Limit,
  type RateLimits,
} from './web/rate-limit.ts'

/** The options of `rateLimits` that count requests. */
type LimitedRoutes = Exclude<keyof RateLimits, 'records'>

type RateLimitModules = Pick<Modules, 'core' | 'pages' | 'rateLimiter' | 'rateLimits' | 'refusalLog'>

/**
 * The limited routes. They come before all others, so that a flood costs a counter each, but no query, no mail, and no request
 * to a provider, whose own limits would then lock out every user.
 */
export function rateLimitRoutes(modules: RateLimitModules): Router {
  const { rateLimits } = modules
  const routes = Router()
  if (!rateLimits) return routes
  const perClient = (option: LimitedRoutes, name?: string) => limitClients(modules, rateLimits, option, name)
  const [registration, code] = [perClient('registration'), perClient('code')]
  const counted: RequestHandler = (_req, _res, next) => next('router')

  // Mounted like the routes themselves, so that every spelling of a path that reaches them is counted.
  const registrations = Router()
  registrations.use(
    ['/code', '/verify'],
    (req, res, next) => (req.method === 'POST' ? code : registration)(req, res, next),
    counted,
  )
  registrations.use(registration)

  routes.use('/login/:provider', limitSignIns(modules))
  routes.use('/register', registrations)
  routes.post('/account/security/confirm/:step', code)
  routes.use('/account/security', registration)
  // Any page can make its visitors send these, which must not use up the sign-outs of everybody behind one address.
  routes.use('/logout/:provider/frontchannel', perClient('logout', 'front-channel'), counted)
  routes.use('/logout/:provider/backchannel', perClient('logout', 'back-channel'), counted)
  routes.use('/logout', perClient('logout'))
  return routes
}

/** For `/login/:provider`. */
export function limitSignIns(modules: RateLimitModules): RequestHandler {
  const { rateLimits } = modules
  if (!rateLimits) return (_req, _res, next) => next()
  const start = limitClients(modules, rateLimits, 'start')
  const callback = inSequence(
    limitClients(modules, rateLimits, 'callback'),
    limitRequests(modules, failedExchanges, failedExchangeKey),
  )
  return (req, res, next) => (/^\/callback(?:\/|$)/i.test(req.path) ? callback : start)(req, res, next)
}

/** @param name of its own counter; default: the one of the starts */
export function limitAsStarts(modules: RateLimitModules, name?: 'picker' | 'email' | 'logo'): RequestHandler {
  const { rateLimits } = modules
  return rateLimits ? limitClients(modules, rateLimits, 'start', name) : (_req, _res, next) => next()
}

function limitClients(
  modules: RateLimitModules,
  limits: RateLimits,
  option: LimitedRoutes,
  name: string = option,
): RequestHandler {
  return limitRequests(modules, { name, maxRequests: limits[option], windowSeconds: 60 }, clientKey)
}

function limitRequests(
  { core, pages, rateLimiter, refusalLog }: RateLimitModules,
  limit: Limit,
  keyOf: (req: Request, portalOf: Core['portalOf']) => string,
): RequestHandler {
  const { portalOf } = core
  const record = async (req: Request) => {
    const portal = portalOf(req)
    const detail = { limit: limit.name }
    return await refusalLog.write(req, {
      level: 'warn',
      message: 'a client makes too many requests',
      fields: { portal, ...detail },
      event: { kind: 'rate-limited', portal, detail },
    })
  }
  // Attacker: tries codes on all instances at once. So these are never counted in the process alone.
  const isExact = limit.name === 'code'
  return asyncHandler(async (req, res, next) => {
    const key = keyOf(req, portalOf)
    // A failed exchange is counted where it fails.
    const requests = limit === failedExchanges ? 0 : 1
    const { isOver, retryAfterSeconds } = isExact
      ? await rateLimiter.countExactly(limit, key)
      : rateLimiter.count(limit, key, requests)
    if (!isOver) return next()
    res.set('retry-after', String(retryAfterSeconds))
    const reference = rateLimiter.isFirstRefusal(limit, key) ? await record(req) : undefined
    const problem = new PortalSsoError('too_many_requests', `over the limit "${limit.name}"`)
    await pages.problem(req, res, problem, { reference, nextSteps: nextStepsAfter(problem, req, core) })
  })
}
