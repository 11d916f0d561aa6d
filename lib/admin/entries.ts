import type { z } from 'zod'
import { type ProviderSettings, providerSettingsSchema } from '../providers/provider.ts'
import type { SettingField, SettingName } from './fields.ts'
import { textOf } from './parts.ts'
import { sentence } from './words.ts'

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
const ticks: readonly SettingName[] = ['trustsEmail', 'frontChannelLogout']
const secretNames: readonly SettingName[] = ['clientSecret', 'secondClientSecret']

export function isSecret(name: string): boolean {
  return secretNames.includes(name as SettingName)
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
    if (ticks.includes(name)) settings[name] = text !== ''
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
    if (name === undefined || given === undefined) return { wrong: `Line ${at + 1}: write name=value.` }
    if (value.has(name)) return { wrong: `Line ${at + 1}: ${name} is there already.` }
    value.set(name, given.trim())
  }
  return { value: Object.fromEntries(value) }
}

/** Where the schema has no sentence of its own. */
function whatToWrite({ code }: z.core.$ZodRawIssue): string | undefined {
  switch (code) {
    case 'invalid_format':
      return 'Write a whole address such as https://id.example.com.'
    case 'too_big':
      return 'This is too long.'
    case 'invalid_value':
      return 'Choose one of the list.'
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
    secondClientSecretExpiresAt: settings.secondClientSecretExpiresAt?.slice(0, 10) ?? '',
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
export function toldOf(message: string, names: readonly string[]): { errors: EntryErrors; others: string[] } {
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
