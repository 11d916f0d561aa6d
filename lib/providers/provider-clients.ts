import { LRUCache } from 'lru-cache'
import { PortalSsoError } from '../errors.ts'
import { signingKeyOf } from './client-key.ts'
import type { Outbound } from './outbound-http.ts'
import type { Provider } from './provider.ts'
import { createProviderClient, type ProviderClient } from './provider-client.ts'
import type { ProvidersTable } from './providers-table.ts'

/** The clients of all providers: built when somebody needs one, then shared until the row's version changes. */
export interface ProviderClients {
  /** @throws PortalSsoError `provider_unavailable` when the provider gives no metadata that can be used */
  of(provider: Provider): Promise<ProviderClient>
}

/** More providers than this take turns; each costs a few kilobytes and a discovery to build. */
export const mostProviders = 200
// Providers move an endpoint now and then: their documents are read again after an hour, in milliseconds.
const lifetime = 3_600_000

export function createProviderClients(table: ProvidersTable, outbound: Outbound): ProviderClients {
  const pending = new Map<string, Promise<ProviderClient>>()
  const built = new LRUCache<string, { version: number; client: ProviderClient }>({
    max: mostProviders,
    ttl: lifetime,
  })

  async function build(provider: Provider): Promise<ProviderClient> {
    const credentials = {
      ...(await table.clientSecrets(provider)),
      signingKey: async () => await signingKeyOf(await table.clientKeys(provider), Date.now()),
    }
    const client = await createProviderClient(
      provider,
      credentials,
      outbound.of(provider.id, provider),
      // A note for whoever looks, and for other instances: none of it is worth a failed sign-in.
      { secretTaken: (secret) => void table.noteSecretInUse(provider, secret).catch(() => {}) },
    ).catch((cause: unknown) => {
      throw new PortalSsoError('provider_unavailable', 'the provider cannot be used', { cause })
    })
    built.set(provider.id, { version: provider.version, client })
    return client
  }

  return {
    /** One build serves all who ask meanwhile; a failed one is forgotten, so the next to ask tries anew. */
    async of(provider) {
      const kept = built.get(provider.id)
      if (kept?.version === provider.version) return kept.client
      const key = `${provider.id}@${provider.version}`
      const building = pending.get(key) ?? build(provider).finally(() => pending.delete(key))
      pending.set(key, building)
      return await building
    },
  }
}
