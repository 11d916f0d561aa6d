import type { ErrorRequestHandler, Request, Response } from 'express'
import { describeError, type PortalSsoError, type ProblemCode, toProblem } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import type { NextStep, Pages } from '../web/pages.ts'
import { isSafeMethod } from '../web/request.ts'
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
  readonly #core: Pick<Core, 'homePath' | 'portalOf' | 'urls'>
  readonly #pages: Pages
  readonly #refusalLog: RefusalLog

  constructor(core: Pick<Core, 'homePath' | 'portalOf' | 'urls'>, pages: Pages, refusalLog: RefusalLog) {
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
      nextSteps: nextStepsAfter(problem, req, this.#core),
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

// Only an administrator can help.
const permanent = new Set(['insecure_connection', 'misconfigured'])
/** Pages with forms, the more specific first. */
const formPages = ['/account/security/confirm', '/account/security', '/register', '/logout']

/** The steps after a request that failed for a reason of its own, not of a provider: first the one that can work. */
export function nextStepsAfter(
  { code, status }: PortalSsoError,
  req: Request,
  { homePath, urls }: Pick<Core, 'homePath' | 'urls'>,
): NextStep[] {
  const isTransient = (status >= 500 || status === 429) && !permanent.has(code)
  const path = req.originalUrl.replace(/\?.*/s, '')
  const [, slug] = /\/login\/([a-z0-9-]+)\/callback\/?$/i.exec(path) ?? []
  const steps: NextStep[] = []
  // The URL may hold a code or a token. An empty reference opens it again without repeating it on the page.
  if (isTransient && isSafeMethod(req)) steps.push({ label: 'tryAgain', href: '' })
  else if (isTransient && slug) steps.push({ label: 'tryAgain', href: urls.path(`/login/${slug}`) })
  else if (!isSafeMethod(req)) {
    const page = formPages.find((each) => path.startsWith(urls.path(each)))
    if (page) steps.push({ label: 'goBack', href: urls.path(page) })
  }
  const leave: NextStep = req.user
    ? { label: 'home', href: homePath }
    : { label: 'chooseProvider', href: urls.path('/login') }
  return [...steps, leave]
}
