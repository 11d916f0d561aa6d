import * as z from 'zod'
import { slugSchema } from '../providers/provider.ts'
import { isSecret, settingNamesWhere, settingsOf, settings as settingsTable } from '../providers/settings.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import { type Issue, ManagementError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import type { ManagementContext } from './context.ts'
import { parse } from './provider-input.ts'
import { encodedLogo } from './provider-logos.ts'

/** Providers for another portal or stage, without what belongs to one installation: ids, portal, state and secrets. */
export interface ProviderFile {
  /** Identifies the file format. */
  format: 'express-portal-sso providers'
  /** Version of the file format. */
  version: 1
  /** In the order of the login page. */
  providers: ProviderInFile[]
}

/** One provider of a file. */
export interface ProviderInFile {
  /** Name in URLs. */
  slug: string
  /** Name of the preset. */
  preset: string
  /** Values by setting, as `ProviderChanges`. `null`: none, not even the preset's default. */
  settings: Record<string, unknown>
  /** Its own logo, a PNG or WebP file in base64. Omitted: none, and an import keeps the existing one. */
  logo?: string | undefined
}

const fileFormat = 'express-portal-sso providers'
const fileVersion = 1
/** Rows read at once. */
const pageSize = 500

/** Characters: as many providers as a file may contain, each with a logo. */
export const maxFileLength = 8_388_608

const fileSchema = z.strictObject({
  format: z.literal(fileFormat),
  version: z.literal(fileVersion),
  providers: z
    .array(
      z.strictObject({
        slug: slugSchema,
        preset: z.string().max(40),
        settings: z.record(z.string().max(40), z.unknown()),
        logo: z.string().optional(),
      }),
    )
    .max(200),
})

/**
 * Settings as a file for another portal or stage. It contains no secrets, only references to them; every portal makes its own
 * keys of `private_key_jwt`.
 *
 * @param slugs empty: all providers of the portal
 */
export async function exportProviders(
  { knex, providersTable }: ManagementContext,
  slugs: readonly string[],
  { portal }: ResolvedActOptions,
): Promise<ProviderFile> {
  const chosen = slugs.length === 0 ? undefined : await providersTable.getAll(portal, slugs)
  const local: string[] = settingNamesWhere((setting) => setting.local)
  const providers: ProviderInFile[] = []
  let page = chosen ?? (await providersTable.list(portal, { limit: pageSize }))
  while (page.length > 0) {
    for (const provider of page) {
      const exported = Object.entries(settingsOf(provider)).filter(([name]) => !local.includes(name))
      // `null` overrides the preset's default where the file is imported.
      const settings = Object.fromEntries(exported.map(([name, value]) => [name, value ?? null]))
      const logo = await encodedLogo(knex, provider)
      providers.push({ slug: provider.slug, preset: provider.preset, settings, ...(logo && { logo }) })
    }
    page = chosen ? [] : await providersTable.list(portal, { after: page.at(-1), limit: pageSize })
  }
  return { format: fileFormat, version: fileVersion, providers }
}

/** Checks the structure only; the settings are validated when they are connected or updated. @throws ManagementError `invalid` */
export function readProviderFile(text: string): ProviderFile {
  if (text.length > maxFileLength) throw new ManagementError('invalid', 'the file is larger than any export')
  const value = parseJson(text)
  const { format, version } = (value ?? {}) as { format?: unknown; version?: unknown }
  if (format !== fileFormat)
    throw new ManagementError('invalid', 'this is not a file that `portal-sso providers export` wrote')
  if (version !== fileVersion)
    throw new ManagementError(
      'invalid',
      `the file has version ${JSON.stringify(version)?.slice(0, 40)}; this portal reads version ${fileVersion}`,
    )
  const file = parse(fileSchema, value)
  const slugs = file.providers.map(({ slug }) => slug)
  const duplicates = new Set(slugs.filter((slug, at) => slugs.indexOf(slug) !== at))
  const issues: Issue[] = [...duplicates].map((path) => ({ path, message: 'is in the file twice' }))
  issues.push(...file.providers.flatMap(findMisplaced))
  if (issues.length > 0) throw new ManagementError('invalid', issues)
  return file
}

function parseJson(text: string): unknown {
  const hostile = ['__proto__', 'constructor', 'prototype']
  try {
    return JSON.parse(text, (name, value: unknown) => {
      if (hostile.includes(name)) throw new ManagementError('invalid', `the file contains the name "${name}"`)
      return value
    })
  } catch (cause) {
    if (cause instanceof ManagementError) throw cause
    throw new ManagementError('invalid', 'the file is not valid JSON', { cause })
  }
}

function findMisplaced({ slug, settings }: ProviderInFile): Issue[] {
  return Object.keys(settings)
    .filter((name) => !Object.hasOwn(settingsTable, name) || isSecret(name))
    .map((name) => ({
      path: slug,
      message: isSecret(name)
        ? `${name}: a file must not contain secrets; remove it, and enter it when asked`
        : `${sanitizeText(name, 100)}: is not a setting`,
    }))
}
