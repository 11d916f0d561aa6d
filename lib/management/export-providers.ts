import type { Provider } from '../providers/provider.ts'
import { settingNamesWhere, settingsOf } from '../providers/settings.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import type { ManagementContext } from './context.ts'
import { fileFormat, fileVersion, type ProviderFile, type ProviderInFile } from './provider-file.ts'

/**
 * Settings as a file for another portal or stage. It contains no secrets, only references to them; every portal makes its own
 * keys of `private_key_jwt`.
 *
 * @param slugs empty: all providers of the portal
 */
export async function exportProviders(
  { providersTable }: ManagementContext,
  slugs: readonly string[],
  { portal }: ResolvedActOptions,
): Promise<ProviderFile> {
  for (const slug of slugs) await providersTable.get(portal, slug)
  const all = await providersTable.list(portal)
  const chosen = slugs.length === 0 ? all : all.filter(({ slug }) => slugs.includes(slug))
  return { format: fileFormat, version: fileVersion, providers: chosen.map(inFile) }
}

function inFile(provider: Provider): ProviderInFile {
  const { slug, preset } = provider
  const local = settingNamesWhere((setting) => setting.local)
  const exported = Object.entries(settingsOf(provider)).filter(
    ([name]) => !local.some((each) => each === name),
  )
  // `null` overrides the preset's default where the file is imported.
  return {
    slug,
    preset,
    settings: Object.fromEntries(exported.map(([name, value]) => [name, value ?? null])),
  }
}
