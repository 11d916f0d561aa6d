import { Router } from 'express'
import { publicHalf, standing } from '../providers/client-key.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import type { PortalResolver } from '../web/request.ts'

export interface ClientKeysRouteParts {
  portalOf: PortalResolver
  table: ProvidersTable
}

/** Well below the hour between publishing a key and signing with it. */
const maxAgeSeconds = 300

/**
 * `GET /login/:provider/jwks.json`: the public keys with which a provider verifies that it is us (`private_key_jwt`, OpenID
 * Connect Core 9). Also for a disabled provider, which reads them before it is enabled.
 */
export function createClientKeysRoute({ portalOf, table }: ClientKeysRouteParts): Router {
  const show = asyncHandler(async (req, res) => {
    const provider = await table.find(portalOf(req), req.params.provider)
    const keys = provider ? await table.clientKeys(provider) : []
    if (keys.length === 0) throw new PortalSsoError('provider_unknown', 'no provider of that name has keys')
    // Not `public`: the response can renew an administrator's session cookie, and a shared cache would give that to others.
    res.set('cache-control', `private, max-age=${maxAgeSeconds}`)
    res.json({ keys: standing(keys, Date.now()).map(({ key }) => publicHalf(key)) })
  })

  const routes = Router()
  routes.get('/login/:provider/jwks.json', show)
  return routes
}
