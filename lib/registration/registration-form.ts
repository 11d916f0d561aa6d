import type { Locale } from '../web/locale.ts'

/** A field that the host adds to the registration form. Its value goes to `UserDirectory.create` and nowhere else. */
export interface RegistrationField {
  /** key in `registration.fields` */
  name: string
  label: string
  /** default `text` */
  type?: 'text' | 'tel' | 'select' | 'checkbox' | undefined
  /** default false */
  required?: boolean | undefined
  /** the whole value must match; for `text` and `tel` */
  pattern?: RegExp | undefined
  /** for `select` */
  options?: { value: string; label: string }[] | undefined
}

export interface RegistrationFormOptions {
  fields: readonly RegistrationField[]
  /** URL of the terms that the user has to accept */
  terms?: string | undefined
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

export function readForm(body: unknown, { fields }: RegistrationFormOptions): FormInput {
  const form = (body ?? {}) as Record<string, unknown>
  const text = (value: unknown) => (typeof value === 'string' ? value.trim() : '')
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
  { fields, terms }: RegistrationFormOptions,
  t: Locale['t'],
): FormErrors {
  const errors: FormErrors = {}
  if (input.name === '' || /\p{Cc}/u.test(input.name)) errors.name = t('registration.errors.nameMissing')
  else if (input.name.length > maxLength) errors.name = t('registration.errors.nameTooLong')
  for (const field of fields) {
    const error = errorOf(field, input.fields[field.name])
    if (error) errors[`field.${field.name}`] = t(`registration.errors.${error}`, { label: field.label })
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
  return field.pattern && !matchesWhole(field.pattern, value) ? 'fieldInvalid' : undefined
}

function matchesWhole(pattern: RegExp, value: string): boolean {
  return new RegExp(`^(?:${pattern.source})$`, pattern.flags.replace(/[gy]/g, '')).test(value)
}
