import type * as z from 'zod'
import { ProviderTestError } from '../management/save-provider.ts'
import { isTrustAnswer, settingsOfTrust } from '../oidc/vouches.ts'
import { type Preset, type TrustChoice, usualTrust } from '../providers/presets/preset.ts'
import type { Check, Provider } from '../providers/provider.ts'
import {
  isSecret,
  type ProviderSettings,
  type Setting,
  type SettingName,
  settingEntries,
  settingFacts,
  settingNamesWhere,
} from '../providers/settings.ts'
import { ManagementError } from '../shared/errors.ts'
import { type AdminText, asPhrase, phrase, type Translate } from '../shared/phrase.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { MINUTE } from '../shared/time.ts'
import { type AdminRequest, showPage, textOf } from './admin-request.ts'

type Reading = { value: unknown } | { wrong: AdminText }

export interface FormField extends Pick<Setting, 'label' | 'warning' | 'example'> {
  name: string
  hint?: AdminText
  control: NonNullable<Setting['control']>
  required?: boolean | undefined
  /** Shown if a required field is empty. */
  missing?: AdminText
  wide?: boolean | undefined
  /** A label that is a string is not translated. */
  options?: readonly { value: string; label: AdminText }[] | undefined
  read(text: string): Reading
}

export type SettingField = FormField & { name: SettingName; section: NonNullable<Setting['section']> }

/** Entered values by field name, shown again after a mistake. */
export type FormValues = Record<string, string>

const trustNames = settingNamesWhere(({ askedAsTrust }) => askedAsTrust)

/**
 * The controls of a new provider. Where the preset builds the issuer from answers, it is optional and comes last. The question whose
 * addresses are trusted replaces the settings that follow from it.
 */
export function connectFields(preset: Preset): SettingField[] {
  const hint = phrase(
    'Only if it differs from the one that the answers above result in: a national cloud, or your own domain.',
  )
  return fieldsFor(preset)
    .filter(({ name }) => !trustNames.includes(name))
    .map((field) =>
      preset.settings && field.name === 'issuer'
        ? { ...field, required: false, section: 'protocol', hint }
        : field,
    )
}

export const trustChoices = ({ trust = usualTrust }: Preset): readonly TrustChoice[] => trust

/** The list of domains that belongs to some of the answers. */
export function domainsField(preset: Preset): SettingField {
  const isList = ({ name, control }: SettingField) => trustNames.includes(name) && control === 'list'
  return fieldsFor(preset).find(isList) as SettingField
}

/**
 * Reads the answer to "Whose addresses do you trust?". Without an answer, the proposed one counts for a new provider.
 *
 * @param own domains that the provider has proven to own: they need not be listed
 */
export function readTrust(
  { req, say, signIn }: AdminRequest,
  preset: Preset,
  { own = [], saved }: { own?: readonly string[]; saved?: Provider },
) {
  const choices = trustChoices(preset)
  const field = domainsField(preset)
  const { values, read, errors } = readFields(req.body, [field], say)
  const trust = textOf(req.body, 'trust') || (saved ? '' : choices[0]?.value)
  const choice = choices.find(({ value }) => value === trust)
  const listed = (read[field.name] as string[] | undefined) ?? own
  if (!choice || (choice.needsMailer && !signIn.canVerifyEmail))
    errors.trust = say('Choose whose addresses you trust.')
  else if (choice.domains === 'required' && listed.length === 0)
    errors[field.name] ??= say('Enter at least one domain.')
  const settings = choice ? settingsOfTrust(choice, listed, saved) : {}
  return { values: { ...values, trust: String(trust) }, errors, settings }
}

/** The answer that results in the saved settings, if one does; for a new provider the proposed one. */
export function trustValues(preset: Preset, saved?: Provider): FormValues {
  const choices = trustChoices(preset)
  const choice = saved ? choices.find((each) => isTrustAnswer(each, saved)) : choices[0]
  return { trust: choice?.value ?? '', ...toFormValues(saved ?? {}, [domainsField(preset)]) }
}

/**
 * The controls of a connected provider. A secret is never filled in.
 *
 * @param reference where the client secret is read from, if it is not stored
 */
export function editFields(preset: Preset, reference?: string): SettingField[] {
  const hint =
    reference === undefined
      ? phrase('Leave it empty to keep the saved one.')
      : phrase(
          'It is read from {{reference}}. Only code and the command line can change it, the issuer and the certificate authority.',
          { reference },
        )
  return fieldsFor(preset).map((field) =>
    field.control === 'password'
      ? { ...field, hint, required: false }
      : { ...field, wide: field.wide ?? field.name === 'issuer' },
  )
}

function fieldsFor(preset: Preset): SettingField[] {
  return settingEntries()
    .filter(([, { codeOnly, presets }]) => !codeOnly && (!presets || presets.includes(preset.name)))
    .map(([name, setting]) => toField(name, { ...setting, ...preset.fields?.[name] }))
}

