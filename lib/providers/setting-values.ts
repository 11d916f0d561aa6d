import { X509Certificate } from 'node:crypto'
import * as z from 'zod'
import { phrase } from '../shared/phrase.ts'
import { DAY } from '../shared/time.ts'

export const clientAuthentications = [
  'client_secret_basic',
  'client_secret_post',
  'client_secret_jwt',
  'private_key_jwt',
  'none',
] as const
/** How the portal authenticates to a provider's token endpoint (OpenID Connect Core 9). */
export type ClientAuthentication = (typeof clientAuthentications)[number]

// Asymmetric only: with an HMAC, anyone who learns the client secret could sign tokens.
export const signingAlgorithms = [
  'RS256',
  'PS256',
  'ES256',
  'EdDSA',
  'RS384',
  'RS512',
  'PS384',
  'PS512',
  'ES384',
  'ES512',
  'Ed25519',
] as const
/** Algorithm of ID tokens (RFC 7518, 3.1; RFC 8037). All are asymmetric. */
export type SigningAlgorithm = (typeof signingAlgorithms)[number]

/**
 * Returns the algorithms that may sign a provider's tokens: the pinned one, or ours among the announced ones. Discovery 1.0, 3:
 * every provider supports RS256, so that is assumed if it announces none.
 */
export function acceptedAlgorithms(
  pinned: SigningAlgorithm | undefined,
  announced: unknown,
): readonly SigningAlgorithm[] {
  if (pinned !== undefined) return [pinned]
  return Array.isArray(announced) ? signingAlgorithms.filter((each) => announced.includes(each)) : ['RS256']
}

export const prompts = ['login', 'select_account', 'consent'] as const
export type Prompt = (typeof prompts)[number]

/** Sign-out ends the portal session, then the provider's; or the portal's only; or the user chooses. */
export const logoutReaches = ['provider', 'portal', 'ask'] as const

export const secretEncodings = ['form', 'raw'] as const
/** How `client_secret_basic` sends id and secret: form-encoded (RFC 6749, 2.3.1), or as they are. */
export type SecretEncoding = (typeof secretEncodings)[number]

export const assertionAudiences = ['issuer', 'token_endpoint'] as const
/** The `aud` of a client assertion (RFC 7523, 3). Providers accept one or the other. */
export type AssertionAudience = (typeof assertionAudiences)[number]

/**
 * Parameters that the plugin sets itself, and parameters with a promise that nothing would enforce: `claims` and
 * `id_token_hint`. `max_age` and `acr_values` are the settings `maxAge` and `acr`, which the ID token must satisfy.
 */
export const reservedParameters = [
  'acr_values',
  'claims',
  'client_id',
  'client_secret',
  'code_challenge',
  'code_challenge_method',
  'id_token_hint',
  'max_age',
  'nonce',
  'redirect_uri',
  'request',
  'request_uri',
  'response_mode',
  'response_type',
  'scope',
  'state',
]

export const printable = z.string().regex(/^\P{Cc}*$/u, phrase('must not contain control characters'))

/**
 * Text on the pages of users. Attacker: an administrator who reverses part of a name, or hides it, with characters for direction,
 * zero width or tags. The joiners and marks that Arabic, Persian and Indic scripts need are accepted.
 */
