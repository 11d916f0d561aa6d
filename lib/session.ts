import type { RequestHandler } from 'express'
import type { ErrorHandler } from './events/error-handler.ts'
import type { Sessions } from './sessions/sessions.ts'
import { PortalSsoError } from './shared/errors.ts'

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
  const cookieSession = own ? undefined : sessions.cookieSession()
  return (req, res, next) => {
    const unlessError = (proceed: () => void) => (error?: unknown) => {
      if (error) errorHandler.handle(error, req, res, next)
      else proceed()
    }
    const identify = unlessError(() => {
      // express-session skips requests whose target is not below `/`, such as `OPTIONS *`. No route of ours is there either.
      if (req.session) sessions.identify(req, res, unlessError(next))
      else unlessError(next)(new PortalSsoError('request_invalid', 'the target of the request is not a path'))
    })
    if (cookieSession) cookieSession(req, res, identify)
    else sessions.identify(req, res, unlessError(next))
  }
}