function toField(name: SettingName, setting: Setting): SettingField {
  const { label, schema, control = 'text', choices, effects, emptyChoice = phrase('Default') } = setting
  return {
    ...setting,
    section: setting.section ?? 'protocol',
    name,
    control,
    missing: phrase('Fill in “{{field}}”.', { field: asPhrase(label) }),
    wide: setting.wide ?? (['parameters', 'textarea', 'list'].includes(control) || undefined),
    options: choices && [
      { value: '', label: asPhrase(emptyChoice) },
      ...choices.map((value) => ({ value, label: describeChoice(value, effects) })),
    ],
    read(text) {
      if (control === 'parameters') return readParameters(schema, text)
      return readValue(schema, control === 'list' ? text.split(/[\s,;]+/).filter(Boolean) : text)
    },
  }
}

function describeChoice(name: string, effects: Setting['effects']): AdminText {
  const effect = effects?.[name]
  return effect ? phrase('{{name}}: {{value}}', { name, value: asPhrase(effect) }) : name
}

const sectionTitles: Record<Exclude<SettingField['section'], 'basic'>, string> = {
  page: phrase('Login page'),
  protocol: phrase('Protocol'),
  email: phrase('E-mail addresses'),
  network: phrase('Sign-out and network'),
}

/** The saved settings in the groups of the form. Those without a value are only named. */
export function factGroups(provider: Provider, say: Translate) {
  const titles = { basic: phrase('Application'), ...sectionTitles }
  return Object.entries(titles).map(([section, title]) => {
    const facts = settingFacts(provider, section as SettingField['section'], say)
    return {
      title: say(title),
      facts: facts.filter(([, value]) => value !== '–'),
      unset: facts.flatMap(([label, value]) => (value === '–' ? label : [])),
    }
  })
}

/** As the views show them: the basic controls, and titled groups of the others. */
export function sectionsOf(fields: readonly SettingField[]) {
  return {
    basic: fields.filter(({ section }) => section === 'basic'),
    advanced: Object.entries(sectionTitles).map(([section, title]) => ({
      title,
      fields: fields.filter((field) => field.section === section),
    })),
  }
}

export interface ReadFields {
  /** Everything entered except secrets: they never return to a browser. */
  values: FormValues
  read: Record<string, unknown>
  empty: string[]
  errors: Record<string, string>
}

/** Reads all fields, and reports everything that is wrong at once. */
export function readFields(
  form: unknown,
  fields: readonly (Pick<FormField, 'name' | 'read'> & Partial<FormField>)[],
  say: Translate = String,
): ReadFields {
  const { values, read, empty, errors }: ReadFields = { values: {}, read: {}, empty: [], errors: {} }
  for (const { name, control, required, missing, ...field } of fields) {
    const text = textOf(form, name)
    if (control !== 'password') values[name] = text
    if (control === 'checkbox') read[name] = text !== ''
    else if (text === '' && !required) empty.push(name)
    else if (text === '' && missing) errors[name] = say(missing)
    else {
      const reading = field.read(text)
      if ('wrong' in reading) errors[name] = sentence(say(reading.wrong), say)
      else read[name] = reading.value
    }
  }
  return { values, read, empty, errors }
}

export function readValue(schema: z.ZodType, entered: unknown): Reading {
  const { success, data, error } = schema.safeParse(entered)
  if (success) return { value: data }
  const [{ message, path } = { message: phrase('enter something else'), path: [] }] = error.issues
  if (!Array.isArray(entered) || typeof path[0] !== 'number') return { wrong: message }
  const value = String(entered[path[0]])
  return { wrong: phrase('“{{value}}”: {{problem}}', { value, problem: asPhrase(message) }) }
}

function readParameters(schema: z.ZodType, text: string): Reading {
  const parameters = new Map<string, string>()
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue
    const [, name, value] = /^\s*([^=\s]+)\s*=(.*)$/.exec(line) ?? []
    const number = at + 1
    if (name === undefined || value === undefined)
      return { wrong: phrase('line {{number}}: enter name=value', { number }) }
    if (parameters.has(name))
      return { wrong: phrase('line {{number}}: {{name}} is already there', { number, name }) }
    parameters.set(name, value.trim())
  }
  return readValue(schema, Object.fromEntries(parameters))
}

/** Saved settings, as they are entered. */
export function toFormValues(
  settings: Partial<ProviderSettings>,
  fields: readonly SettingField[],
): FormValues {
  const shown = fields.filter(({ control }) => control !== 'password')
  return Object.fromEntries(shown.map(({ name, control }) => [name, toText(settings[name], control)]))
}

