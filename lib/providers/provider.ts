import * as z from 'zod'
import { type Phrase, phrase } from '../shared/phrase.ts'
import type { StoredSettings } from './settings.ts'

/** A connected OpenID Provider: one row of `sso_providers`. Its secrets are not part of it and never leave the table. */
export interface Provider extends Readonly<StoredSettings> {
  /** UUID of the row. */
  readonly id: string
  /** Name of the portal. */
  readonly portal: string
  /** Name in URLs, unique in the portal: 1 to 40 lower-case letters, digits and dashes. */
  readonly slug: string
  /** Name of the preset, such as `entra` or `generic`. */
  readonly preset: string
  /** Whether the login page shows it and users may sign in with it. */
  readonly enabled: boolean
  /** Whether the login page shows it first, with a badge. */
  readonly recommended: boolean
  /** Place on the login page, in ascending order. */
  readonly position: number
  /** Identifies its own logo: part of the logo's URL. Omitted: it has none. */
  readonly logoHash?: string | undefined
  /** When a test sign-in with these settings passed. ISO 8601. */
  readonly testSignInAt?: string | undefined
  /** Id of the active user as whom it would have signed in. */
  readonly testSignInUserId?: string | undefined
  /**
   * Re-authentication, as the last test sign-in found it. `proven`: the provider asks users to authenticate again, and reports
   * when they did (`auth_time`). `ignored`: it does not ask. `unreported`: it does not report. Omitted: not tested.
   */
  readonly reauthentication?: 'proven' | 'ignored' | 'unreported' | undefined
  /** Disabled from then on. ISO 8601. */
  readonly retireAt?: string | undefined
  /** When the relinking window opened: `relinkUntil` applies to identities that were linked before. ISO 8601. */
  readonly relinkSince?: string | undefined
  /** Result of the last connection test. */
  readonly lastTest?: { readonly at: string; readonly checks: readonly Check[] } | undefined
  /** Present while it fails, as a probe of the portal has confirmed. Omitted: no known fault. */
  readonly health?: ProviderHealth | undefined
  /** Incremented by every change of the row that affects sign-ins. */
  readonly version: number
}

/** A fault of a provider. Failed sign-ins only cause the probe that confirms it, because a browser can make one fail. */
export interface ProviderHealth {
  /** Since when it fails. ISO 8601. */
  readonly since: string
  /** When the portal last probed it. ISO 8601. */
  readonly checkedAt: string
  /** The endpoint that fails: the discovery document, the key set or the token endpoint. */
  readonly endpoint: 'metadata' | 'keys' | 'token'
  /** `unreachable`: no response in time. `server-error`: status 5xx. `unusable`: a document that no sign-in can use. */
  readonly fault: 'unreachable' | 'server-error' | 'unusable'
}

const faults = {
  metadata: {
    unreachable: phrase('the discovery document cannot be reached'),
    'server-error': phrase('the discovery document responds with a server error'),
    unusable: phrase('the discovery document cannot be used for a sign-in'),
  },
  keys: {
    unreachable: phrase('the key set cannot be reached'),
    'server-error': phrase('the key set responds with a server error'),
    unusable: phrase('the key set cannot be used for a sign-in'),
  },
  token: {
    unreachable: phrase('the token endpoint cannot be reached'),
    'server-error': phrase('the token endpoint responds with a server error'),
    unusable: phrase('the token endpoint cannot be used for a sign-in'),
  },
} as const

/** The fault in words, for administrators: `the key set cannot be reached`. */
export function describeHealth({ endpoint, fault }: ProviderHealth): string {
  return faults[endpoint][fault]
}

/** One result of the connection test. */
export interface Check {
  /** Name of the check, such as `reach`. */
  name: string
  /** `failed` prevents saving; a `warning` does not. `absent`: optional and missing, or not testable from this server. */
  result: 'ok' | 'warning' | 'failed' | 'absent'
  /** The result as a sentence. */
  message: string
  /** Advice for the administrator. */
  hint?: string
  /** Of those texts that have values, the text with its values apart, so that pages can translate it. @internal */
  phrases?: { message?: Phrase; hint?: Phrase }
}

/** The text for the language of a page or mail. `pt-BR` also accepts `pt`, and `pt` the first of its regions. */
function inLanguage(texts: Readonly<Record<string, string>>, lang: string): string | undefined {
  const exact = texts[lang] ?? texts[lang.replace(/-.*/, '')]
  if (exact !== undefined) return exact
  return Object.entries(texts).find(([tag]) => tag.startsWith(`${lang}-`))?.[1]
}

/** The provider's name on pages and in mails for users. */
export function providerName(
  { displayName = '', labels = {} }: Partial<Pick<Provider, 'displayName' | 'labels'>>,
  { lang }: { lang: string },
): string {
  return inLanguage(labels, lang) ?? displayName
}

export function providerNote(
  { note, notes }: Pick<Provider, 'note' | 'notes'>,
  { lang }: { lang: string },
): string | undefined {
  return inLanguage(notes, lang) ?? note
}

// Existing or future routes of the plugin beside `/login/:provider`.
const reservedSlugs = [
  'account',
  'admin',
  'assets',
  'break-glass',
  'callback',
  'events',
  'initiate',
  'logout',
  'new',
  'portal-sso',
  'providers',
  'register',
  'sessions',
]

export const slugPattern = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/

export const slugSchema = z
  .string()
  .regex(slugPattern, phrase('write 1 to 40 lower-case letters, digits and dashes, such as `acme`'))
  .refine((slug) => !reservedSlugs.includes(slug), phrase('this is a reserved word; choose another one'))
