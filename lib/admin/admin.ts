import { Router as createRouter, type Request, type RequestHandler, type Router } from 'express'
import { slugSchema } from '../providers/provider.ts'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import { asyncHandler, setPrivateHeaders } from '../web/handler.ts'
import type { AdminContext } from './context.ts'
import { eventsRoutes } from './events-routes.ts'
import { guideRoute } from './guide-route.ts'
import { providerCreateRoutes } from './provider-create-routes.ts'
import { providerEditRoutes } from './provider-edit-routes.ts'
import { providerRoutes } from './provider-routes.ts'
import { providersListRoutes } from './providers-list-routes.ts'
import { sessionsRoutes } from './sessions-routes.ts'

/** Options of `sso.admin`. */
export interface AdminOptions {
  /** Returns `true` for administrators. Other requests get 404, even if it throws or returns another truthy value. */
  authorize: (req: Request) => boolean | Promise<boolean>
}

const pageUnknown = () => new PortalSsoError('not_found', 'there is no such page')

/**
 * The administrators' pages, on top of `management/`. They change providers and sessions only through the API that code
 * and the command line use, and never query the database themselves.
 *
 * @throws ConfigurationError without `authorize`
 */
export function adminRouter(given: AdminContext, options: AdminOptions): Router {
  const authorize: unknown = (options as Partial<AdminOptions> | undefined)?.authorize
  if (typeof authorize !== 'function')
    throw new ConfigurationError('admin: give `authorize`, a function that says `true` of administrators')
  const guard = administratorsOnly((req) => options.authorize(req))
  // An attacker can hold a POST open until the session or the role is revoked, so check again after the body is read.
  const context = { ...given, posted: [...given.posted, guard] }
  const router = createRouter()
  router.use(guard)
  router.use(providersListRoutes(context), providerCreateRoutes(context), guideRoute(context))
  router.use(eventsRoutes(context), sessionsRoutes(context))
  // Query only valid slugs: PostgreSQL fails on a NUL character.
  router.use('/:slug', (req, _res, next) =>
    slugSchema.safeParse(req.params.slug).success ? next() : next(pageUnknown()),
  )
  router.use(providerEditRoutes(context), providerRoutes(context))
  router.use((_req, _res, next) => next(pageUnknown()))
  router.use(given.errorHandler.handle)
  return router
}

/**
 * Denies by default, for every path and method: an administrator can connect a provider that signs in anyone as anyone.
 * The 404 is the same for existing and missing pages, so that an attacker learns nothing about them.
 */
export function administratorsOnly(authorize: (req: Request) => unknown): RequestHandler {
  return asyncHandler(async (req, res, next) => {
    setPrivateHeaders(res)
    if ((await callAuthorize(authorize, req)) !== true)
      throw new PortalSsoError('not_found', '`authorize` did not return `true`')
    next()
  })
}

async function callAuthorize(authorize: (req: Request) => unknown, req: Request): Promise<unknown> {
  try {
    return await authorize(req)
  } catch (error) {
    throw new PortalSsoError('not_found', '`authorize` failed', { cause: error })
  }
}
