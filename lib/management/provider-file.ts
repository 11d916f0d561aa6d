import { createHash } from 'node:crypto'
import { z } from 'zod'
import { providerSettingsSchema, slugSchema } from '../providers/provider.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { parse } from './provider-input.ts'

/** Providers on their way to another portal or stage. No ids, no portal, no state: those belong to where they stand. */
export interface ProviderFile {
  format: typeof format
  version: typeof version
  /** in the order of the login page */
  providers: ProviderInFile[]
  /** all secrets in one JWE under a passphrase; left out: there are none in the file */
  secrets?: string | undefined
}

export interface ProviderInFile {
  slug: string
  preset: string
  /** `null`: none, not even the preset's */
  settings: Record<string, unknown>
}

export const format = 'express-portal-sso providers'
export const version = 1

/** characters of a file that are read */
export const longestFile = 1_048_576

const settingNames = Object.keys(providerSettingsSchema.shape).filter((name) => name !== 'clientSecret')

const fileSchema = z.strictObject({
  format: z.literal(format),
  version: z.literal(version),
  providers: z
    .array(
      z.strictObject({
        slug: slugSchema,
        preset: z.string().max(40),
        settings: z.record(z.string().max(40), z.unknown()),
      }),
    )
    .max(200),
  secrets: z.string().optional(),
})

/**
 * Its form only; what a setting may be is the business of whoever takes it.
 *
 * @throws ConfigurationError with a sentence for whatever is no such file
 */
export function readProviderFile(text: string): ProviderFile {
  if (text.length > longestFile) throw new ConfigurationError('the file is larger than any export')
  const value = parseJson(text)
  const head = z.looseObject({ format: z.literal(format), version: z.unknown() }).safeParse(value)
  if (!head.success) throw new ConfigurationError('this is no file that `portal-sso providers export` wrote')
  if (head.data.version !== version)
    throw new ConfigurationError(
      `the file is of version ${JSON.stringify(head.data.version)?.slice(0, 40)}; this portal reads version ${version}`,
    )
  const file = parse(fileSchema, value)
  const wrong = [...twice(file.providers), ...file.providers.flatMap(misplaced)]
  if (wrong.length > 0) throw new ConfigurationError(wrong.join('; '))
  return file
}

/** What the secrets were sealed with: who edits an issuer would else have them sent to an address of his own. */
export function digestOf(providers: readonly ProviderInFile[]): string {
  return createHash('sha256').update(JSON.stringify(providers)).digest('base64url')
}

function parseJson(text: string): unknown {
  const hostile = ['__proto__', 'constructor', 'prototype']
  try {
    return JSON.parse(text, (name, value: unknown) => {
      if (hostile.includes(name)) throw new ConfigurationError(`the file holds the name "${name}"`)
      return value
    })
  } catch (cause) {
    if (cause instanceof ConfigurationError) throw cause
    throw new ConfigurationError('the file is not valid JSON', { cause })
  }
}

function twice(providers: readonly ProviderInFile[]): string[] {
  const slugs = providers.map(({ slug }) => slug)
  return [...new Set(slugs.filter((slug, at) => slugs.indexOf(slug) !== at))].map(
    (slug) => `${slug}: is in the file twice`,
  )
}

function misplaced({ slug, settings }: ProviderInFile): string[] {
  return Object.keys(settings)
    .filter((name) => !settingNames.includes(name))
    .map((name) =>
      name === 'clientSecret'
        ? `${slug}: ${name}: a file holds no secrets in the clear; take it out, and give it when you are asked`
        : `${slug}: ${sanitizeText(name)}: is no setting`,
    )
}
