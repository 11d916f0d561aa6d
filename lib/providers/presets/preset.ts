import type { Issue } from '../../shared/errors.ts'
import { type AdminText, phrase } from '../../shared/phrase.ts'
import { percentEncode } from '../setting-values.ts'
import type { ProviderSettings, Setting, SettingName } from '../settings.ts'

/** A value that the administrator finds in the provider's console and enters instead of the issuer. */
export interface PresetQuestion {
  /** name of the CLI flag (`--tenant`), of the form field and in `ProviderInput.answers` */
  name: string
  /** the name in the provider's console */
  label: string
  hint?: string
  example?: string
  /** default true */
  required?: boolean
  /** true if the form asks for it as a part of "Whose addresses do you trust?" */
  askedAsTrust?: true
  /** @returns the normalized answer, or what to enter instead */
  read(answer: string): { answer: string } | { wrong: AdminText }
}

/** One answer to "Whose addresses do you trust?" in the administrators' form. */
export interface TrustChoice {
  value: 'domains' | 'confirmed' | 'anyone' | 'code'
  label: string
  hint: string
  /** whether the administrator lists domains with it; `required`: trust without a list would cover every address */
  domains: 'required' | 'optional' | 'none'
  /** whether it works only where the portal can send codes */
  needsMailer?: true
  /** whether it trusts addresses that the provider does not confirm */
  trustsAll?: true
  /** @param domains as listed. @param saved the authorization parameters until now */
  settings?(
    domains: readonly string[],
    saved: ProviderSettings['authorizationParameters'],
  ): Partial<ProviderSettings>
}

const trustDomains: TrustChoice = {
  value: 'domains',
  label: 'All addresses of our domains',
  hint: 'Choose this only if your own administrators assign every address there.',
  domains: 'required',
  trustsAll: true,
}
const trustConfirmed: TrustChoice = {
  value: 'confirmed',
  label: 'Addresses that the provider confirms',
  hint: 'The provider confirms them in each sign-in (email_verified). People confirm any other address with a code.',
  domains: 'optional',
}

/** The first choice is proposed. */
export const usualTrust: readonly TrustChoice[] = [trustConfirmed, trustDomains]

export const trustByCode: TrustChoice = {
  value: 'code',
  label: 'No address: each person confirms theirs with a code',
  hint: 'We e-mail the code once, at the first sign-in.',
  domains: 'none',
  needsMailer: true,
}

/** For a provider that confirms no address. */
export const unconfirmedTrust: readonly TrustChoice[] = [trustDomains, trustByCode]

/** The URLs of the portal that a provider may need. */
export type PortalUrlName =
  | 'redirectUri'
  | 'adminConsentUri'
  | 'postLogoutRedirectUri'
  | 'backChannelLogoutUri'
  | 'frontChannelLogoutUri'
  | 'jwksUri'

/** Questions for one kind of provider, how to build the issuer from the answers, and defaults that the administrator may change. */
export interface Preset {
  /** also of its guide in `docs/providers` */
  name: string
  displayName: string
  /** empty: the form asks for the issuer */
  asks: readonly PresetQuestion[]
  /** @param answers normalized, to at least all required questions */
  settings?(answers: Readonly<Record<string, string>>): Partial<ProviderSettings>
  defaults?: Partial<ProviderSettings>
  /** Returns an issue for each setting that a provider of this preset cannot have. */
  objections?(settings: ProviderSettings): Issue[]
  /** Replaces labels, hints, requirements and places of settings in the form. */
  fields?: { [Name in SettingName]?: Partial<Pick<Setting, 'label' | 'hint' | 'required' | 'section'>> }
  /** The URLs that the provider's console asks for, in its order, and what it calls them. Omitted: all, under our names. */
  urls?: { readonly [Name in PortalUrlName]?: { label: string; hint?: string } }
  /** Answers to "Whose addresses do you trust?". The first one is proposed. Omitted: `usualTrust`. */
  trust?: readonly TrustChoice[]
  /**
   * Builds the URL of the page where an administrator consents for the whole organisation. Omitted: there is no such page.
   *
   * @param issuer the setting, not metadata: a provider cannot redirect administrators to another site
   */
  adminConsent?(issuer: string): string
  /** Query of the metadata URL. Omitted: none. */
  metadataQuery?(clientId: string): string
  /** supports `prompt=select_account` without announcing it; default false */
  choosesAccount?: true
  /** accepts a logout request without `id_token_hint`, and returns the user; default false */
  signsOutWithoutHint?: true
  /** supports PKCE with S256 without announcing it; default false */
  supportsPkce?: true
  /** Sends `sid` without `iss` in a front-channel logout, although Front-Channel Logout 1.0 requires both. Default false. */
  frontChannelWithoutIssuer?: true
  /** name of a logo in `docs/logos.ts`; omitted: a monogram */
  logo?: string
  /** the vendor's name in "Sign in with …", where its rules require another one than `displayName` */
  buttonName?: string
  /** advice shown above the form */
  hints: readonly string[]
}

