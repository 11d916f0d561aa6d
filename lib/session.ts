import { type RequestHandler, Router } from 'express'
import type { ErrorHandler } from './events/error-handler.ts'
import type { Sessions } from './sessions/sessions.ts'

/** Options of `sso.session`. */
export interface SessionMiddlewareOptions {
  /** Whether the host mounts its own express-session before this. Default false: the plugin's own, in Redis. */
  own?: boolean | undefined
}

/** Runs the cookie session, then sets `req.user`. Errors of either get our error page; the host's would show their message. */
export function sessionMiddleware(
  { errorHandler, sessions }: { errorHandler: ErrorHandler; sessions: Sessions },
  { own = false }: SessionMiddlewareOptions = {},
): RequestHandler {
  const routes = Router()
  if (!own) routes.use(sessions.cookieSession())
  return routes.use(sessions.identify, errorHandler.handle)
}
