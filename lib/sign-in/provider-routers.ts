import type { RequestHandler, Router } from 'express'
import { LRUCache } from 'lru-cache'
import { PortalSsoError } from '../errors.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import type { ProviderClient } from '../providers/provider-client.ts'
import { mostProviders, type ProviderClients } from '../providers/provider-clients.ts'
import { handle } from '../web/handle.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { createProviderRouter, type ProviderRouterParts } from './provider-router.ts'
import { ProviderStrategy } from './provider-strategy.ts'

interface Built {
  client: ProviderClient
  strategyName: string
  router: Router
}

export interface ProviderRoutersParts extends ProviderRouterParts {
  clients: ProviderClients
  portalOf: PortalOf
}

/** milliseconds */
const grace = 60_000

/**
 * Sends `/login/:provider/…` to that provider's router. The row is read at every click; a new version of it has another
 * client, and with it another router. So a change made by any process counts at the next click, with nothing to invalidate.
 */
export function createProviderRouters(parts: ProviderRoutersParts): RequestHandler {
  const { addresses, attempts, clients, passport, portalOf, refuse, table } = parts
  let strategies = 0
  const built = new LRUCache<string, Built>({
    max: mostProviders,
    dispose({ strategyName }) {
      // An answer that is being judged right now still needs it.
      setTimeout(() => passport.unuse(strategyName), grace).unref()
    },
  })

  async function routerOf(provider: Provider): Promise<Router> {
    const client = await clients.of(provider)
    const kept = built.get(provider.id)
    if (kept?.client === client) return kept.router
    const strategyName = `${provider.id}@${provider.version}#${++strategies}`
    const callback = addresses.callback(provider.slug, provider.portal)
    passport.use(strategyName, new ProviderStrategy(provider, client, attempts, callback))
    const router = createProviderRouter(provider, strategyName, parts)
    built.set(provider.id, { client, strategyName, router })
    return router
  }

  return handle(async (req, res, next) => {
    const portal = portalOf(req)
    const returnTo = safeReturnTo(req.query.returnTo)
    // What cannot be a slug is not for the database, which may choke on it (PostgreSQL on a NUL), nor for the log: it may be
    // anything that somebody pasted, a code say.
    const slug = slugSchema.safeParse(req.params.provider).data
    const provider = slug === undefined ? undefined : await table.find(portal, slug)
    if (!provider?.enabled) {
      const named = slug === undefined ? 'of such a name' : JSON.stringify(slug)
      const unknown = new PortalSsoError('provider_unknown', `no enabled provider ${named}`)
      return await refuse(req, res, unknown, { portal, returnTo })
    }
    let router: Router
    try {
      router = await routerOf(provider)
    } catch (error) {
      return await refuse(req, res, error, { portal, provider: slug, returnTo })
    }
    router(req, res, next)
  })
}
