import type { z } from 'zod'
import { ProviderTestError } from '../management/test-provider.ts'
import {
  type Check,
  clientAuthentications,
  type ProviderSettings,
  prompts,
  providerSettingsSchema,
  signingAlgorithms,
} from '../providers/provider.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { textOf } from './context.ts'
import { sentence } from './format.ts'

export type SettingName = keyof ProviderSettings

/** One entry of the form. */
export interface Field {
  name: string
  label: string
  /** default `text` */
  type?: 'text' | 'password' | 'date' | 'select' | 'lines' | 'checkbox'
  hint?: string | undefined
  /** what whoever ticks it should have read */
  warning?: string
  example?: string | undefined
  required?: boolean
  /** takes a line of its own */
  wide?: boolean
  options?: readonly { value: string; label: string }[]
}

export type SettingField = Field & { name: SettingName }

const option = (value: string, label = value) => ({ value, label })
const unlessSaid = (label: string, values: readonly string[]) => [
  option('', label),
  ...values.map((value) => option(value)),
]

const displayName: SettingField = {
  name: 'displayName',
  label: 'Display name',
  hint: 'Shown on the login page.',
  example: 'Acme',
  required: true,
}
const issuer: SettingField = {
  name: 'issuer',
  label: 'Issuer',
  hint: 'The address before /.well-known/openid-configuration.',
  example: 'https://id.example.com',
  required: true,
}
const otherIssuer: SettingField = {
  name: 'issuer',
  label: 'Issuer',
  hint: 'Only if it differs from the one built from your answers above, such as for a national cloud or a custom domain.',
  example: 'https://id.example.com',
}
const clientId: SettingField = {
  name: 'clientId',
  label: 'Client ID',
  hint: 'Some consoles call it application ID.',
  required: true,
}
const clientSecret: SettingField = {
  name: 'clientSecret',
  label: 'Client secret',
  type: 'password',
  hint: 'The secret’s value, not its ID. Leave it empty only if the authentication method (Advanced) is none or private_key_jwt.',
}
const clientSecretExpiresAt: SettingField = {
  name: 'clientSecretExpiresAt',
  label: 'Client secret expires on',
  type: 'date',
  hint: 'The date in the provider’s console. You are warned 60, 30, 7 and 1 days before.',
}

const protocol: SettingField[] = [
  {
    name: 'clientAuthentication',
    label: 'Authentication method',
    type: 'select',
    options: unlessSaid('Chosen automatically', clientAuthentications),
  },
  {
    name: 'signingAlgorithm',
    label: 'ID token signing algorithm',
    type: 'select',
    options: unlessSaid('Chosen automatically', signingAlgorithms),
  },
  {
    name: 'responseMode',
    label: 'Response mode',
    type: 'select',
    options: [option('', 'query'), option('form_post')],
  },
  {
    name: 'prompt',
    label: 'Prompt',
    type: 'select',
    options: [option('', 'None (default)'), ...prompts.map((prompt) => option(prompt))],
  },
  {
    name: 'authorizationParameters',
    label: 'Extra authorization parameters',
    type: 'lines',
    hint: 'One name=value pair per line.',
    example: 'domain_hint=example.com',
  },
]
const urls: SettingField[] = [
  { name: 'emailClaim', label: 'E-mail claim', hint: 'Default: email.', example: 'email' },
  {
    name: 'emailDomains',
    label: 'E-mail domains',
    hint: 'Trust addresses of these domains only. Leave empty to allow any domain.',
    example: 'example.com, example.org',
  },
  {
    name: 'trustsEmail',
    label: 'Every address from this provider belongs to the person',
    type: 'checkbox',
    warning:
      'Anyone who can set an e-mail address at this provider can then sign in as its owner here. Tick this only if your own administrators assign the addresses there.',
  },
]
const tenants: SettingField = {
  name: 'tenants',
  label: 'Tenants',
  hint: 'Directory (tenant) IDs that may sign in, if the issuer serves many tenants.',
}
const leaving: SettingField = {
  name: 'logout',
  label: 'Sign-out ends',
  type: 'select',
  options: [
    option('', 'the portal session, then the provider session'),
    option('portal', 'the portal session only'),
    option('ask', 'the portal session, and the provider session if the user chooses so'),
  ],
}
const frontChannel: SettingField = {
  name: 'frontChannelLogout',
  label: 'The provider’s pages may end sessions here',
  type: 'checkbox',
  hint: 'Front-channel logout, for a provider without back-channel logout. Its ID tokens must contain sid.',
}
const network: SettingField[] = [
  {
    name: 'proxy',
    label: 'Proxy',
    hint: 'Only if the provider is reached through a proxy.',
    example: 'http://proxy.example.com:3128',
  },
  {
    name: 'certificateAuthority',
    label: 'Certificate authority',
    type: 'lines',
    hint: 'PEM certificates that verify the provider’s TLS, instead of the system’s.',
    example: '-----BEGIN CERTIFICATE-----',
  },
]

