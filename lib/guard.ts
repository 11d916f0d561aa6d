import type { Request, RequestHandler, Response } from 'express'
import type { ErrorHandler } from './events/error-handler.ts'
import type { PortalSessions } from './sessions/sessions.ts'
import { ConfigurationError, PortalSsoError } from './shared/errors.ts'
import type { ReauthenticationRequirement } from './sign-in/attempts.ts'
import {
  isValidAcrList,
  maxAgeLimitSeconds,
  type RequireReauthentication,
  reauthenticationQuery,
} from './sign-in/reauthentication.ts'
import { asyncHandler, setPrivateHeaders } from './web/handler.ts'
import { newReference, type Pages } from './web/pages.ts'
import { acceptsHtml, isSafeMethod, type PortalResolver } from './web/request.ts'
import { safeReturnTo } from './web/return-to.ts'
import type { PortalUrls } from './web/urls.ts'

export interface GuardOptions {
  /**
   * How long ago the person may have shown the provider who they are: seconds, or text such as `'15m'` (`s`, `m`, `h`), of half a
   * minute at least and a year at most; clocks may differ by 30 seconds. Who did longer ago does so anew, and comes back; so does whose
   * provider did not say (`auth_time`). Left out: however long the session lasts
   */
  maxAge?: number | string | undefined
  /**
   * how they must have: Authentication Context Class References of the provider (`acr`), of which one is enough; together at most
   * 200 characters. Left out: anyhow
   */
  acr?: string | readonly string[] | undefined
}

export interface GuardParts {
  urls: PortalUrls
  errorHandler: ErrorHandler
  requireReauthentication: RequireReauthentication
  pages: Pages
  portalOf: PortalResolver
  sessions: PortalSessions
}

/**
 * Lets signed-in users pass. Everybody else: pages lead to the picker and back here, other clients get 401.
 *
 * @throws ConfigurationError with a sentence that says what to write, when an option is wrong
 */
export function createGuard(parts: GuardParts, options: GuardOptions = {}): RequestHandler {
  const { urls, errorHandler, requireReauthentication, pages, portalOf, sessions } = parts
  const demanded = readGuardOptions(options)
  const turnAway = asyncHandler((req, res) => (acceptsHtml(req) ? toPicker(req, res) : toProblem(req, res)))

  /** What is demanded goes along: else whoever has just signed in would have to do so once more. */
  const login = (returnTo?: string) => urls.path('/login', { returnTo, ...reauthenticationQuery(demanded) })

  async function toPicker(req: Request, res: Response): Promise<void> {
    setPrivateHeaders(res)
    res.redirect(isSafeMethod(req) ? 302 : 303, login(wayBack(req)))
  }

  async function toProblem(req: Request, res: Response): Promise<void> {
    const problem = new PortalSsoError('not_signed_in', 'nobody is signed in')
    await pages.problem(req, res, problem, { reference: newReference(), nextSteps: [], login: login() })
  }

  /** Only what an address can ask for again can be returned to; of a form, the page of ours that it stood on. */
  function wayBack(req: Request): string | undefined {
    if (isSafeMethod(req)) return safeReturnTo(req.originalUrl)
    const from = req.get('referer') ?? ''
    if (!URL.canParse(from)) return undefined
    const { origin, pathname, search } = new URL(from)
    return origin === urls.origin(portalOf(req)) ? safeReturnTo(pathname + search) : undefined
  }

  const passIfFresh = asyncHandler(async (req, res, next) => {
    if (await requireReauthentication(req, res, { ...demanded, returnTo: wayBack(req) })) next()
  })

  return (req, res, next) => {
    sessions.identify(req, res, (error?: unknown) => {
      if (error) {
        errorHandler.handle(error, req, res, next)
        return
      }
      // Somebody else has answered meanwhile, a time limit of the host's say.
      if (res.headersSent) return
      // The back button of a shared machine must not show what the last person saw.
      res.set('cache-control', 'no-store')
      const step = !req.user ? turnAway : demanded && passIfFresh
      if (step) step(req, res, next)
      else next()
    })
  }
}

const units: Record<string, number> = { s: 1, m: 60, h: 3600 }
const shortest = 30
const whatAge =
  "sso.guard: maxAge: write seconds, or text such as '15m'; half a minute at least, and a year at most"
const whatAcr =
  'sso.guard: acr: write one or several values of the claim `acr`, without spaces, together at most 200 characters'

function readGuardOptions({ maxAge, acr, ...others }: GuardOptions): ReauthenticationRequirement | undefined {
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw new ConfigurationError(`sso.guard: there is no option \`${unknown}\``)
  const references = acr === undefined ? undefined : [acr].flat()
  if (references !== undefined && !isValidAcrList(references)) throw new ConfigurationError(whatAcr)
  const seconds = maxAge === undefined ? undefined : secondsIn(maxAge)
  return seconds === undefined && references === undefined ? undefined : { maxAge: seconds, acr: references }
}

function secondsIn(maxAge: number | string): number {
  const [, count = '', unit = ''] = /^(\d{1,8})([smh])$/.exec(String(maxAge)) ?? []
  const seconds = typeof maxAge === 'number' ? maxAge : Number(count) * (units[unit] ?? Number.NaN)
  // What the page that starts a sign-in would not read as written would not be demanded, again and again.
  if (!Number.isInteger(seconds) || seconds < shortest || seconds > maxAgeLimitSeconds)
    throw new ConfigurationError(whatAge)
  return seconds
}
