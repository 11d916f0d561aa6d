import { ConfigurationError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { Outbound } from './outbound-http.ts'
import type { Provider } from './provider.ts'
import { type ProviderInput, readInput } from './provider-input.ts'
import type { ProvidersTable } from './providers-table.ts'
import { settled } from './settled.ts'
import { tested } from './tested.ts'

export interface ConnectParts {
  events: EventLog
  outbound: Outbound
  table: ProvidersTable
}

export type ConnectProvider = (input: ProviderInput, by?: string) => Promise<Provider>

/** check → discover → test → save: the act behind admin pages, CLI and code. */
export function createConnectProvider({ events, outbound, table }: ConnectParts): ConnectProvider {
  return async (input, by = 'code') => {
    const { slug, portal, preset, enabled, settings } = readInput(input)
    if (await table.find(portal, slug))
      throw new ConfigurationError(
        `a provider called "${slug}" is connected already: choose another slug, or update that one`,
      )
    const { clientSecret, secondClientSecret, checks, ...found } = await tested(settings, outbound)
    const provider = await table.insert(
      { portal, slug, preset, enabled, ...settled(found) },
      { clientSecret, secondClientSecret },
    )
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
