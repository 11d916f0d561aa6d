import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { phrase } from '../shared/phrase.ts'
import { sentence } from '../shared/sanitize-text.ts'
import { hueOf, monogramOf } from '../sign-in/picker-route.ts'
import { dateFormat, type Locale, numberFormat } from '../web/locale.ts'

/** Created on use, by language and style: each takes 15 ms. */
const dateFormats = new Map<string, Intl.DateTimeFormat>()

function dateFormatFor(lang: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${lang} ${options.dateStyle}`
  const format = dateFormats.get(key) ?? dateFormat(lang === 'en' ? 'en-GB' : lang, options)
  dateFormats.set(key, format)
  return format
}

/** Days and times are in UTC, like the log and the providers' consoles. */
export function day({ lang }: Pick<Locale, 'lang'>, at: string): string {
  return dateFormatFor(lang, { dateStyle: 'long', timeZone: 'UTC' }).format(new Date(at))
}

export function dateTime({ lang }: Pick<Locale, 'lang'>, at: string): string {
  const options = { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' } as const
  return `${dateFormatFor(lang, options).format(new Date(at))} UTC`
}

/** For the command line. */
export function count(number: number, one: string, many: string): string {
  return `${number.toLocaleString('en-GB')} ${number === 1 ? one : many}`
}

/** Pages count no further, unless the administrator asks for it. A user takes several look-ups. */
export const maxCounted = { users: 100, rows: 1000 }

const checkNames: Record<string, string> = {
  tenant: phrase('Tenant'),
  reached: phrase('Reachable'),
  issuer: phrase('Issuer'),
  flow: phrase('Sign-in flow'),
  signing: phrase('Signature'),
  keys: phrase('Keys'),
  authentication: phrase('Authentication'),
  credentials: phrase('Credentials'),
  authorization: phrase('Sign-in page'),
  par: phrase('Pushed requests (PAR)'),
  dpop: phrase('DPoP'),
  pkce: phrase('PKCE'),
  userinfo: phrase('UserInfo'),
  unsupported: phrase('Unsupported features'),
  logout: phrase('Sign-out'),
  'back-channel': phrase('Back-channel logout'),
  vouching: phrase('Trusted addresses'),
  clock: phrase('Clock'),
}

function checkName(name: string): string {
  return checkNames[name] ?? name.charAt(0).toUpperCase() + name.slice(1)
}

/** Functions of the administrators' templates, in the reader's language. */
export function viewHelpers(locale: Locale) {
  const { lang, say } = locale
  const number = (value: number) => numberFormat(lang).format(value)
  return {
    day: (at: string) => day(locale, at),
    moment: (at: string) => dateTime(locale, at),
    maxCounted,
    number,
    upTo: (counted: number, most = maxCounted.rows) =>
      counted < most ? number(counted) : say('{{number}} or more', { number: most }),
    sentence: (text: string) => sentence(text, say),
    checkName: (name: string) => say(checkName(name)),
  }
}

/** The mark before a provider's name, the same as on the login page. */
export function providerBadge(provider: Provider) {
  const { logoHash, preset } = provider
  const ownLogo = logoHash && `providers/${logoHash}`
  const monogram = monogramOf(provider.displayName)
  return { logo: presetOf(preset)?.logo, ownLogo, monogram, hue: hueOf(provider) }
}
