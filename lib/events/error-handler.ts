import type { ErrorRequestHandler, Request, Response } from 'express'
import { describeError, type PortalSsoError, type ProblemCode } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { newReference, type Pages, toProblem } from '../web/pages.ts'
import type { EventLog } from './event-log.ts'

// Refusals of a deliberate action, not failures: recorded as an event, beside the log.
const recordedCodes = new Set<ProblemCode>([
  'classic_login_disabled',
  'cross_site_request',
  'link_expired',
  'navigation_required',
])

/** Handles errors that no handler of ours has handled: logs the exact cause, shows a general page. */
export class ErrorHandler {
  readonly #core: Pick<Core, 'logger' | 'portalOf' | 'urls'>
  readonly #pages: Pages
  readonly #events: EventLog

  constructor(core: Pick<Core, 'logger' | 'portalOf' | 'urls'>, pages: Pages, events: EventLog) {
    this.#core = core
    this.#pages = pages
    this.#events = events
  }

  // Express recognizes an error handler by its four parameters.
  readonly handle: ErrorRequestHandler = (error, req, res, next) => {
    const problem = toProblem(error)
    const { code, status } = problem
    const reference = newReference()
    const level = status >= 500 ? 'error' : 'warn'
    this.#core.logger[level]({ reference, code, cause: describeError(error) }, 'a request failed')
    if (res.headersSent) {
      // Too late for a page. Abort, so that a partial response does not look complete.
      if (!res.writableEnded) res.destroy()
      return
    }
    this.#respond(req, res, problem, reference).catch(next)
  }

  async #respond(req: Request, res: Response, problem: PortalSsoError, reference: string): Promise<void> {
    const { code } = problem
    if (recordedCodes.has(code))
      await this.#events.record({
        kind: 'sign-in-failed',
        portal: this.#core.portalOf(req),
        clientAddress: req.ip,
        reference,
        detail: { code, reason: describeError(problem) },
      })
    await this.#pages.problem(req, res, problem, {
      reference,
      nextSteps: [{ label: 'chooseProvider', href: this.#core.urls.path('/login') }],
    })
  }
}