export interface FieldGroup {
  title: string
  fields: SettingField[]
}

function advanced(preset: string, ofProtocol = protocol): FieldGroup[] {
  return [
    { title: 'Protocol', fields: ofProtocol },
    { title: 'E-mail addresses', fields: preset === 'entra' ? [...urls, tenants] : urls },
    { title: 'Sign-out and network', fields: [leaving, frontChannel, ...network] },
  ]
}

export interface FormFields {
  basic: SettingField[]
  advanced: FieldGroup[]
}

/** @param makesIssuer whether the preset makes it of its answers */
export function connectFields(preset: string, makesIssuer: boolean): FormFields {
  return {
    basic: [displayName, ...(makesIssuer ? [] : [issuer]), clientId, clientSecret, clientSecretExpiresAt],
    advanced: advanced(preset, makesIssuer ? [otherIssuer, ...protocol] : protocol),
  }
}

const keeps = 'Leave empty to keep the saved value.'

export function editFields(preset: string): FormFields {
  return {
    basic: [
      displayName,
      clientId,
      { ...issuer, wide: true },
      { ...clientSecret, hint: keeps },
      clientSecretExpiresAt,
    ],
    advanced: advanced(preset),
  }
}

export function allOf({ basic, advanced: groups }: FormFields): SettingField[] {
  return [...basic, ...groups.flatMap(({ fields }) => fields)]
}

/** What was entered, by the name of its field, kept so that a mistake costs nothing. */
export type Entries = Record<string, string>
/** field → what to write instead */
export type EntryErrors = Record<string, string>

export interface ReadSettings {
  /** of those that were entered */
  settings: Partial<ProviderSettings>
  /** those that were left empty */
  empty: SettingName[]
  errors: EntryErrors
}

/** ticked, or not: never left empty */
const checkboxes: readonly SettingName[] = ['trustsEmail', 'frontChannelLogout']

export function isSecret(name: string): boolean {
  return name === 'clientSecret'
}

/** All entries but secrets: those never go back to a browser. */
export function entriesOf(form: unknown, fields: readonly { name: string }[]): Entries {
  return Object.fromEntries(
    fields.filter(({ name }) => !isSecret(name)).map(({ name }) => [name, textOf(form, name)]),
  )
}

/** All that is wrong at once, not the first of it only. */
export function readSettings(form: unknown, fields: readonly SettingField[]): ReadSettings {
  const settings: Record<string, unknown> = {}
  const empty: SettingName[] = []
  const errors: EntryErrors = {}
  for (const { name, label, required } of fields) {
    const text = textOf(form, name)
    if (checkboxes.includes(name)) settings[name] = text !== ''
    else if (text === '' && required)
      errors[name] = `Enter the ${label.toLowerCase().replace(/\bid\b/, 'ID')}.`
    else if (text === '') empty.push(name)
    else {
      const read = readSetting(name, text)
      if ('wrong' in read) errors[name] = read.wrong
      else settings[name] = read.value
    }
  }
  return { settings: settings as Partial<ProviderSettings>, empty, errors }
}

function readSetting(name: SettingName, text: string): { value: unknown } | { wrong: string } {
  const typed = name === 'authorizationParameters' ? parametersOf(text) : { value: typedValue(name, text) }
  if ('wrong' in typed) return typed
  const result = providerSettingsSchema.shape[name].safeParse(typed.value, { error: whatToWrite })
  if (result.success) return { value: result.data }
  const [issue] = result.error.issues as [z.core.$ZodIssue]
  const [item] = issue.path
  const which = Array.isArray(typed.value) && typeof item === 'number' ? `“${typed.value[item]}”: ` : ''
  return { wrong: sentence(which + issue.message) }
}

