import { type Request, type RequestHandler, Router } from 'express'
import { readLoginHint } from '../oidc/authorization-response.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import type { PortalResolver } from '../web/request.ts'
import { safeReturnTo } from '../web/return-to.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { Refuse } from './refuse.ts'

export interface InitiateParts {
  urls: PortalUrls
  /** reads a posted request */
  form: RequestHandler
  homePath: string
  portalOf: PortalResolver
  refuse: Refuse
  table: ProvidersTable
}

/**
 * `GET|POST /login/initiate` (OpenID Connect Core 4): a tile on a provider's dashboard starts a sign-in here. It does what a link
 * to `/login/:provider` does, from any site, so it changes nothing: the attempt begins at the next page, in this browser.
 */
export function createInitiateRoute(parts: InitiateParts): Router {
  const { urls, form, homePath, portalOf, refuse, table } = parts

  const initiate = asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const asked = read(req)
    const returnTo = pathOf(asked.target_link_uri, urls.origin(portal))
    if (req.user) return res.redirect(303, returnTo ?? homePath)
    const { iss } = asked
    const fitting = (await table.listEnabled(portal)).filter(
      (provider) => iss !== undefined && (provider.issuer === iss || isIssuerOf(provider, iss)),
    )
    const [provider, ...others] = fitting
    if (!provider) {
      const unknown = new PortalSsoError(
        'provider_unknown',
        'no enabled provider has the issuer that was named',
      )
      return await refuse(req, res, unknown, { portal, returnTo })
    }
    // Which of them is the person's to say.
    if (others.length > 0) return res.redirect(303, urls.path('/login', { returnTo }))
    const login_hint = readLoginHint(asked.login_hint)
    res.redirect(303, urls.path(`/login/${provider.slug}`, { returnTo, login_hint }))
  })

  const router = Router()
  router.get('/login/initiate', initiate)
  router.post('/login/initiate', form, initiate)
  return router
}

type Asked = { [name in 'iss' | 'login_hint' | 'target_link_uri']?: string }

/** What comes twice or nested is not read. */
function read(req: Request): Asked {
  const given = (req.method === 'POST' ? req.body : req.query) as Record<string, unknown> | undefined
  return Object.fromEntries(
    Object.entries(given ?? {}).filter(([, value]) => typeof value === 'string'),
  ) as Asked
}

/** A page of ours, or nothing: "The RP MUST verify the value to prevent being an open redirector" (Core 4). */
function pathOf(target: string | undefined, origin: string): string | undefined {
  if (target === undefined || target.length > 4000 || !URL.canParse(target)) return undefined
  const url = new URL(target)
  return url.origin === origin ? safeReturnTo(url.pathname + url.search + url.hash) : undefined
}
