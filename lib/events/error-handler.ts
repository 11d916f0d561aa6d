import type { ErrorRequestHandler, Request, Response } from 'express'
import { describeError, type ProblemCode, toProblem } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'
import type { RefusalLog } from './refusal-log.ts'

// Refusals of a deliberate action, not failures: recorded as an event, beside the log.
const recordedCodes = new Set<ProblemCode>([
  'classic_login_disabled',
  'cross_site_request',
  'link_expired',
  'navigation_required',
])

/** Handles errors that no handler of ours has handled: logs the exact cause, shows a general page. */
export class ErrorHandler {
  readonly #core: Pick<Core, 'portalOf' | 'urls'>
  readonly #pages: Pages
  readonly #refusalLog: RefusalLog

  constructor(core: Pick<Core, 'portalOf' | 'urls'>, pages: Pages, refusalLog: RefusalLog) {
    this.#core = core
    this.#pages = pages
    this.#refusalLog = refusalLog
  }

  // Express recognizes an error handler by its four parameters.
  readonly handle: ErrorRequestHandler = (error, req, res, next) => {
    this.#respond(req, res, error).catch(next)
  }

  async #respond(req: Request, res: Response, error: unknown): Promise<void> {
    const problem = toProblem(error)
    const { code, status } = problem
    const portal = this.#portalOf(req)
    const isEvent = recordedCodes.has(code) && portal !== undefined && !res.headersSent
    const reference = await this.#refusalLog.write(req, {
      level: status >= 500 ? 'error' : 'warn',
      message: 'a request failed',
      code,
      cause: error,
      fields: {},
      event: isEvent
        ? { kind: 'sign-in-failed', portal, detail: { code, reason: describeError(problem) } }
        : undefined,
    })
    if (res.headersSent) {
      // Too late for a page. Abort, so that a partial response does not look complete.
      if (!res.writableEnded) res.destroy()
      return
    }
    await this.#pages.problem(req, res, problem, {
      reference,
      nextSteps: [{ label: 'chooseProvider', href: this.#core.urls.path('/login') }],
    })
  }

  /** @returns `undefined` for a host that is no portal */
  #portalOf(req: Request): string | undefined {
    try {
      return this.#core.portalOf(req)
    } catch {
      return undefined
    }
  }
}