function toText(value: unknown, control: FormField['control']): string {
  if (value === undefined || value === null) return ''
  if (control === 'checkbox') return value ? 'on' : ''
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (control === 'date') return String(value).slice(0, 10)
  if (control === 'list') return (value as string[]).join(', ')
  if (control === 'parameters')
    return Object.entries(value)
      .map(([name, each]) => `${name}=${each}`)
      .join('\n')
  return String(value)
}

export interface FilledForm {
  values: FormValues
  errors?: ReadFields['errors']
  /** Problems that concern no field. */
  others?: string[]
  checks?: readonly Check[]
}

/**
 * Adds the reasons why a form could not be saved, each at the field that it concerns.
 *
 * @throws the error itself when it is not about the input
 */
export function withProblems(
  values: FormValues,
  error: unknown,
  fields: readonly Pick<FormField, 'name'>[],
  { say }: Pick<AdminRequest, 'say'>,
): FilledForm {
  if (!(error instanceof ManagementError)) throw error
  if (error instanceof ProviderTestError) return { values, checks: error.checks }
  const errors: ReadFields['errors'] = {}
  const others: string[] = []
  for (const { path, ...issue } of error.issues) {
    const message = say(issue.phrase ?? issue.message)
    const name = path?.replace(/\..*/, '')
    const field =
      fields.find((each) => each.name === name || each.name === `answer.${name}`) ??
      fields.find((each) => each.name === 'trust' && trustNames.includes(name as SettingName))
    if (field) errors[field.name] = sentence(message, say)
    else if (path === undefined) others.push(sentence(message, say))
    else others.push(sentence(say('{{name}}: {{value}}', { name: path, value: message }), say))
  }
  return { values, errors, others }
}

/** Why an act failed, in the administrator's language. */
export function problemText({ say }: AdminRequest, { issues }: ManagementError): string {
  return sentence(issues.map(({ message, phrase }) => say(phrase ?? message)).join('; '), say)
}

const keepSecretsForMs = 15 * MINUTE

/**
 * Binds a kept secret to its form, portal, administrator and session. Attacker: reads a form of another session, from a cache or over a
 * shoulder, and posts its sealed secret with an issuer of their own. Without a session there is none to bind it to.
 */
function secretContext({ options, req }: AdminRequest, name: string): string | undefined {
  const { sessionID } = req as { sessionID?: unknown }
  // A visitor without a session gets a new ID with each request.
  const hasSession = typeof sessionID === 'string' && req.get('cookie')?.includes(sessionID)
  const context = [options.portal, options.actor, req.path, name, sessionID]
  return hasSession ? JSON.stringify(context) : undefined
}

/** Fills in the secrets that a rejected form kept, where the administrator entered no other. */
export function restoreSecrets(page: AdminRequest): void {
  const form = page.req.body as Record<string, unknown> | undefined
  for (const name of secretNames) {
    const isWanted = textOf(form, name) === '' && textOf(form, `remove.${name}`) === ''
    const kept = isWanted ? openKept(page, name) : undefined
    if (form && kept) form[name] = kept.secret
  }
}

/** @returns `undefined` if it has expired, or belongs to another form */
function openKept(page: AdminRequest, name: string): KeptSecret | undefined {
  const [sealed, context] = [textOf(page.req.body, `kept.${name}`), secretContext(page, name)]
  if (context === undefined) return undefined
  const kept = page.seal('form').open(sealed, context) as KeptSecret | undefined
  return kept && kept.until > page.clock.now() ? kept : undefined
}

interface KeptSecret {
  secret: string
  until: number
}

const secretNames = settingEntries().flatMap(([name]) => (isSecret(name) ? name : []))

/** The entered secrets, sealed: a form with a mistake is shown again without them in plain text. */
function keepSecrets(page: AdminRequest): Record<string, string> {
  const kept = secretNames.flatMap((name) => {
    const [secret, context] = [textOf(page.req.body, name), secretContext(page, name)]
    if (secret === '' || secret.length > maxKeptLength || context === undefined) return []
    const earlier = openKept(page, name)
    // Expires with its first form: mistakes never prolong it.
    const until = earlier?.secret === secret ? earlier.until : page.clock.now() + keepSecretsForMs
    return [[name, page.seal('form').close({ secret, until } satisfies KeptSecret, context)]]
  })
  return Object.fromEntries(kept) as Record<string, string>
}

const maxKeptLength = 2000

export async function showForm(
  page: AdminRequest,
  view: string,
  { values, errors = {}, others = [], checks }: FilledForm,
  more: { conflict?: unknown } & Record<string, unknown>,
): Promise<void> {
  const failed = checks?.some(({ result }) => result === 'failed') ?? false
  const isWrong = failed || Object.keys(errors).length + others.length > 0
  const kept = keepSecrets(page)
  const locals = { entries: values, errors, others, checks, failed, kept, ...more }
  await showPage(page, view, locals, more.conflict ? 409 : isWrong ? 422 : 200)
}