function typedValue(name: SettingName, text: string): unknown {
  return name === 'emailDomains' || name === 'tenants' ? text.split(/[\s,;]+/).filter(Boolean) : text
}

function parametersOf(text: string): { value: Record<string, string> } | { wrong: string } {
  const value = new Map<string, string>()
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue
    const [, name, given] = /^\s*([^=\s]+)\s*=(.*)$/.exec(line) ?? []
    if (name === undefined || given === undefined) return { wrong: `Line ${at + 1}: enter name=value.` }
    if (value.has(name)) return { wrong: `Line ${at + 1}: ${name} is already there.` }
    value.set(name, given.trim())
  }
  return { value: Object.fromEntries(value) }
}

/** Where the schema has no sentence of its own. */
function whatToWrite({ code }: z.core.$ZodRawIssue): string | undefined {
  switch (code) {
    case 'invalid_format':
      return 'Enter a full URL such as https://id.example.com.'
    case 'too_big':
      return 'This is too long.'
    case 'invalid_value':
      return 'Choose a value from the list.'
    case 'invalid_key':
      return 'A name has up to 64 letters, digits, dots, dashes and underscores.'
    default:
      return undefined
  }
}

/** What is saved, as it is entered. */
export function entriesFrom(settings: Partial<ProviderSettings>): Entries {
  const { authorizationParameters = {}, emailDomains = [], tenants = [], trustsEmail } = settings
  return {
    displayName: settings.displayName ?? '',
    issuer: settings.issuer ?? '',
    clientId: settings.clientId ?? '',
    clientSecretExpiresAt: settings.clientSecretExpiresAt?.slice(0, 10) ?? '',
    clientAuthentication: settings.clientAuthentication ?? '',
    signingAlgorithm: settings.signingAlgorithm ?? '',
    responseMode: settings.responseMode === 'form_post' ? 'form_post' : '',
    prompt: settings.prompt ?? '',
    authorizationParameters: Object.entries(authorizationParameters)
      .map(([name, value]) => `${name}=${value}`)
      .join('\n'),
    emailClaim: settings.emailClaim ?? '',
    emailDomains: emailDomains.join(', '),
    tenants: tenants.join(', '),
    trustsEmail: trustsEmail ? 'on' : '',
    logout: settings.logout === undefined || settings.logout === 'provider' ? '' : settings.logout,
    frontChannelLogout: settings.frontChannelLogout ? 'on' : '',
    proxy: settings.proxy ?? '',
    certificateAuthority: settings.certificateAuthority ?? '',
  }
}

/**
 * What an act said, by the field that it is about: `slug: is taken; issuer: …`.
 *
 * @returns `others`: sentences that are about no field of the form
 */
export function errorsByField(
  message: string,
  names: readonly string[],
): { errors: EntryErrors; others: string[] } {
  const errors: EntryErrors = {}
  const others: string[] = []
  for (const part of message.split(/; (?=[a-zA-Z]+(?:\.\w+)?: )/)) {
    const [, name = '', rest = ''] = /^([a-zA-Z]+)(?:\.\w+)?: ([\s\S]+)$/.exec(part) ?? []
    const field = names.find((each) => each === name || each === `answer.${name}`)
    if (field === undefined) others.push(sentence(part))
    else errors[field] = sentence(rest)
  }
  return { errors, others }
}

/** A form as somebody filled it in, and what is wrong with it. */
export interface FilledForm {
  entries: Entries
  errors?: EntryErrors
  /** what is wrong, and about no field */
  others?: string[]
  checks?: readonly Check[] | undefined
}

/** What a view shows of it; its status. */
export function formView({ entries, errors = {}, others = [], checks }: FilledForm) {
  const failed = checks?.some(({ result }) => result === 'failed') ?? false
  const wrong = Object.keys(errors).length + others.length > 0
  return { locals: { entries, errors, others, checks, failed }, status: wrong || failed ? 422 : 200 }
}

/**
 * The form once more, with why it could not be saved.
 *
 * @param fields by name
 * @throws the error itself, when it is not about what was entered
 */
export function formWithErrors(
  entries: Entries,
  error: unknown,
  fields: readonly { name: string }[],
): FilledForm {
  if (!(error instanceof ConfigurationError)) throw error
  if (error instanceof ProviderTestError) return { entries, checks: error.checks }
  const names = fields.map(({ name }) => name)
  return { entries, ...errorsByField(error.message, names) }
}
