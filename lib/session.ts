import type { RequestHandler } from 'express'
import type { ErrorHandler } from './events/error-handler.ts'
import type { PortalSessions } from './sessions/sessions.ts'
import { PortalSsoError } from './shared/errors.ts'

export interface SessionOptions {
  /** sessions are in the host's own express-session, which stands before this; default false: in one of ours, in Redis */
  own?: boolean | undefined
}

export interface SessionParts {
  /** express-session; `undefined`: the host's own has run */
  cookieSession: RequestHandler | undefined
  errorHandler: ErrorHandler
  sessions: PortalSessions
}

/** The cookie session, then `req.user`. A failure of either has a page of ours: the host's own would show what it says. */
export function createSession({ cookieSession, errorHandler, sessions }: SessionParts): RequestHandler {
  return (req, res, next) => {
    const orProblem = (then: () => void) => (error?: unknown) => {
      if (error) errorHandler.handle(error, req, res, next)
      else then()
    }
    const identify = orProblem(() => {
      // express-session passes over what is not below `/`, such as `OPTIONS *`; nor is anything of ours there.
      if (req.session) sessions.identify(req, res, orProblem(next))
      else orProblem(next)(new PortalSsoError('request_invalid', 'the target of the request is no path'))
    })
    if (cookieSession) cookieSession(req, res, identify)
    else sessions.identify(req, res, orProblem(next))
  }
}
