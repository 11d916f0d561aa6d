import type { HttpClients } from '../oidc/http-client.ts'
import { signingKeyOf } from '../providers/client-key.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider, ProviderChanges } from '../providers/provider.ts'
import type { PortalUrls } from '../web/urls.ts'
import { createConnectProvider } from './connect-provider.ts'
import { createEnableApi, type EnableApi, type EnableApiParts } from './enable-provider.ts'
import { createExportProviders, type ExportProviders } from './export-providers.ts'
import { createImportProviders, type ImportProviders } from './import-providers.ts'
import { type ProviderInput, readInput, slugOf } from './provider-input.ts'
import { type ProviderTest, testProvider } from './test-provider.ts'
import { createUpdateProvider, type UpdateOptions } from './update-provider.ts'

/** Providers of a portal, from code; admin pages and CLI do the same acts. `portal` is `default` wherever it is left out. */
export interface Providers extends EnableApi {
  /** Checks, discovers, tests, saves. @throws ConfigurationError that says what to do; nothing is saved then */
  connect(input: ProviderInput, actor?: string): Promise<Provider>
  list(portal?: string): Promise<Provider[]>
  find(slug: string, portal?: string): Promise<Provider | undefined>
  /** Tests it anew; what was found stands in its row, and how it reads the client secret. */
  test(slug: string, portal?: string): Promise<ProviderTest>
  /** Tests what is not saved. @throws ConfigurationError for input that cannot be tested */
  testUnsaved(input: ProviderInput): Promise<ProviderTest>
  /** @throws ConfigurationError also when `version` is no longer that of the row: somebody else changed it meanwhile */
  update(slug: string, changes: ProviderChanges, how?: UpdateOptions): Promise<Provider>
  /** Settings as a file for another portal or stage; client secrets only under a passphrase. */
  exportProviders: ExportProviders
  importProviders: ImportProviders
  /** the redirect URI to enter at the provider */
  redirectUri(slug: string, portal?: string): string
  /** the redirect URI of the admin consent to enter at the provider; `undefined` for one that has no such thing */
  adminConsentUri(slug: string, portal?: string): Promise<string | undefined>
  /** the back-channel logout URI to enter at the provider, where it has such a thing */
  backChannelLogoutUri(slug: string, portal?: string): string
  /** the front-channel logout URI to enter at the provider; good for something with the setting `frontChannelLogout` only */
  frontChannelLogoutUri(slug: string, portal?: string): string
  /** the post-logout redirect URI to enter at the provider, the same for all of a portal */
  postLogoutRedirectUri(portal?: string): string
}

export interface ProvidersParts extends EnableApiParts {
  urls: Pick<
    PortalUrls,
    'callback' | 'adminConsent' | 'backChannelLogout' | 'frontChannelLogout' | 'loggedOut'
  >
  outbound: HttpClients
}

export function createProviders(parts: ProvidersParts): Providers {
  const { urls, events, outbound, table } = parts
  const connect = createConnectProvider(parts)
  const update = createUpdateProvider(parts)

  /** How the provider reads the client secret: with the other spelling nobody came in, so that the new version disturbs nobody. */
  async function remember(provider: Provider, { secretEncoding }: ProviderTest): Promise<Provider> {
    if (secretEncoding === undefined || secretEncoding === provider.secretEncoding) return provider
    const updated = await table.update(provider, { secretEncoding })
    const detail = { change: 'secretEncoding', before: provider.secretEncoding, after: secretEncoding }
    const { portal, slug } = provider
    await events.record({ kind: 'provider-changed', portal, provider: slug, actor: 'test', detail })
    return updated
  }

  return {
    connect,
    list: (portal = 'default') => table.list(portal),
    find: (slug, portal = 'default') => table.find(portal, slug),
    async test(slug, portal = 'default') {
      const provider = await table.existing(portal, slug)
      const redirectUri = urls.callback(slug, portal)
      const clientSecret = await table.clientSecret(provider)
      const keys = await table.clientKeys(provider)
      const signingKey = keys.length > 0 ? () => signingKeyOf(keys, Date.now()) : undefined
      const test = await testProvider({ ...provider, clientSecret, signingKey, redirectUri }, outbound)
      const remembered = await remember(provider, test)
      await table.recordConnectionTest(remembered, test.checks)
      return test
    },
    async testUnsaved(input) {
      const { slug, portal, preset, settings } = readInput(input)
      const candidate = { ...settings, preset, redirectUri: urls.callback(slug, portal) }
      return await testProvider(candidate, outbound)
    },
    update,
    exportProviders: createExportProviders(parts),
    importProviders: createImportProviders({ connect, table, update }),
    ...createEnableApi(parts),
    redirectUri: (slug, portal = 'default') => urls.callback(slugOf(slug), portal),
    async adminConsentUri(slug, portal = 'default') {
      const { preset } = await table.existing(portal, slug)
      return presetOf(preset)?.adminConsent && urls.adminConsent(slug, portal)
    },
    backChannelLogoutUri: (slug, portal = 'default') => urls.backChannelLogout(slugOf(slug), portal),
    frontChannelLogoutUri: (slug, portal = 'default') => urls.frontChannelLogout(slugOf(slug), portal),
    postLogoutRedirectUri: (portal = 'default') => urls.loggedOut(portal),
  }
}
