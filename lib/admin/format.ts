import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { hueOf, monogramOf } from '../sign-in/picker-route.ts'

/** How the pages say things. English only, in UTC: the log and the provider's console are, too. */

const dayFormat = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' })
const momentFormat = new Intl.DateTimeFormat('en-GB', {
  dateStyle: 'medium',
  timeStyle: 'short',
  timeZone: 'UTC',
})

/** @param at ISO 8601 */
export function day(at: string): string {
  return dayFormat.format(new Date(at))
}

/** @param at ISO 8601 */
export function moment(at: string): string {
  return `${momentFormat.format(new Date(at))} UTC`
}

export function count(number: number, one: string, many: string): string {
  return `${number.toLocaleString('en-GB')} ${number === 1 ? one : many}`
}

/** Sentences of ours begin small where they follow a name: here they stand alone. */
export function sentence(text: string): string {
  // A name such as `client_secret_basic` is not a word.
  const begun = text.replace(/^[a-z]+(?=[\s,’'-])/, (word) => word.charAt(0).toUpperCase() + word.slice(1))
  const quoted = begun.replace(/`([^`]*)`/g, '“$1”')
  return /[.!?…]$/.test(quoted) ? quoted : `${quoted}.`
}

const checkNames: Record<string, string> = {
  reached: 'Reachable',
  issuer: 'Issuer',
  flow: 'Sign-in flow',
  signing: 'Signature',
  keys: 'Keys',
  authentication: 'Authentication',
  credentials: 'Credentials',
  pkce: 'PKCE',
  userinfo: 'UserInfo',
  logout: 'Sign-out',
  'back-channel': 'Back-channel logout',
  clock: 'Clock',
}

function checkName(name: string): string {
  return checkNames[name] ?? name.charAt(0).toUpperCase() + name.slice(1)
}

/** The whole of what a view needs. */
export const words = { day, moment, count, sentence, checkName }

/** What stands in front of a provider's name, as on the login page. */
export interface ProviderBadge {
  /** file in `views/assets`; left out: the monogram */
  logo: string | undefined
  monogram: string
  /** of twelve */
  hue: number
}

export function providerBadge(provider: Provider): ProviderBadge {
  const logo = presetOf(provider.preset)?.logo
  return {
    logo: logo && `logos/${logo}.svg`,
    monogram: monogramOf(provider.displayName),
    hue: hueOf(provider),
  }
}
