import type { Preset } from '../providers/presets/preset.ts'
import type { Check } from '../providers/provider.ts'
import {
  type ProviderChanges,
  type ProviderSettings,
  type Setting,
  type SettingName,
  settingEntries,
  settings as settingsTable,
} from '../providers/settings.ts'
import { type Issue, ManagementError } from '../shared/errors.ts'
import { textOf } from './context.ts'
import { sentence } from './format.ts'

/** One control of a form. */
export interface FormField {
  name: string
  label: string
  control: NonNullable<Setting['control']>
  hint?: string | undefined
  warning?: string | undefined
  example?: string | undefined
  required?: boolean | undefined
  /** Takes the whole width. */
  wide?: boolean | undefined
  options?: readonly { value: string; label: string }[] | undefined
}

/** A control of the table of settings. */
export type SettingField = FormField & { name: SettingName; section: Setting['section'] }

/** Entered values by field name, shown again after a mistake. */
export type FormValues = Record<string, string>

/** Field name → what to enter instead. */
export type FieldErrors = Record<string, string>

/** The controls of a new provider. Where the preset builds the issuer from answers, it is optional and comes last. */
export function connectFields(preset: Preset): SettingField[] {
  const fields = fieldsFor(preset)
  if (!preset.settings) return fields
  return fields.map((field) =>
    field.name === 'issuer'
      ? {
          ...field,
          required: undefined,
          section: 'protocol',
          hint: 'Only if it differs from the one that the answers above result in: a national cloud, or your own domain.',
        }
      : field,
  )
}

/**
 * The controls of a connected provider. A secret is never filled in.
 *
 * @param reference where the client secret is read from, if it is not stored
 */
export function editFields(preset: Preset, reference?: string): SettingField[] {
  const hint =
    reference === undefined
      ? 'Leave it empty to keep the saved one.'
      : `It is read from ${reference}. Only code and the command line can change it, the issuer and the certificate authority.`
  return fieldsFor(preset).map((field) =>
    field.control === 'password'
      ? { ...field, hint }
      : { ...field, wide: field.wide ?? field.name === 'issuer' },
  )
}

function fieldsFor(preset: Preset): SettingField[] {
  return settingEntries()
    .filter(([, { codeOnly, presets }]) => !codeOnly && (!presets || presets.includes(preset.name)))
    .map(([name, setting]) => ({ ...toField(name, setting), ...preset.fields?.[name] }))
}

function toField(name: SettingName, setting: Setting): SettingField {
  const { label, hint, warning, example, required, section, control = 'text' } = setting
  return {
    name,
    label,
    control,
    hint,
    warning,
    example,
    required,
    section,
    wide: ['parameters', 'textarea', 'list'].includes(control) || undefined,
    options: setting.choices && [
      { value: '', label: setting.emptyChoice ?? 'Default' },
      ...setting.choices.map((value) => ({ value, label: value })),
    ],
  }
}

