import { ConfigurationError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { Addresses } from '../web/addresses.ts'
import { makeClientKey } from './client-key.ts'
import type { Outbound } from './outbound-http.ts'
import type { Provider } from './provider.ts'
import { type ProviderInput, readInput } from './provider-input.ts'
import type { ProvidersTable } from './providers-table.ts'
import { settled } from './settled.ts'
import { tested } from './tested.ts'

export interface ConnectParts {
  addresses: Pick<Addresses, 'callback'>
  events: EventLog
  outbound: Outbound
  table: ProvidersTable
}

export type ConnectProvider = (input: ProviderInput, by?: string) => Promise<Provider>

/** check → discover → test → save: the act behind admin pages, CLI and code. */
export function createConnectProvider({ addresses, events, outbound, table }: ConnectParts): ConnectProvider {
  return async (input, by = 'code') => {
    const { slug, portal, preset, enabled, settings } = readInput(input)
    if (await table.find(portal, slug))
      throw new ConfigurationError(
        `slug: a provider called "${slug}" is connected already: choose another slug, or update that one`,
      )
    const { found, keyAlgorithm, secretInUse, checks } = await tested(
      { ...settings, preset },
      addresses.callback(slug, portal),
      outbound,
    )
    const { clientSecret, secondClientSecret, ...others } = found
    // The first one signs at once: there is none before it that the provider could have kept.
    const clientKeys = keyAlgorithm && [await makeClientKey(keyAlgorithm, Date.now())]
    const provider = await table.insert(
      { portal, slug, preset, enabled, ...settled(others) },
      { clientSecret, secondClientSecret, clientKeys },
    )
    if (secretInUse === 'second') await table.noteSecretInUse(provider, secretInUse)
    await table.noteTest(provider, checks)
    // Connected and enabled in one is the operator's own word that it works.
    const detail = {
      issuer: provider.issuer,
      enabled: String(enabled),
      ...(enabled && { rehearsal: 'overridden' as const }),
    }
    await events.record({ kind: 'provider-connected', portal, provider: slug, by, detail })
    return provider
  }
}
