import { X509Certificate } from 'node:crypto'
import { z } from 'zod'

const pem = /^\s*(-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----\s*)+$/

/** Whether it is certificates in PEM, and nothing else: a private key that somebody pasted along must not be stored. */
export function areCertificates(text: string): boolean {
  if (!pem.test(text)) return false
  const each = text.match(/-----BEGIN[\s\S]+?END CERTIFICATE-----/g) ?? []
  return each.every(isCertificate)
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0
  } catch {
    return false
  }
}

/** A connected OpenID Provider: one row of `sso_providers`. The client secret is not part of it and never leaves the table. */
export interface Provider {
  readonly id: string
  readonly portal: string
  readonly slug: string
  readonly displayName: string
  readonly preset: string
  readonly issuer: string
  readonly clientId: string
  readonly clientAuthentication: ClientAuthentication
  /** the one algorithm that its ID tokens may be signed with (OpenID Connect Core 3.1.3.7, step 7) */
  readonly signingAlgorithm: SigningAlgorithm
  /** left out: the provider's default, `query` */
  readonly responseMode?: 'form_post' | undefined
  readonly prompt?: Prompt | undefined
  /** sent along with every authorization request; can never replace a parameter of ours */
  readonly authorizationParameters: Readonly<Record<string, string>>
  /** the claim that holds the address to match */
  readonly emailClaim: string
  /** an administrator's word that every address from this provider belongs to the person; off by default */
  readonly trustsEmail: boolean
  /** domains this provider may vouch for; empty: any */
  readonly emailDomains: readonly string[]
  /** Entra: tenants whose people may come in, where the issuer is one for many; empty: the issuer's own, or any */
  readonly tenants: readonly string[]
  /** what signing out ends; default `provider`: the portal session, then the provider's. `ask`: the person says whether */
  readonly logout: LogoutReach
  /** whether its pages may end sessions here through the browser (OpenID Connect Front-Channel Logout 1.0); off by default */
  readonly frontChannelLogout: boolean
  /** how `client_secret_basic` spells id and secret: as RFC 6749 says, or as they are; default `form` */
  readonly secretEncoding: SecretEncoding
  /** when the client secret expires at the provider, as the administrator entered it */
  readonly clientSecretExpiresAt?: string | undefined
  /** http(s) address of the proxy that leads to it */
  readonly proxy?: string | undefined
  /** PEM certificates that its TLS is verified with, instead of the system's */
  readonly certificateAuthority?: string | undefined
  readonly enabled: boolean
  readonly recommended: boolean
  readonly position: number
  /** when a rehearsal sign-in with these very settings passed */
  readonly testSignInAt?: string | undefined
  /** id of the active user that it ended with, if it did */
  readonly testSignInUserId?: string | undefined
  /** from then on nobody signs in with it */
  readonly retireAt?: string | undefined
  /** what the last test found */
  readonly lastTest?: { readonly at: string; readonly checks: readonly Check[] } | undefined
  /** counts up at every change that matters to a sign-in */
  readonly version: number
}

/** One thing that was looked at from outside, before anybody signs in. */
export interface Check {
  name: string
  result: 'ok' | 'warning' | 'failed'
  /** what was found */
  finding: string
  /** what to do about it, unless all is well */
  remedy?: string
}

export const clientAuthentications = [
  'client_secret_basic',
  'client_secret_post',
  'private_key_jwt',
  'none',
] as const
export type ClientAuthentication = (typeof clientAuthentications)[number]

// Asymmetric ones only: with an HMAC anybody who learns the client secret could sign a token.
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
export type SigningAlgorithm = (typeof signingAlgorithms)[number]

export const prompts = ['login', 'select_account', 'consent'] as const
export type Prompt = (typeof prompts)[number]

export const logoutReaches = ['provider', 'portal', 'ask'] as const
export type LogoutReach = (typeof logoutReaches)[number]

export const secretEncodings = ['form', 'raw'] as const
export type SecretEncoding = (typeof secretEncodings)[number]

// They are, or may become, paths of ours beside `/login/:provider`.
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

/** Parameters of the authorization request that are ours to set. */
export const ownParameters = [
  'client_id',
  'client_secret',
  'code_challenge',
  'code_challenge_method',
  'nonce',
  'redirect_uri',
  'request',
  'request_uri',
  'response_mode',
  'response_type',
  'scope',
  'state',
]

