import { type RequestHandler, Router } from 'express'
import { readLoginHint } from '../oidc/authorization-response.ts'
import { isIssuerOf, possibleIssuers } from '../providers/issuer.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { safeReturnTo } from '../web/return-to.ts'
import type { SignIn } from './sign-in.ts'

type Parameters = { [name in 'iss' | 'login_hint' | 'target_link_uri']?: unknown }

/**
 * `GET|POST /login/initiate` (OpenID Connect Core 4): a tile on a provider's dashboard starts a sign-in. Any site may call it,
 * because it changes nothing: the attempt starts at the next page, in this browser.
 */
export function initiateRoutes(
  core: Core,
  { form, signIn, providersTable }: { form: RequestHandler; signIn: SignIn; providersTable: ProvidersTable },
): Router {
  const { homePath, portalOf, urls } = core

  const initiate = asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    // Duplicate and nested parameters are not text. They are ignored.
    const { iss, login_hint, target_link_uri }: Parameters =
      (req.method === 'POST' ? req.body : req.query) ?? {}
    const returnTo = localPath(target_link_uri, urls.origin(portal))
    if (req.user) return res.redirect(303, returnTo ?? homePath)
    const issuer = typeof iss === 'string' && !iss.includes('\0') ? iss : ''
    const found = await providersTable.listEnabled(portal, { issuers: possibleIssuers(issuer) })
    const [provider, ...others] = found.filter((each) => each.issuer === issuer || isIssuerOf(each, issuer))
    if (!provider) {
      const error = new PortalSsoError('provider_not_found', 'no enabled provider has the issuer `iss`')
      return await signIn.refusals.refuse(req, res, error, { portal, returnTo })
    }
    // The user chooses among several.
    if (others.length > 0) return res.redirect(303, urls.path('/login', { returnTo }))
    const query = { returnTo, login_hint: readLoginHint(login_hint) }
    res.redirect(303, urls.path(`/login/${provider.slug}`, query))
  })

  const router = Router()
  router.get('/login/initiate', initiate)
  router.post('/login/initiate', form, initiate)
  return router
}

/** "The RP MUST verify the value of target_link_uri to prevent being an open redirector" (Core 4). */
function localPath(target: unknown, origin: string): string | undefined {
  if (typeof target !== 'string' || target.length > 4000 || !URL.canParse(target)) return undefined
  const url = new URL(target)
  return url.origin === origin ? safeReturnTo(url.pathname + url.search + url.hash) : undefined
}
