import type { Request, RequestHandler } from 'express'
import { PortalSsoError } from '../errors.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import { handle } from '../web/handle.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { createProviderRouter, type ProviderRouterParts } from './provider-router.ts'

export interface ProviderRoutersParts extends ProviderRouterParts {
  portalOf: PortalOf
}

/**
 * Sends `/login/:provider/…` to that provider's router. The row is read at every click; a new version of it has another
 * client, and with it another strategy. So a change made by any process counts at the next click, with nothing to invalidate.
 */
export function createProviderRouters(parts: ProviderRoutersParts): RequestHandler {
  const { portalOf, refuse, table } = parts

  return handle(async (req, res, next) => {
    const portal = portalOf(req)
    const provider = await table.find(portal, req.params.provider)
    if (provider && isOpen(provider, req)) {
      // Light, and always of the row as it is now: what is built once for many is the strategy.
      createProviderRouter(provider, parts)(req, res, next)
      return
    }
    // What cannot be a slug is not for the log: it may be anything that somebody pasted, a code say.
    const slug = slugSchema.safeParse(req.params.provider).data
    const named = slug === undefined ? 'of such a name' : JSON.stringify(slug)
    const unknown = new PortalSsoError('provider_unknown', `no enabled provider ${named}`)
    await refuse(req, res, unknown, { portal, returnTo: safeReturnTo(req.query.returnTo) })
  })
}

/** Of a provider that is disabled the callback alone, for an administrator's rehearsal: it looks at the attempt itself. */
function isOpen(provider: Provider, req: Request): boolean {
  return provider.enabled || /^\/callback\/?$/i.test(req.path)
}
