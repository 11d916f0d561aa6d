import type { RequestHandler, Router } from 'express'
import { LRUCache } from 'lru-cache'
import { PortalSsoError } from '../errors.ts'
import type { Outbound } from '../providers/outbound-http.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import { createProviderClient } from '../providers/provider-client.ts'
import { handle } from '../web/handle.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { createProviderRouter, type ProviderRouterParts } from './provider-router.ts'
import { ProviderStrategy } from './provider-strategy.ts'

interface Built {
  version: number
  strategyName: string
  router: Router
}

export interface ProviderRoutersParts extends ProviderRouterParts {
  outbound: Outbound
  portalOf: PortalOf
}

// More providers than this take turns; each costs a few kilobytes and a discovery to build.
const most = 200
// Providers move an endpoint now and then: their documents are read again after an hour, in milliseconds.
const lifetime = 3_600_000
const grace = 60_000

/**
 * Sends `/login/:provider/…` to that provider's router. The row is read at every click; its version tells whether what was
 * built before still serves. So a change made by any process counts at the next click, with nothing to invalidate.
 */
export function createProviderRouters(parts: ProviderRoutersParts): RequestHandler {
  const { addresses, attempts, outbound, passport, portalOf, refuse, table } = parts
  const pending = new Map<string, Promise<Built>>()
  const built = new LRUCache<string, Built>({
    max: most,
    ttl: lifetime,
    dispose({ strategyName }) {
      // An answer that is being judged right now still needs it.
      setTimeout(() => passport.unuse(strategyName), grace).unref()
    },
  })

  async function build(provider: Provider): Promise<Built> {
    const strategyName = `${provider.id}@${provider.version}#${Date.now()}`
    const clientSecret = await table.clientSecret(provider)
    const client = await createProviderClient(provider, clientSecret, outbound).catch((cause: unknown) => {
      throw new PortalSsoError('provider_unavailable', 'the provider cannot be used', { cause })
    })
    const callback = addresses.callback(provider.slug, provider.portal)
    passport.use(strategyName, new ProviderStrategy(provider, client, attempts, callback))
    return {
      version: provider.version,
      strategyName,
      router: createProviderRouter(provider, strategyName, parts),
    }
  }

  /** One build serves all who click meanwhile; a failed one is forgotten, so the next click tries anew. */
  async function routerOf(provider: Provider): Promise<Router> {
    const kept = built.get(provider.id)
    if (kept?.version === provider.version) return kept.router
    const key = `${provider.id}@${provider.version}`
    const building =
      pending.get(key) ??
      build(provider)
        .then((fresh) => {
          built.set(provider.id, fresh)
          return fresh
        })
        .finally(() => pending.delete(key))
    pending.set(key, building)
    return (await building).router
  }

  return handle(async (req, res, next) => {
    const portal = portalOf(req)
    const slug = String(req.params.provider)
    const returnTo = safeReturnTo(req.query.returnTo)
    const provider = await table.find(portal, slug)
    if (!provider?.enabled) {
      // What cannot be a slug may be anything that somebody pasted, a code say, and is not for the log.
      const named = slugSchema.safeParse(slug).success ? JSON.stringify(slug) : 'of such a name'
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