export const pageText = (maxLength: number) =>
  printable
    .trim()
    .max(maxLength, phrase('is too long'))
    .regex(/(?![\p{DI}\u2800])[\p{L}\p{N}\p{P}\p{S}]/u, phrase('must contain a visible character'))
    .refine(
      (text) => !/[\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/u.test(text),
      {
        error: phrase(
          'must not contain invisible characters, or characters that change the direction of text',
        ),
      },
    )

const maxLanguages = 40

/** Texts by language tag (BCP 47), in its canonical form: `de`, `pt-BR`. */
export const textByLanguage = (text: z.ZodType<string>) =>
  z
    .record(z.string(), text)
    .refine((texts) => Object.keys(texts).length <= maxLanguages, phrase('has at most 40 languages'))
    .refine((texts) => Object.keys(texts).every(canonicalLanguage), {
      error: phrase('write a language tag before each text, such as `de` or `pt-BR`'),
    })
    .transform(
      (texts): Record<string, string> =>
        Object.fromEntries(Object.entries(texts).map(([tag, each]) => [canonicalLanguage(tag) ?? tag, each])),
    )

/** @returns `undefined` for text that is no language tag, for which `Intl` may throw */
function canonicalLanguage(tag: string): string | undefined {
  if (!/^[a-z]{2,3}(?:-[a-z\d]{2,8}){0,3}$/i.test(tag)) return undefined
  try {
    return Intl.getCanonicalLocales(tag)[0]
  } catch {
    return undefined
  }
}

/** A domain, or one that is bound to a tenant of Entra: `contoso.com@<tenant id>`. */
export const emailDomain = z
  .string()
  .trim()
  .toLowerCase()
  .regex(
    /^[a-z0-9-]+(\.[a-z0-9-]+)+(@[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$/,
    phrase('write a domain such as `example.com` (internationalised ones as `xn--…`)'),
  )

export function splitEmailDomain(entry: string): { domain: string; tenant: string | undefined } {
  const [domain = '', tenant] = entry.split('@')
  return { domain, tenant }
}

export const maxAgeLimitSeconds = 366 * 24 * 3600

/** Forms and the command line send text. Half a minute at least: users may take that long after `auth_time`. */
export const maxAgeSeconds = z
  .union([z.number(), z.string().trim()])
  .transform(Number)
  .refine(
    (seconds) => Number.isInteger(seconds) && seconds >= 30 && seconds <= maxAgeLimitSeconds,
    phrase('write a number of seconds, such as `3600`: half a minute at least, and a year at most'),
  )

/** OpenID Connect Core 3.1.2.1: the values of `acr_values` are separated by spaces. */
export const acrValue = z
  .string()
  .regex(/^[\u0021-\u007e]{1,100}$/, phrase('write a value without spaces, such as `mfa`'))

/** ISO 8601. Refuses dates that the calendar lacks: `Date` reads 30 February as 2 March. A date without a time is midnight, UTC. */
export const timestamp = z
  .string()
  .refine(
    (text) => z.iso.date().safeParse(text.slice(0, 10)).success && !Number.isNaN(Date.parse(text)),
    phrase('write a date such as `2027-01-31`'),
  )
  .transform((text) => new Date(text).toISOString())

export const nearTimestamp = timestamp.refine(
  (at) => Date.parse(at) <= Date.now() + 30 * DAY,
  phrase('choose a date within the next 30 days'),
)

/** A GUID only: the issuer in the tokens contains it, whatever domain name the tenant uses. */
export const tenantId = z
  .guid(phrase('enter the Directory (tenant) ID, a GUID, from the overview page of the app registration'))
  .toLowerCase()

export const wellKnownPath = '/.well-known/openid-configuration'

const httpUrl = z
  .url({ protocol: /^https?$/, error: phrase('enter a full URL such as `https://id.example.com`') })
  .transform(encodePath)
  .refine((url) => url.length <= 255, phrase('is too long'))

/** Accepts the URL of the metadata, too: consoles show it more often than the issuer. One with a query stays as it is. */
export const issuerUrl = httpUrl.transform((issuer) => issuer.replace(new RegExp(`${wellKnownPath}/?$`), ''))

/** Attacker: uploads a document to a site, to sign in as its users. So the path must be a well-known one, not only the query. */
export function isMetadataUrl(url: string): boolean {
  return new URL(url).pathname.includes('/.well-known/')
}

export const metadataUrl = httpUrl.refine(isMetadataUrl, {
  error: phrase(
    'enter the whole URL, such as `https://id.example.com/.well-known/openid-configuration?p=policy`',
  ),
})

/** Encodes spaces and letters outside ASCII in the path, as providers do in the issuer of a realm such as `Acme Corp`. */
function encodePath(url: string): string {
  const [, origin = '', path = ''] = /^(\w+:\/\/[^/?#]*)(.*)$/s.exec(url.trim()) ?? []
  return origin + path.replace(/[^!-~]+/g, percentEncode)
}

/** Replaces unpaired surrogates, for which `encodeURIComponent` throws. */
export function percentEncode(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString())
}

export const claimName = z
  .string()
  .regex(/^[\w.:/-]{1,40}$/, phrase('write the name of a claim, such as `email`'))

export const authorizationParameters = z
  .record(
    z
      .string()
      .regex(/^[\w.-]{1,64}$/, phrase('a name has up to 64 letters, digits, dots, dashes and underscores')),
    printable.max(1000, phrase('a value has at most 1000 characters')),
  )
  .refine((record) => !Object.keys(record).some((name) => reservedParameters.includes(name)), {
    error: phrase(
      'must not contain acr_values, claims, client_id, client_secret, code_challenge, code_challenge_method, id_token_hint, max_age, nonce, redirect_uri, request, request_uri, response_mode, response_type, scope, state: the plugin sets them itself, or could not enforce them; for max_age and acr_values, use the settings maxAge and acr',
    ),
  })

/** No user and no password: they would be stored and logged in the clear. Normalised, so that nothing invisible is stored. */
export const proxyUrl = z
  .url({ protocol: /^https?$/, error: phrase('write an address such as `http://proxy.example.com:3128`') })
  .max(255, phrase('is too long'))
  .refine((address) => !hasUserInfo(address), {
    error: phrase('write it without a user and a password: a proxy that requires them is not supported'),
  })
  .transform((address) => new URL(address).origin)

/** Line breaks are normalised: the same certificates must not count as a change. */
export const certificates = z
  .string()
  .max(20_000, phrase('is too long'))
  .refine(areCertificates, phrase('give PEM certificates, each from BEGIN CERTIFICATE to END CERTIFICATE'))
  .transform((text) => `${text.replace(/\r\n?/g, '\n').trim()}\n`)

/** `URL` decides: `http:////user@proxy` contains a user, too. */
function hasUserInfo(address: string): boolean {
  if (!URL.canParse(address)) return false
  const { username, password } = new URL(address)
  return username !== '' || password !== ''
}

const pem = /^\s*(-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----\s*)+$/

/** PEM certificates and nothing else: a private key pasted along must not be stored. */
function areCertificates(text: string): boolean {
  if (!pem.test(text)) return false
  return (text.match(/-----BEGIN[\s\S]+?END CERTIFICATE-----/g) ?? []).every(isCertificate)
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0
  } catch {
    return false
  }
}