const printable = z.string().regex(/^\P{Cc}*$/u, 'must not contain control characters')
const domain = z
  .string()
  .trim()
  .toLowerCase()
  .regex(
    /^[a-z0-9-]+(\.[a-z0-9-]+)+$/,
    'write a domain such as `example.com` (internationalised ones as `xn--…`)',
  )

/** By what the address means: `http:////user@proxy` names one, too. */
function namesUser(address: string): boolean {
  if (!URL.canParse(address)) return false
  const { username, password } = new URL(address)
  return username !== '' || password !== ''
}

/** ISO 8601, of a day that the calendar has: `Date` takes 30 February for 2 March. One without a time is midnight, UTC. */
export const moment = z
  .string()
  .refine(
    (text) => z.iso.date().safeParse(text.slice(0, 10)).success && !Number.isNaN(Date.parse(text)),
    'write a date such as `2027-01-31`',
  )
  .transform((text) => new Date(text).toISOString())

/** A GUID only: the issuer in the tokens is built from it, whatever domain name the tenant goes by. */
export const tenant = z
  .guid('write the Directory (tenant) ID, a GUID, from the overview page of the app registration')
  .toLowerCase()

export const slugSchema = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/,
    'write 1 to 40 lower-case letters, digits and dashes, such as `acme`',
  )
  .refine((slug) => !reservedSlugs.includes(slug), 'this is a reserved word; choose another one')

/** What an administrator says of a provider; everything that may be changed later. */
export const providerSettingsSchema = z.strictObject({
  displayName: printable.trim().min(1).max(100),
  // Consoles show the address of the metadata more often than the issuer.
  issuer: z
    .url({ protocol: /^https?$/ })
    .max(255)
    .transform((issuer) => issuer.replace(/\/\.well-known\/openid-configuration\/?$/, '')),
  clientId: printable.min(1).max(255),
  clientSecret: printable.min(1).max(2000).optional(),
  clientSecretExpiresAt: moment.optional(),
  secretEncoding: z.enum(secretEncodings).optional(),
  clientAuthentication: z.enum(clientAuthentications).optional(),
  signingAlgorithm: z.enum(signingAlgorithms).optional(),
  responseMode: z.enum(['query', 'form_post']).optional(),
  prompt: z.enum(prompts).optional(),
  authorizationParameters: z
    .record(z.string().regex(/^[\w.-]{1,64}$/), printable.max(1000))
    .refine((record) => !Object.keys(record).some((name) => ownParameters.includes(name)), {
      error: `must not hold ${ownParameters.join(', ')}: those are the plugin's to set`,
    })
    .optional(),
  emailClaim: z
    .string()
    .regex(/^[\w.:/-]{1,40}$/, 'write the name of a claim, such as `email`')
    .optional(),
  trustsEmail: z.boolean().optional(),
  emailDomains: z.array(domain).max(100).optional(),
  tenants: z.array(tenant).max(100).optional(),
  logout: z.enum(logoutReaches).optional(),
  frontChannelLogout: z.boolean().optional(),
  proxy: z
    .url({ protocol: /^https?$/, error: 'write an address such as `http://proxy.example.com:3128`' })
    .max(255)
    // It would stand in the table in the clear, and in logs.
    .refine((address) => !namesUser(address), {
      error: 'write it without a user and a password: a proxy that asks for them is not supported',
    })
    // As it is read, so that nothing that is passed over there (line breaks, controls) is kept and shown.
    .transform((address) => new URL(address).origin)
    .optional(),
  certificateAuthority: z
    .string()
    .max(20_000)
    .refine(areCertificates, 'give PEM certificates, each from BEGIN CERTIFICATE to END CERTIFICATE')
    // Files and forms end their lines in ways of their own: the same certificates must not count as others.
    .transform((text) => `${text.replace(/\r\n?/g, '\n').trim()}\n`)
    .optional(),
})

export type ProviderSettings = z.infer<typeof providerSettingsSchema>

/** `null` takes a setting back to what it is when left out; what is left out stays as it is. */
export type ProviderChanges = { [K in keyof ProviderSettings]?: ProviderSettings[K] | null | undefined }
