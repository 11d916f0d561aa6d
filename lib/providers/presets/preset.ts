import type { Issue } from '../../shared/errors.ts'
import type { ProviderSettings, Setting, SettingName } from '../settings.ts'

/** Something that an administrator finds in the provider's console, in place of an issuer. */
export interface PresetQuestion {
  /** as the CLI's flag (`--tenant`), the form's field and `ProviderInput.answers` name it */
  name: string
  /** as the provider's console calls it */
  label: string
  /** where to find it */
  hint?: string
  example?: string
  /** default true */
  required?: boolean
  /** @returns the answer in its normal form, or what to write instead */
  read(answer: string): { answer: string } | { wrong: string }
}

/** A named starting point: what to ask for, how the issuer is made of it, and defaults that the administrator may change. */
export interface Preset {
  name: string
  displayName: string
  /** none: the issuer itself is asked for */
  asks: readonly PresetQuestion[]
  /** @param answers of all required questions, read */
  settings?(answers: Readonly<Record<string, string>>): Partial<ProviderSettings>
  defaults: Partial<ProviderSettings>
  /** Settings that a provider of this preset cannot have. */
  objections?(settings: ProviderSettings): Issue[]
  /** Label, hint and requirement in its form, instead of the general ones. */
  fields?: { [Name in SettingName]?: Partial<Pick<Setting, 'label' | 'hint' | 'required'>> }
  /**
   * Where an administrator consents for a whole organisation; left out: the provider has no such page.
   *
   * @param issuer of the row, of which it is made, so that nobody is sent to another site than the row says
   */
  adminConsent?(issuer: string): string
  /** it knows `prompt=select_account`, though its metadata do not say so; default false */
  choosesAccount?: true
  /**
   * It ends sessions here through the browser (Front-Channel Logout 1.0), and says which one by `sid` alone, against the
   * specification, which asks for `iss` too. Default false.
   */
  frontChannelWithoutIssuer?: true
  /** file in `views/assets/logos`, without `.svg`; left out: a monogram */
  logo?: string
  /** what an administrator should know before the form is filled in; one sentence each */
  hints: readonly string[]
  /** of `docs/providers` */
  guide: string
}

/**
 * Normalizes an unambiguous answer and refuses all others. Attacker: a person who makes an administrator paste a value that
 * sends the client secret elsewhere. Therefore an issuer is built only from text that these patterns accept.
 */
type Read = PresetQuestion['read']

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
// No user, port, path, query or fragment, and no IP address: the last label begins with a letter.
const domain = new RegExp(`^(?:${label}\\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$`)
const address = new RegExp(`^https?://${label}(?:\\.${label})*(?::\\d{1,5})?(?:/[\\w~-][\\w.~-]*)*$`, 'i')
const guid = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/

/** @param refused returns what to enter instead, for a well-formed domain that is not accepted */
export function readDomain(example: string, refused?: (domain: string) => string | undefined): Read {
  return (answer) => {
    const read = bare(answer)
    if (read.length > 253 || !domain.test(read) || !isHost(read))
      return { wrong: `enter only a domain, such as \`${example}\`` }
    const wrong = refused?.(read)
    return wrong === undefined ? { answer: read } : { wrong }
  }
}

/**
 * A server's address, optionally with a port and a path. Plain http is checked later, as for any issuer.
 *
 * @param refused returns what to enter instead, for a well-formed address that is not accepted
 */
export function readAddress(example: string, refused?: (address: URL) => string | undefined): Read {
  return (answer) => {
    const whole = withoutSlashes(answer.includes('://') ? answer.trim() : `https://${answer.trim()}`)
    if (!address.test(whole) || !URL.canParse(whole))
      return { wrong: `enter a URL with nothing after its path, such as \`${example}\`` }
    const url = new URL(whole)
    const wrong = refused?.(url)
    return wrong === undefined ? { answer: withoutSlashes(url.href) } : { wrong }
  }
}

/** One part of an address, to the letter. */
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
    return choices.includes(read) ? { answer: read } : { wrong: `enter one of ${choices.join(', ')}` }
  }
}

/** First label of a vendor's domain; the whole domain is taken, too. */
export function readSubdomain(parent: string): Read {
  const oneLabel = new RegExp(`^${label}$`)
  return (answer) => {
    const read = bare(answer)
    const name = read.endsWith(`.${parent}`) ? read.slice(0, -parent.length - 1) : read
    return oneLabel.test(name) && isHost(`${name}.${parent}`)
      ? { answer: name }
      : { wrong: `enter the part before \`.${parent}\`, such as \`acme\`` }
  }
}

/** A domain as it is copied from a browser's address bar. */
function bare(answer: string): string {
  return withoutSlashes(
    answer
      .trim()
      .toLowerCase()
      .replace(/^https:\/\//, ''),
  )
}

/** As browsers see it: `xn--` before what is no such name is none. */
function isHost(text: string): boolean {
  return URL.canParse(`https://${text}`) && new URL(`https://${text}`).host === text
}

function withoutSlashes(text: string): string {
  return text.replace(/\/+$/, '')
}
