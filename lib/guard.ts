import type { Request, RequestHandler, Response } from 'express'
import type { ErrorHandler } from './events/error-handler.ts'
import { maxAgeLimitSeconds } from './providers/setting-values.ts'
import type { Sessions } from './sessions/sessions.ts'
import { ConfigurationError, PortalSsoError } from './shared/errors.ts'
import { newReference } from './shared/random-code.ts'
import type { ReauthenticationRequirement } from './sign-in/attempts.ts'
import { isValidAcrList, reauthenticationQuery } from './sign-in/reauthentication.ts'
import type { SignIn } from './sign-in/sign-in.ts'
import type { Core } from './web/core.ts'
import { asyncHandler, setPrivateHeaders } from './web/handler.ts'
import type { Pages } from './web/pages.ts'
import { acceptsHtml, isSafeMethod } from './web/request.ts'
import { safeReturnTo } from './web/return-to.ts'

/** Options of `sso.guard`: how recently and how strongly the user must have authenticated. */
export interface GuardOptions {
  /**
   * The longest time since the user last authenticated at the provider (`auth_time`, OpenID Connect Core 2): seconds, or text
   * such as `'15m'` (`s`, `m`, `h`), from 30 seconds to a year, with 30 seconds of clock tolerance. An older or unknown
   * authentication sends the user to the provider and back. Default: as long as the session lasts.
   */
  maxAge?: number | string | undefined
  /** Accepted Authentication Context Class References (claim `acr`, OpenID Connect Core 2), at most 200 characters. Default: any. */
  acr?: string | readonly string[] | undefined
}

/**
 * Admits signed-in users only. Pages redirect all others to the sign-in page and back; other clients get 401.
 *
 * @throws ConfigurationError when an option is invalid
 */
export function guard(
  { portalOf, urls }: Core,
  modules: { errorHandler: ErrorHandler; pages: Pages; sessions: Sessions; signIn: SignIn },
  options: GuardOptions = {},
): RequestHandler {
  const { errorHandler, pages, sessions, signIn } = modules
  const required = readGuardOptions(options)
  const returnPathOf = (req: Request) => returnPath(req, urls.origin(portalOf(req)))
  // With the requirement, so that the user does not have to sign in twice.
  const loginHref = (returnTo?: string) =>
    urls.path('/login', { returnTo, ...reauthenticationQuery(required) })

  const refuseClient = asyncHandler(async (req, res) => {
    const error = new PortalSsoError('not_signed_in', 'the request has no signed-in user')
    await pages.problem(req, res, error, { reference: newReference(), nextSteps: [], login: loginHref() })
  })

  const refuse: RequestHandler = (req, res, next) => {
    if (!acceptsHtml(req)) {
      refuseClient(req, res, next)
      return
    }
    redirectVisitor(res, isSafeMethod(req) ? 302 : 303, loginHref(returnPathOf(req)))
  }

  const passIfRecent = asyncHandler(async (req, res, next) => {
    const returnTo = returnPathOf(req)
    if (await signIn.reauthentication.require(req, res, { ...required, returnTo })) next()
  })

  return (req, res, next) => {
    sessions.identify(req, res, (error?: unknown) => {
      if (error) {
        errorHandler.handle(error, req, res, next)
        return
      }
      // The host has already responded, for example after a time limit of its own.
      if (res.headersSent) return
      // On a shared computer, the back button must not show the previous user's pages.
      res.setHeader('cache-control', 'no-store')
      const handle = !req.user ? refuse : required && passIfRecent
      if (handle) handle(req, res, next)
      else next()
    })
  }
}

/** Not `res.redirect`, which negotiates the type of a body that no browser shows. */
function redirectVisitor(res: Response, status: number, href: string): void {
  setPrivateHeaders(res)
  if (res.hasHeader('vary')) res.vary('Accept')
  else res.setHeader('vary', 'Accept')
  res.statusCode = status
  res.setHeader('location', href)
  res.end()
}

/** A GET can be repeated after the sign-in. After a POST, the user returns to our page that contained the form. */
function returnPath(req: Request, portalOrigin: string): string | undefined {
  if (isSafeMethod(req)) return safeReturnTo(req.originalUrl)
  const referrer = req.get('referer') ?? ''
  if (!URL.canParse(referrer)) return undefined
  const { origin, pathname, search } = new URL(referrer)
  return origin === portalOrigin ? safeReturnTo(pathname + search) : undefined
}

const secondsPerUnit: Record<string, number> = { s: 1, m: 60, h: 3600 }
const minAgeLimitSeconds = 30
const maxAgeHint =
  "sso.guard: maxAge: write seconds, or text such as '15m'; half a minute at least, and a year at most"
const acrHint =
  'sso.guard: acr: write one or several values of the claim `acr`, without spaces, together at most 200 characters'

function readGuardOptions({ maxAge, acr, ...others }: GuardOptions): ReauthenticationRequirement | undefined {
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw new ConfigurationError(`sso.guard: there is no option \`${unknown}\``)
  const references = acr === undefined ? undefined : [acr].flat()
  if (references !== undefined && !isValidAcrList(references)) throw new ConfigurationError(acrHint)
  const seconds = maxAge === undefined ? undefined : readSeconds(maxAge)
  return seconds === undefined && references === undefined ? undefined : { maxAge: seconds, acr: references }
}

function readSeconds(maxAge: number | string): number {
  const [, count = '', unit = ''] = /^(\d{1,8})([smh])$/.exec(String(maxAge)) ?? []
  const seconds = typeof maxAge === 'number' ? maxAge : Number(count) * (secondsPerUnit[unit] ?? Number.NaN)
  // The sign-in page ignores other values, so the requirement could never be met.
  if (!Number.isInteger(seconds) || seconds < minAgeLimitSeconds || seconds > maxAgeLimitSeconds)
    throw new ConfigurationError(maxAgeHint)
  return seconds
}
