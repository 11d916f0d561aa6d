import type { EventLog } from '../events/event-log.ts'
import {
  type ClientKey,
  keyAlgorithmFor,
  leadTime,
  makeClientKey,
  standing,
} from '../providers/client-key.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'
import type { ConnectedProviders } from '../sign-in/connected-providers.ts'
import type { PortalUrls } from '../web/urls.ts'
import { slugOf } from './provider-input.ts'

/** A public key as the provider reads it. */
export interface PublishedKey {
  kid: string
  alg: string
  /** `next`: published, signs from `from` on, so that the provider has time to fetch it */
  state: 'next' | 'signing' | 'retired'
  from: string
}

/** The keys of `private_key_jwt`: made here, the private halves never leave the row. */
export interface ClientKeys {
  clientKeys(slug: string, portal?: string): Promise<PublishedKey[]>
  /**
   * Publishes a new key now and signs with it an hour later; the old one stays published for a day after that.
   *
   * @throws ConfigurationError when the last one published does not sign yet: it would be pushed out unused
   */
  rotateClientKey(slug: string, how?: ActOptions): Promise<PublishedKey>
  /** where the provider fetches them: `/login/:provider/jwks.json` */
  jwksUri(slug: string, portal?: string): string
}

export interface ClientKeysParts {
  urls: Pick<PortalUrls, 'clientKeys'>
  connectedProviders: ConnectedProviders
  events: EventLog
  table: ProvidersTable
}

export function createClientKeys({ urls, connectedProviders, events, table }: ClientKeysParts): ClientKeys {
  return {
    async clientKeys(slug, portal = 'default') {
      return published(await table.clientKeys(await table.existing(portal, slug)))
    },
    async rotateClientKey(slug, { portal = 'default', actor = 'code' } = {}) {
      const provider = await table.existing(portal, slug)
      if (provider.clientAuthentication !== 'private_key_jwt')
        throw new ConfigurationError(
          `"${slug}" authenticates with ${provider.clientAuthentication}: there is no key to exchange`,
        )
      // What the provider takes may have changed since the key before was made.
      const { metadata } = await connectedProviders.connect(provider).client()
      const alg = keyAlgorithmFor(metadata.token_endpoint_auth_signing_alg_values_supported)
      if (!alg) throw new ConfigurationError(`"${slug}" takes no algorithm of ours for private_key_jwt`)
      const now = Date.now()
      const next = await makeClientKey(alg, now + leadTime)
      await table.changeClientKeys(provider, (keys) => [...left(slug, keys, now), next])
      const { kid, from } = next
      const detail = { change: 'client key', after: JSON.stringify({ kid, alg, from }) }
      await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
      return { kid, alg, state: 'next', from }
    },
    jwksUri: (slug, portal = 'default') => urls.clientKeys(slugOf(slug), portal),
  }
}

/** The keys that stay beside a new one. */
function left(slug: string, keys: readonly ClientKey[], now: number): ClientKey[] {
  const known = standing(keys, now)
  const next = known.find(({ state }) => state === 'next')
  if (next)
    throw new ConfigurationError(
      `the next key of "${slug}" is published already and signs from ${next.key.from} on: try again then`,
    )
  return known.map(({ key }) => key)
}

function published(keys: readonly ClientKey[]): PublishedKey[] {
  return standing(keys, Date.now()).map(({ key: { kid, alg, from }, state }) => ({ kid, alg, state, from }))
}
