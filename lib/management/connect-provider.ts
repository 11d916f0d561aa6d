import type { EventLog } from '../events/event-log.ts'
import type { Outbound } from '../oidc/http-client.ts'
import { makeClientKey } from '../providers/client-key.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { settled } from '../providers/settings.ts'
import { ConfigurationError } from '../shared/errors.ts'
import type { Addresses } from '../web/urls.ts'
import { type ProviderInput, readInput } from './provider-input.ts'
import { tested } from './test-provider.ts'

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
