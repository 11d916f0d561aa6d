import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { settingsOf } from '../providers/settings.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { sealUnderPassphrase } from './passphrase-seal.ts'
import { digestOf, format, type ProviderFile, type ProviderInFile, version } from './provider-file.ts'

export interface ExportOptions extends ActOptions {
  /** seals the client secrets into the file; left out: they stay here */
  passphrase?: string | undefined
}

/** @param slugs left out or empty: all of the portal */
export type ExportProviders = (slugs?: readonly string[], how?: ExportOptions) => Promise<ProviderFile>

/** What a file may tell whoever opens it. */
export interface SealedSecrets {
  /** of the providers as they stand in the file */
  digest: string
  bySlug: Record<string, { clientSecret: string | undefined }>
}

/** Keys of `private_key_jwt` are never among the secrets: every portal makes its own. */
export function createExportProviders(parts: { events: EventLog; table: ProvidersTable }): ExportProviders {
  const { events, table } = parts
  return async (slugs = [], { portal = 'default', actor = 'code', passphrase } = {}) => {
    for (const slug of slugs) await table.existing(portal, slug)
    const all = await table.list(portal)
    const chosen = slugs.length === 0 ? all : all.filter(({ slug }) => slugs.includes(slug))
    const withSecrets = passphrase !== undefined
    const providers = chosen.map((provider) => inFile(provider, withSecrets))
    const file: ProviderFile = { format, version, providers }
    if (!withSecrets) return file
    const bySlug: SealedSecrets['bySlug'] = {}
    for (const provider of chosen)
      bySlug[provider.slug] = { clientSecret: await table.clientSecret(provider) }
    const sealed: SealedSecrets = { digest: digestOf(providers), bySlug }
    const secrets = await sealUnderPassphrase(sealed, passphrase)
    // Secrets that leave the house are told, whoever takes them.
    for (const { slug } of chosen)
      await events.record({
        kind: 'provider-exported',
        portal,
        provider: slug,
        actor,
        detail: { secrets: 'sealed' },
      })
    return { ...file, secrets }
  }
}

function inFile(provider: Provider, withSecrets: boolean): ProviderInFile {
  const { clientSecretExpiresAt, ...settings } = settingsOf(provider)
  // The expiry date belongs to the secret, and another stage has another secret.
  const exported = withSecrets ? { ...settings, clientSecretExpiresAt } : settings
  const { slug, preset } = provider
  return {
    slug,
    preset,
    settings: Object.fromEntries(Object.entries(exported).map(([name, value]) => [name, value ?? null])),
  }
}