/**
 * Normalizes an unambiguous answer and refuses any other. Attacker: an administrator whose answer would make the issuer another
 * site, which then receives the client secret. So the issuer is built only from text that these patterns match.
 */
type Read = PresetQuestion['read']

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
// No user, port, path, query or fragment, and no IP address: the last label begins with a letter.
const domain = new RegExp(`^(?:${label}\\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
const address = new RegExp(`^https?://${label}(?:\\.${label})*(?::\\d{1,5})?(?:/[\\w~-][\\w.~-]*)*$`, 'i')
const guid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/

/** @param refused returns what to enter instead of this domain, or `undefined` to accept it */
export function readDomain(example: string, refused?: (domain: string) => string | undefined): Read {
  return (answer) => {
    const read = bareDomain(answer)
    if (read.length > 253 || !domain.test(read) || !isHost(read))
      return { wrong: phrase('enter only a domain, such as `{{example}}`', { example }) }
    const wrong = refused?.(read)
    return wrong === undefined ? { answer: read } : { wrong }
  }
}

/**
 * Reads the address of a server, with an optional port and path. The rule for plain http applies later, as for any issuer.
 *
 * @param refused returns what to enter instead of this address, or `undefined` to accept it
 */
export function readAddress(example: string, refused?: (address: URL) => string | undefined): Read {
  return (answer) => {
    const whole = withoutSlashes(answer.includes('://') ? answer.trim() : `https://${answer.trim()}`)
    if (!address.test(whole) || !URL.canParse(whole))
      return { wrong: phrase('enter a URL with nothing after its path, such as `{{example}}`', { example }) }
    const url = new URL(whole)
    const wrong = refused?.(url)
    return wrong === undefined ? { answer: withoutSlashes(url.href) } : { wrong }
  }
}

/** A name that stays one segment of a path, whatever it is encoded to. */
const segment = /^[\p{L}\p{N}_][\p{L}\p{N}\p{M} _.~'!()*-]{0,99}$/u

/** Reads a name as its owner writes it, such as `Acme Corp`, or as it is encoded in URLs. */
export function readSegment(sentence: string): Read {
  return (answer) => {
    const entered = answer.trim()
    const name = decodeSegment(entered)
    const encoded = name.replace(/[^!-~]+/g, percentEncode)
    // A name in another encoding may be decoded differently elsewhere.
    return segment.test(name) && [name, encoded].includes(entered) ? { answer: encoded } : { wrong: sentence }
  }
}

function decodeSegment(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export function readName(pattern: RegExp, sentence: string): Read {
  return (answer) => (pattern.test(answer.trim()) ? { answer: answer.trim() } : { wrong: sentence })
}

export function readGuid(sentence: string): Read {
  return (answer) => {
    const read = answer.trim().toLowerCase()
    return guid.test(read) ? { answer: read } : { wrong: sentence }
  }
}

export function readChoice(choices: readonly string[]): Read {
  return (answer) => {
    const read = answer.trim().toLowerCase()
    return choices.includes(read)
      ? { answer: read }
      : { wrong: phrase('enter one of {{choices}}', { choices: choices.join(', ') }) }
  }
}

/** Reads the first label of a vendor's domain; accepts the whole domain, too. */
export function readSubdomain(parent: string): Read {
  const oneLabel = new RegExp(`^${label}$`)
  return (answer) => {
    const read = bareDomain(answer)
    const name = read.endsWith(`.${parent}`) ? read.slice(0, -parent.length - 1) : read
    return oneLabel.test(name) && isHost(`${name}.${parent}`)
      ? { answer: name }
      : { wrong: phrase('enter the part before `.{{domain}}`, such as `acme`', { domain: parent }) }
  }
}

/** Removes the scheme and trailing slashes that come with a domain copied from the address bar. */
function bareDomain(answer: string): string {
  const lower = answer.trim().toLowerCase()
  return withoutSlashes(lower.replace(/^https:\/\//, ''))
}

/** True if URL parsers accept the name unchanged: they refuse an invalid `xn--` label. */
function isHost(text: string): boolean {
  return URL.canParse(`https://${text}`) && new URL(`https://${text}`).host === text
}

function withoutSlashes(text: string): string {
  return text.replace(/\/+$/, '')
}
