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

/** seconds that a provider may keep the answer: well below the hour from publishing a key to signing with it */
const keptFor = 300

/**
 * `GET /login/:provider/jwks.json`: the public keys with which a provider verifies that it is us (`private_key_jwt`, OpenID
 * Connect Core 9). Of a disabled provider, too: it reads them before it is enabled.
 */
export function createClientKeysRoute({ portalOf, table }: ClientKeysRouteParts): Router {
  const show = asyncHandler(async (req, res) => {
    const provider = await table.find(portalOf(req), req.params.provider)
    const keys = provider ? await table.clientKeys(provider) : []
    if (keys.length === 0) throw new PortalSsoError('provider_unknown', 'no provider of that name has keys')
    // Not `public`: an administrator who looks at it has the session's cookie renewed by this very answer, and a shared cache
    // would hand that on to whoever asks next.
    res.set('cache-control', `private, max-age=${keptFor}`)
    res.json({ keys: standing(keys, Date.now()).map(({ key }) => publicHalf(key)) })
  })

  const routes = Router()
  routes.get('/login/:provider/jwks.json', show)
  return routes
}
