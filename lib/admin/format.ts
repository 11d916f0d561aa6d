import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { hueOf, monogramOf } from '../sign-in/picker-route.ts'

// The admin pages are in English and UTC only, like the log and the providers' consoles.

// Created on use: the first one takes 15 ms of the start.
let dayFormat: Intl.DateTimeFormat | undefined
let dateTimeFormat: Intl.DateTimeFormat | undefined

export function day(at: string): string {
  dayFormat ??= new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' })
  return dayFormat.format(new Date(at))
}

export function dateTime(at: string): string {
  const options = { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' } as const
  dateTimeFormat ??= new Intl.DateTimeFormat('en-GB', options)
  return `${dateTimeFormat.format(new Date(at))} UTC`
}

export function count(number: number, one: string, many: string): string {
  return `${number.toLocaleString('en-GB')} ${number === 1 ? one : many}`
}

/** Pages count no further, unless the administrator asks for it. A user takes several look-ups. */
export const maxCounted = { users: 100, rows: 1000 }

function upTo(number: number, most = maxCounted.rows): string {
  return number < most ? String(number) : `${most.toLocaleString('en-GB')} or more`
}

const checkNames: Record<string, string> = {
  tenant: 'Tenant',
  reached: 'Reachable',
  issuer: 'Issuer',
  flow: 'Sign-in flow',
  signing: 'Signature',
  keys: 'Keys',
  authentication: 'Authentication',
  credentials: 'Credentials',
  authorization: 'Sign-in page',
  par: 'Pushed requests (PAR)',
  dpop: 'DPoP',
  pkce: 'PKCE',
  userinfo: 'UserInfo',
  unsupported: 'Unsupported features',
  logout: 'Sign-out',
  'back-channel': 'Back-channel logout',
  vouching: 'Trusted addresses',
  clock: 'Clock',
}

function checkName(name: string): string {
  return checkNames[name] ?? name.charAt(0).toUpperCase() + name.slice(1)
}

export const viewHelpers = { day, moment: dateTime, count, maxCounted, upTo, sentence, checkName }

/** The mark before a provider's name, the same as on the login page. */
export function providerBadge(provider: Provider) {
  const { logoHash, preset } = provider
  const ownLogo = logoHash && `providers/${logoHash}`
  const monogram = monogramOf(provider.displayName)
  return { logo: presetOf(preset)?.logo, ownLogo, monogram, hue: hueOf(provider) }
}
