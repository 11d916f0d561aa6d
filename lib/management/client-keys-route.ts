import { Router } from 'express'
import { publicHalf, standing } from '../providers/client-key.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'

/** Well below the hour between publishing a key and signing with it. */
const maxAgeSeconds = 300

/**
 * `GET /login/:provider/jwks.json`: the public keys of `private_key_jwt` (OpenID Connect Core 9). Served for disabled
 * providers, too: they fetch the keys before they are enabled.
 */
export function clientKeysRoute(
  { portalOf }: Core,
  { providersTable }: { providersTable: ProvidersTable },
): Router {
  const show = asyncHandler(async (req, res) => {
    const provider = await providersTable.find(portalOf(req), req.params.provider)
    const keys = provider ? await providersTable.clientKeys(provider) : []
    if (keys.length === 0) throw new PortalSsoError('provider_not_found', 'no provider of that name has keys')
    // Not `public`: the response to an administrator may renew the session cookie, and a shared cache would pass it on.
    res.set('cache-control', `private, max-age=${maxAgeSeconds}`)
    res.json({ keys: standing(keys, Date.now()).map(({ key }) => publicHalf(key)) })
  })

  const routes = Router()
  routes.get('/login/:provider/jwks.json', show)
  return routes
}
