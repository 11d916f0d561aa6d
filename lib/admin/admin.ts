import { Router as createRouter, type Request, type RequestHandler, type Router } from 'express'
import { slugSchema } from '../providers/provider.ts'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import { asyncHandler, setPrivateHeaders } from '../web/handler.ts'
import { uploadParser } from '../web/request.ts'
import { type AdminContext, adminRequest, pageUnknown } from './admin-request.ts'
import { eventsRoutes } from './events-routes.ts'
import { providerCreateRoutes, providerEditRoutes } from './provider-form-routes.ts'
import { providerRoutes } from './provider-routes.ts'
import { providersListRoutes } from './providers-list-routes.ts'
import { sessionsRoutes } from './sessions-routes.ts'

/** Options of `sso.admin`. */
export interface AdminOptions {
  /** Returns `true` for administrators. Other requests get 404, even if it throws or returns another truthy value. */
  authorize: (req: Request) => boolean | Promise<boolean>
}

/**
 * The administrators' pages, on top of `management/`. They change providers and sessions only through the API that code
 * and the command line use, and never query the database themselves.
 *
 * @throws ConfigurationError without `authorize`
 */
export function adminRouter(context: AdminContext, options: AdminOptions): Router {
  const authorize: unknown = (options as Partial<AdminOptions> | undefined)?.authorize
  if (typeof authorize !== 'function')
    throw new ConfigurationError('admin: give `authorize`, a function that says `true` of administrators')
  const guard = administratorsOnly((req) => options.authorize(req))
  const readUpload = uploadParser()
  const router = createRouter()
  router.use(guard)
  // Query only valid slugs: PostgreSQL fails on a NUL character.
  router.param('slug', (_req, _res, next, slug: unknown) =>
    next(slugSchema.safeParse(slug).success ? undefined : pageUnknown()),
  )
  const routes = {
    ...providersListRoutes,
    ...providerCreateRoutes,
    ...eventsRoutes,
    ...sessionsRoutes,
    ...providerEditRoutes,
    ...providerRoutes,
  }
  for (const [route, handle] of Object.entries(routes)) {
    const [method, path = ''] = route.split(' ')
    const handler = asyncHandler((req, res) => handle(adminRequest(context, req, res)))
    if (method === 'GET') router.get(path, handler)
    // An attacker can hold a POST open until the session or the role is revoked, so check again after the body is read.
    else router.post(path, readUpload, ...context.posted, guard, handler)
  }
  router.use((_req, _res, next) => next(pageUnknown()))
  router.use(context.errorHandler.handle)
  return router
}

/**
 * Denies by default, for every path and method: an administrator can connect a provider that signs in anyone as anyone.
 * The 404 is the same for existing and missing pages, so that an attacker learns nothing about them.
 */
function administratorsOnly(authorize: (req: Request) => unknown): RequestHandler {
  return asyncHandler(async (req, res, next) => {
    setPrivateHeaders(res)
    let answer: unknown
    try {
      answer = await authorize(req)
    } catch (cause) {
      throw new PortalSsoError('not_found', '`authorize` failed', { cause })
    }
    if (answer !== true) throw new PortalSsoError('not_found', '`authorize` did not return `true`')
    next()
  })
}
