import { z } from 'zod'
import type { Preset } from '../providers/presets/preset.ts'
import { presetOf, presets } from '../providers/presets/presets.ts'
import {
  type ProviderChanges,
  type ProviderSettings,
  providerSettingsSchema,
  slugSchema,
} from '../providers/provider.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { portalName } from '../web/request.ts'

/**
 * What `connect` takes: a slug, a preset with what it asks for, and the settings; the issuer may come from the preset.
 * `null` is not even the preset's default.
 */
export type ProviderInput = { [K in keyof ProviderSettings]?: ProviderSettings[K] | null | undefined } & {
  /** name in addresses, unique in the portal: `/login/acme` */
  slug: string
  /** default `generic` */
  preset?: string | undefined
  /** default `default` */
  portal?: string | undefined
  /** what the preset asks for in place of an issuer, by name; not needed where the issuer itself is given */
  answers?: Readonly<Record<string, string>> | undefined
  /** preset `entra`: the Directory (tenant) ID, or several, or `organizations`; short for `answers: { tenant }` */
  tenant?: string | undefined
  /** default true */
  enabled?: boolean | undefined
}

export interface ReadInput {
  slug: string
  portal: string
  preset: string
  enabled: boolean
  settings: ProviderSettings
}

const inputSchema = z.looseObject({
  slug: slugSchema,
  portal: z.string().regex(portalName, 'write the name of a portal in lower case').default('default'),
  preset: z.enum(presets.map(({ name }) => name)).default('generic'),
  enabled: z.boolean().default(true),
  answers: z.record(z.string(), z.string()).default({}),
  tenant: z.string().optional(),
})

/** @throws ConfigurationError with a sentence for all that is wrong */
export function readInput(input: ProviderInput): ReadInput {
  const { slug, portal, preset: name, enabled, answers, tenant, ...given } = parse(inputSchema, input)
  const preset = presetOf(name) as Preset
  const all = { ...answers, ...(tenant !== undefined && { tenant }) }
  const asks = Object.keys(all).length > 0 || given.issuer === undefined
  // Of a preset that asks for nothing, too: what is answered all the same is told, not passed over.
  const answered = asks ? readAnswers(preset, all) : undefined
  const settings = parse(
    providerSettingsSchema,
    withoutNull({
      displayName: name === 'generic' ? slug : preset.displayName,
      ...(answered && preset.settings?.(answered)),
      ...preset.defaults,
      ...defined(given),
    }),
  )
  assertFits(name, settings)
  return { slug, portal, preset: name, enabled, settings }
}

/** @throws ConfigurationError for what cannot be one */
export function slugOf(slug: string): string {
  return parse(inputSchema.pick({ slug: true }), { slug }).slug
}

/** @throws ConfigurationError for settings that a row of this preset cannot have, whatever else is right */
export function assertFits(preset: string, settings: ProviderSettings): void {
  const objections = presetOf(preset)?.objections?.(settings) ?? []
  if (objections.length > 0) throw new ConfigurationError(objections.join('; '))
}

function readAnswers(preset: Preset, given: Record<string, string>): Record<string, string> {
  const wrong = Object.keys(given)
    .filter((name) => !preset.asks.some((question) => question.name === name))
    .map((name) => `${name}: the preset ${preset.name} does not ask for it`)
  const answers: Record<string, string> = {}
  for (const { name, label, hint, required = true, read } of preset.asks) {
    const answer = given[name]?.trim() ?? ''
    const outcome = answer === '' ? undefined : read(answer)
    if (outcome === undefined && required)
      wrong.push(`${name}: enter the ${[label, hint].filter(Boolean).join(', ')}`)
    else if (outcome && 'wrong' in outcome) wrong.push(`${name}: ${outcome.wrong}`)
    else if (outcome) answers[name] = outcome.answer
  }
  if (wrong.length > 0) throw new ConfigurationError(wrong.join('; '))
  return answers
}

function withoutNull(settings: object): object {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== null))
}

/** What is to change, and what is to be as if it had been left out. */
export function readChanges(changes: ProviderChanges): {
  changed: Partial<ProviderSettings>
  takenBack: (keyof ProviderSettings)[]
} {
  const names = Object.keys(changes) as (keyof ProviderSettings)[]
  const takenBack = names.filter((name) => changes[name] === null)
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== null))
  return { changed: defined(parse(providerSettingsSchema.partial(), given)), takenBack }
}

export function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  // Names are quoted, and may be a file's: a line of their own in a terminal would speak in our name.
  const told = result.error.issues.map(({ path, message }) => `${path.join('.') || 'provider'}: ${message}`)
  throw new ConfigurationError(told.map((each) => sanitizeText(each)).join('; '))
}

function defined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as never
}
