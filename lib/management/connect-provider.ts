import type { EventLog } from '../events/event-log.ts'
import type { HttpClients } from '../oidc/http-client.ts'
import { makeClientKey } from '../providers/client-key.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { withDefaults } from '../providers/settings.ts'
import { ConfigurationError } from '../shared/errors.ts'
import type { PortalUrls } from '../web/urls.ts'
import { type ProviderInput, readInput } from './provider-input.ts'
import { testAndResolve } from './test-provider.ts'

export interface ConnectParts {
  urls: Pick<PortalUrls, 'callback'>
  events: EventLog
  outbound: HttpClients
  table: ProvidersTable
}

export type ConnectProvider = (input: ProviderInput, actor?: string) => Promise<Provider>

/** check → discover → test → save: the act behind admin pages, CLI and code. */
export function createConnectProvider({ urls, events, outbound, table }: ConnectParts): ConnectProvider {
  return async (input, actor = 'code') => {
    const { slug, portal, preset, enabled, settings } = readInput(input)
    if (await table.find(portal, slug))
      throw new ConfigurationError(
        `slug: a provider called "${slug}" is connected already: choose another slug, or update that one`,
      )
    const { found, keyAlgorithm, checks } = await testAndResolve(
      { ...settings, preset },
      urls.callback(slug, portal),
      outbound,
    )
    const { clientSecret, ...others } = found
    // The first one signs at once: there is none before it that the provider could have kept.
    const clientKeys = keyAlgorithm && [await makeClientKey(keyAlgorithm, Date.now())]
    const provider = await table.insert(
      { portal, slug, preset, enabled, ...withDefaults(others) },
      { clientSecret, clientKeys },
    )
    await table.recordConnectionTest(provider, checks)
    // Connected and enabled in one is the operator's own word that it works.
    const detail = {
      issuer: provider.issuer,
      enabled: String(enabled),
      ...(enabled && { rehearsal: 'overridden' as const }),
    }
    await events.record({ kind: 'provider-connected', portal, provider: slug, actor, detail })
    return provider
  }
}