const sectionTitles: Record<Exclude<Setting['section'], 'basic'>, string> = {
  protocol: 'Protocol',
  email: 'E-mail addresses',
  network: 'Sign-out and network',
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

const isSecretField = ({ control }: Partial<FormField>) => control === 'password'

/** Everything entered except secrets: they never return to a browser. */
export function enteredValues(
  form: unknown,
  fields: readonly (Pick<FormField, 'name'> & Partial<FormField>)[],
): FormValues {
  return Object.fromEntries(
    fields.filter((field) => !isSecretField(field)).map(({ name }) => [name, textOf(form, name)]),
  )
}

export interface ReadForm {
  /** The settings that were entered. */
  settings: Partial<ProviderSettings>
  /** Those that were left empty. */
  empty: SettingField[]
  errors: FieldErrors
}

/** Reports everything that is wrong at once. */
export function readSettingsForm(form: unknown, fields: readonly SettingField[]): ReadForm {
  const settings: Record<string, unknown> = {}
  const empty: SettingField[] = []
  const errors: FieldErrors = {}
  for (const field of fields) {
    const { name, label, control, required } = field
    const text = textOf(form, name)
    if (control === 'checkbox') settings[name] = text !== ''
    else if (text === '' && required)
      errors[name] = `Enter the ${label.toLowerCase().replace(/\bid\b/, 'ID')}.`
    else if (text === '') empty.push(field)
    else {
      const read = readField(field, text)
      if (typeof read === 'string') errors[name] = read
      else settings[name] = read.value
    }
  }
  return { settings, empty, errors }
}

/** @returns the value, or a sentence that explains the mistake */
function readField({ name, control }: SettingField, text: string): { value: unknown } | string {
  const entered = control === 'parameters' ? readParameters(text) : control === 'list' ? readList(text) : text
  if (entered instanceof ManagementError) return sentence(entered.message)
  const result = settingsTable[name].schema.safeParse(entered)
  if (result.success) return { value: result.data }
  const [issue] = result.error.issues
  const [item] = issue?.path ?? []
  const which = Array.isArray(entered) && typeof item === 'number' ? `“${entered[item]}”: ` : ''
  return sentence(which + (issue?.message ?? 'enter something else'))
}

function readList(text: string): string[] {
  return text.split(/[\s,;]+/).filter(Boolean)
}

function readParameters(text: string): Record<string, string> | ManagementError {
  const parameters = new Map<string, string>()
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue
    const [, name, value] = /^\s*([^=\s]+)\s*=(.*)$/.exec(line) ?? []
    if (name === undefined || value === undefined)
      return new ManagementError('invalid', `line ${at + 1}: enter name=value`)
    if (parameters.has(name))
      return new ManagementError('invalid', `line ${at + 1}: ${name} is already there`)
    parameters.set(name, value.trim())
  }
  return Object.fromEntries(parameters)
}

/** Saved settings, as they are entered. */
export function toFormValues(
  settings: Partial<ProviderSettings>,
  fields: readonly SettingField[],
): FormValues {
  return Object.fromEntries(
    fields
      .filter((field) => !isSecretField(field))
      .map(({ name, control }) => [name, toText(settings[name], control)]),
  )
}

function toText(value: unknown, control: FormField['control']): string {
  if (value === undefined || value === null) return ''
  if (control === 'checkbox') return value ? 'on' : ''
  if (control === 'date') return String(value).slice(0, 10)
  if (control === 'list') return (value as string[]).join(', ')
  if (control === 'parameters')
    return Object.entries(value)
      .map(([name, each]) => `${name}=${each}`)
      .join('\n')
  return String(value)
}

/** An emptied setting is reset; a secret only where its box was selected. */
export function resetSettings(form: unknown, empty: readonly SettingField[]): ProviderChanges {
  const reset = empty.filter((field) => !isSecretField(field) || textOf(form, `remove.${field.name}`) !== '')
  return Object.fromEntries(reset.map(({ name }) => [name, null]))
}

/** Problems by the field that they concern; `others` concern no field of the form. */
export function errorsByField(
  issues: readonly Issue[],
  names: readonly string[],
): { errors: FieldErrors; others: string[] } {
  const errors: FieldErrors = {}
  const others: string[] = []
  for (const { path, message } of issues) {
    const name = path?.replace(/\..*/, '')
    const field = names.find((each) => each === name || each === `answer.${name}`)
    if (field === undefined) others.push(sentence(path === undefined ? message : `${path}: ${message}`))
    else errors[field] = sentence(message)
  }
  return { errors, others }
}

/** A form as it was filled in, and what is wrong with it. */
export interface FilledForm {
  values: FormValues
  errors?: FieldErrors
  /** Problems that concern no field. */
  others?: string[]
  checks?: readonly Check[] | undefined
}

/** Locals of the view, and its status. */
export function formView({ values, errors = {}, others = [], checks }: FilledForm) {
  const failed = checks?.some(({ result }) => result === 'failed') ?? false
  const invalid = Object.keys(errors).length + others.length > 0
  return {
    locals: { entries: values, errors, others, checks, failed },
    status: invalid || failed ? 422 : 200,
  }
}

/**
 * The form again, with the reasons why it could not be saved.
 *
 * @throws the error itself when it is not about the input
 */
export function formWithErrors(
  values: FormValues,
  error: unknown,
  fields: readonly { name: string }[],
): FilledForm {
  if (!(error instanceof ManagementError)) throw error
  const { checks } = error as { checks?: readonly Check[] }
  if (checks) return { values, checks }
  const names = fields.map(({ name }) => name)
  return { values, ...errorsByField(error.issues, names) }
}
