import { Router as createRouter, type Request, type Router } from 'express'
import { slugSchema } from '../providers/provider.ts'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import { administratorsOnly } from './authorize.ts'
import type { AdminContext } from './context.ts'
import { createEventRoutes } from './events-routes.ts'
import { createGuideRoute } from './guide-route.ts'
import { createConnectRoutes } from './provider-create-routes.ts'
import { createEditRoutes } from './provider-edit-routes.ts'
import { createProviderRoutes } from './provider-routes.ts'
import { createListRoutes } from './providers-list-routes.ts'
import { createSessionRoutes } from './sessions-routes.ts'

export interface AdminOptions {
  /** Who may see and change providers; everybody else gets 404. Anything but `true` is no. */
  authorize: (req: Request) => boolean | Promise<boolean>
}

const unknown = () => new PortalSsoError('page_unknown', 'there is no such page')

/** The pages on which an administrator connects providers. @throws ConfigurationError without `authorize` */
export function createAdmin(given: AdminContext): (options: AdminOptions) => Router {
  return (options) => {
    const authorize: unknown = (options as Partial<AdminOptions> | undefined)?.authorize
    if (typeof authorize !== 'function')
      throw new ConfigurationError('admin: give `authorize`, a function that says `true` of administrators')
    const routes = createRouter()
    // Before all else: what comes after it may trust that it is asked by an administrator.
    const onlyThem = administratorsOnly((req) => options.authorize(req))
    routes.use(onlyThem)
    // And once more when all of a post is there, which may be held open until whoever sends it is none any more.
    const parts = { ...given, posted: [...given.posted, onlyThem] }
    routes.use(createListRoutes(parts), createConnectRoutes(parts), createGuideRoute(parts))
    routes.use(createEventRoutes(parts), createSessionRoutes(parts))
    // What cannot be a slug is not for the database, which may choke on it (PostgreSQL on a NUL).
    routes.use('/:slug', (req, _res, next) =>
      slugSchema.safeParse(req.params.slug).success ? next() : next(unknown()),
    )
    routes.use(createEditRoutes(parts), createProviderRoutes(parts))
    routes.use((_req, _res, next) => next(unknown()))
    routes.use(given.errorHandler.handle)
    return routes
  }
}
