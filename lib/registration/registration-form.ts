import { createRequire } from 'node:module'
import { ConfigurationError } from '../shared/errors.ts'
import type { Locale } from '../web/locale.ts'
import type { LocalizedText } from '../web/locale-texts.ts'

/** A field that the host adds to the registration form. Only `UserDirectory.create` receives its value. */
export interface RegistrationField {
  /** Key of the value in `Registration.fields`: a letter, then letters, digits and `_`, at most 40 characters. */
  name: string
  /** Shown beside the field, 1 to 100 characters; perhaps one for each language. */
  label: LocalizedText
  /** Default `text`. */
  type?: 'text' | 'tel' | 'select' | 'checkbox' | undefined
  /** Whether the user must fill it in. Default false. */
  required?: boolean | undefined
  /**
   * For `text` and `tel`: must match the whole value, of at most 200 characters. A pattern that could backtrack for seconds is
   * refused at start: no two neighbouring repetitions may match the same characters. Default: any text.
   */
  pattern?: RegExp | undefined
  /** For `select`: the choices. */
  options?: { value: string; label: LocalizedText }[] | undefined
}

export interface RegistrationFormOptions {
  fields: readonly RegistrationField[]
  /** URL of the terms that the user has to accept */
  terms?: LocalizedText | undefined
}

/** Kept, so that the user does not have to type it again after an error. */
export interface FormInput {
  name: string
  fields: Record<string, string | boolean>
  terms: boolean
}

/** field name (`name`, `terms`, or a host's prefixed with `field.`) → translated message */
export type FormErrors = Record<string, string>

const maxLength = 200

/** Limits the check of one pattern to about a second. Usual patterns need less than a third of it. */
const maxPatternSteps = 3000

/** Bidirectional controls can make a name look like another one. Persian and Indic names need U+200C and U+200D, which stay. */
const bidiControls = /\p{Bidi_Control}/gu

/** False if a user could enter a text on which the pattern backtracks until the process stalls, or if that cannot be decided. */
export function isSafePattern(pattern: RegExp): boolean {
  const { isSafe } = loadChecker()
  try {
    return isSafe(wholePattern(pattern), { maxSteps: maxPatternSteps }).safe
  } catch {
    return false
  }
}

/** Loaded on use: it costs 40 ms at the start, and few portals have a pattern. Bundlers do not include it. */
function loadChecker(): typeof import('redos-detector') {
  try {
    return createRequire(import.meta.url)('redos-detector')
  } catch (cause) {
    const advice = 'registrationFields: to check a pattern, install `redos-detector` beside your bundle'
    throw new ConfigurationError(advice, { cause })
  }
}

export function readForm(body: unknown, { fields }: RegistrationFormOptions): FormInput {
  const form = (body ?? {}) as Record<string, unknown>
  const text = (value: unknown) => (typeof value === 'string' ? value.replace(bidiControls, '').trim() : '')
  return {
    name: text(form.name),
    fields: Object.fromEntries(
      fields.map(({ name, type }) => {
        const value = form[`field.${name}`]
        return [name, type === 'checkbox' ? value !== undefined : text(value)]
      }),
    ),
    terms: form.terms !== undefined,
  }
}

export function checkForm(
  input: FormInput,
  form: RegistrationFormOptions,
  { localize, t }: Locale,
): FormErrors {
  const { fields, terms } = form
  const errors: FormErrors = {}
  if (input.name === '' || /\p{Cc}/u.test(input.name)) errors.name = t('registration.errors.nameMissing')
  else if (input.name.length > maxLength) errors.name = t('registration.errors.nameTooLong')
  for (const field of fields) {
    const error = errorOf(field, input.fields[field.name])
    if (error)
      errors[`field.${field.name}`] = t(`registration.errors.${error}`, { label: localize(field.label) })
  }
  if (terms !== undefined && !input.terms) errors.terms = t('registration.errors.termsMissing')
  return errors
}

function errorOf(field: RegistrationField, value: string | boolean | undefined): string | undefined {
  if (value === undefined || value === '' || value === false)
    return field.required ? 'fieldMissing' : undefined
  if (typeof value === 'boolean') return undefined
  if (value.length > maxLength) return 'fieldTooLong'
  if (/\p{Cc}/u.test(value)) return 'fieldInvalid'
  if (field.type === 'select')
    return field.options?.some((option) => option.value === value) ? undefined : 'fieldInvalid'
  return field.pattern && !wholePattern(field.pattern).test(value) ? 'fieldInvalid' : undefined
}

function wholePattern({ source, flags }: RegExp): RegExp {
  return new RegExp(`^(?:${source})$`, flags.replace(/[gy]/g, ''))
}
