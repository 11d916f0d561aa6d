import * as z from 'zod'
import { issuerOfMetadata } from '../providers/issuer.ts'
import type { Preset } from '../providers/presets/preset.ts'
import { presetOf, presets } from '../providers/presets/presets.ts'
import { slugSchema } from '../providers/provider.ts'
import { isMetadataUrl } from '../providers/setting-values.ts'
import {
  type ProviderChanges,
  type ProviderSettings,
  type SettingName,
  type SettingsInput,
  settingsSchema,
  settings as settingsTable,
} from '../providers/settings.ts'
import { type Issue, issueAt, ManagementError } from '../shared/errors.ts'
import { type AdminText, listed, phrase } from '../shared/phrase.ts'
import { sanitizePhrase, sanitizeText } from '../shared/sanitize-text.ts'

/**
 * Input of `connect`: a slug, a preset with answers to its questions, and settings. The preset may supply the issuer. `null`
 * overrides the preset's default.
 */
export type ProviderInput = { [Name in SettingName]?: SettingsInput[Name] | null | undefined } & {
  /** Name in URLs, unique in the portal: `/login/acme`. */
  slug: string
  /** Default `generic`. */
  preset?: string | undefined
  /** Answers to the preset's questions, by name. Not needed where the issuer is given. */
  answers?: Readonly<Record<string, string>> | undefined
  /** Preset `entra`: the Directory (tenant) ID, several of them, or `organizations`. Short for `answers: { tenant }`. */
  tenant?: string | undefined
  /** Default true. */
  enabled?: boolean | undefined
}

const inputSchema = z.looseObject({
  slug: slugSchema,
  preset: z.enum(presets.map(({ name }) => name)).default('generic'),
  enabled: z.boolean().default(true),
  answers: z.record(z.string(), z.string()).default({}),
  tenant: z.string().optional(),
})

/** @throws ManagementError `invalid` with an issue for every mistake */
export function readInput(input: ProviderInput) {
  const { slug, preset: name, enabled, answers, tenant, ...given } = parse(inputSchema, input)
  const preset = presetOf(name) as Preset
  const allAnswers = { ...answers, ...(tenant !== undefined && { tenant }) }
  const isAnswered = Object.keys(allAnswers).length > 0 || given.issuer === undefined
  const answered = isAnswered ? readAnswers(preset, allAnswers) : undefined
  const entered = Object.entries(given).filter(([, value]) => value !== undefined)
  const all = {
    displayName: name === 'generic' ? slug : preset.displayName,
    ...(answered && preset.settings?.(answered)),
    ...preset.defaults,
    ...Object.fromEntries(entered),
  }
  const values = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null))
  const settings = splitMetadataUrl(parse(settingsSchema(), values))
  assertFits(name, settings)
  return { slug, preset: name, enabled, settings }
}

/** @throws ManagementError `invalid` */
export function readSlug(slug: string): string {
  return parse(inputSchema.pick({ slug: true }), { slug }).slug
}

/** @throws ManagementError `invalid` for settings that a provider of this preset cannot have */
export function assertFits(preset: string, settings: ProviderSettings): void {
  const issues = [...(presetOf(preset)?.objections?.(settings) ?? [])]
  const object = (path: SettingName, text: AdminText) => issues.push(issueAt(path, text))
  if (preset !== 'entra' && settings.emailDomains.some((entry) => entry.includes('@')))
    object('emailDomains', phrase('only the preset entra has tenants: write the domain alone'))
  if ((settings.organizationClaim === undefined) !== (settings.organizationValues.length === 0))
    object('organizationValues', phrase('give the claim and its accepted values together'))
  if (settings.clientSecret !== undefined && settings.clientSecretReference !== undefined)
    object('clientSecretReference', phrase('give either the client secret or a reference to it'))
  if (issues.length > 0) throw new ManagementError('invalid', issues)
}

function readAnswers(preset: Preset, given: Record<string, string>): Record<string, string> {
  const issues: Issue[] = Object.keys(given)
    .filter((name) => !preset.asks.some((question) => question.name === name))
    .map((name) =>
      issueAt(name, phrase('the preset {{preset}} does not ask for it', { preset: preset.name })),
    )
  const answers: Record<string, string> = {}
  for (const { name, label, hint, required = true, read } of preset.asks) {
    const answer = given[name]?.trim() ?? ''
    if (answer === '') {
      if (required)
        issues.push(
          issueAt(name, phrase('enter the {{answer}}', { answer: listed(hint ? [label, hint] : [label]) })),
        )
      continue
    }
    const outcome = read(answer)
    if ('wrong' in outcome) issues.push(issueAt(name, outcome.wrong))
    else answers[name] = outcome.answer
  }
  if (issues.length > 0) throw new ManagementError('invalid', issues)
  return answers
}

/** The changed settings with their new values; a reset one has its default. @throws ManagementError `invalid` */
export function readChanges(changes: ProviderChanges): Partial<ProviderSettings> {
  const issues: Issue[] = []
  const read: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) continue
    const setting = Object.hasOwn(settingsTable, name) ? settingsTable[name as SettingName] : undefined
    const result = setting?.schema.safeParse(value ?? undefined)
    if (!result) issues.push(issueAt(name, 'is not a setting'))
    else if (result.success) read[name] = result.data
    else if (value === null) issues.push(issueAt(name, phrase('is required')))
    else issues.push(...listIssues(result.error, name))
  }
  if (issues.length > 0) throw invalid(issues)
  return splitMetadataUrl(read)
}

/** An issuer that was entered as the whole URL of its metadata is used unchanged, such as `…/openid-configuration?p=policy`. */
function splitMetadataUrl<Settings extends Partial<ProviderSettings>>(settings: Settings): Settings {
  const { issuer, metadataUrl } = settings
  if (issuer === undefined || !isMetadataUrl(issuer)) return settings
  return { ...settings, issuer: issuerOfMetadata(issuer), metadataUrl: metadataUrl ?? issuer }
}

/** @throws ManagementError `invalid` with an issue for every mistake */
export function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw invalid(listIssues(result.error))
}

function listIssues(error: z.ZodError, name?: string): Issue[] {
  return error.issues.map(({ path, message }) => ({
    path: [...(name === undefined ? [] : [name]), ...path].join('.') || undefined,
    message,
  }))
}

/** Names may come from a file: a line break in one could forge a line in the terminal. */
function invalid(issues: readonly Issue[]): ManagementError {
  const sanitized = issues.map(({ path, message, phrase: parts }) => ({
    path: path && sanitizeText(path, 100),
    message: sanitizeText(message),
    ...(parts && { phrase: sanitizePhrase(parts) }),
  }))
  return new ManagementError('invalid', sanitized)
}
