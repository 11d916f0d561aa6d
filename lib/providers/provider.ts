import { z } from 'zod'

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
  readonly enabled: boolean
  readonly recommended: boolean
  readonly position: number
  /** counts up at every change that matters to a sign-in */
  readonly version: number
}

export const clientAuthentications = ['client_secret_basic', 'client_secret_post', 'none'] as const
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

// They are, or may become, paths of ours beside `/login/:provider`.
const reservedSlugs = ['assets', 'callback', 'register', 'logout', 'account', 'admin', 'new', 'portal-sso']

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

export const slugSchema = z
  .string()
  .regex(
    /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/,
    'write 1 to 40 lower-case letters, digits and dashes, such as `acme`',
  )
  .refine((slug) => !reservedSlugs.includes(slug), 'is a reserved word; choose another one')

/** What an administrator says of a provider; everything that may be changed later. */
export const providerSettingsSchema = z.strictObject({
  displayName: printable.trim().min(1).max(100),
  issuer: z.url({ protocol: /^https?$/ }).max(255),
  clientId: printable.min(1).max(255),
  clientSecret: printable.min(1).max(2000).optional(),
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
})

export type ProviderSettings = z.infer<typeof providerSettingsSchema>
