import * as z from 'zod'
import { asPhrase, phrase, type Translate } from '../shared/phrase.ts'
import { secretReference } from './secret-references.ts'
import {
  acrValue,
  assertionAudiences,
  authorizationParameters,
  certificates,
  claimName,
  clientAuthentications,
  emailDomain,
  issuerUrl,
  logoutReaches,
  maxAgeSeconds,
  metadataUrl,
  nearTimestamp,
  pageText,
  printable,
  prompts,
  proxyUrl,
  secretEncodings,
  signingAlgorithms,
  tenantId,
  textByLanguage,
  timestamp,
} from './setting-values.ts'

/**
 * One setting of a provider. Everything that knows the settings is derived from this table: the row, input validation, the
 * form and the provider page, CLI flags, export and import, "what changed" and "needs a new test sign-in".
 */
export interface Setting<Value = unknown> {
  /** Validates the administrator's input. `.default()` fills in omitted values. */
  schema: z.ZodType<Value>
  /** Default: the value unchanged. `sealed`: a secret, encrypted at rest and never part of a `Provider`. */
  storedAs?: 'json' | 'boolean' | 'sealed'
  /** Read from a row that has no value. */
  fallback?: NoInfer<Value>
  /** Whether a change needs a new test sign-in. Default true. */
  affectsSignIn?: boolean
  /** Whether the value decides whose identities are trusted. An imported file cannot change it while the provider is enabled. */
  decidesTrust?: true
  /** Whether a change requires the client secret again, so that no administrator can redirect the stored one. */
  decidesSecretRecipient?: true
  /** Whether only code and the command line may set it: forms do not show it, and files cannot change it. */
  codeOnly?: true
  /** Whether export files leave it out: it belongs to one installation. */
  local?: true
  /** Option of `providers add` and `providers update`. One that ends in `-file` reads the value from a file. */
  flag: string
  label: string
  hint?: string
  /** Shown beside the control; the administrator should read it before choosing. */
  warning?: string
  example?: string
  /** How the form shows it; default `text`. `list`: separated by commas; `parameters`: lines of name=value. */
  control?: 'text' | 'password' | 'date' | 'select' | 'checkbox' | 'list' | 'parameters' | 'textarea'
  choices?: readonly string[]
  /** The effect of each choice, beside its name. */
  effects?: Readonly<Record<string, string>>
  /** Label of the empty choice. */
  emptyChoice?: string
  required?: true
  /** Where the form shows it; default `protocol`. */
  section?: 'basic' | 'page' | 'protocol' | 'email' | 'network'
  /** Whether it needs the form's whole width. */
  wide?: true
  /** Whether the form of a new provider sets it by the answer to "Whose addresses do you trust?". */
  askedAsTrust?: true
  /** Only forms of these presets show it. */
  presets?: readonly string[]
}

const setting = <Value>(definition: Setting<Value>): Setting<Value> => definition

const oneOf = <const Value extends string>(choices: readonly Value[]) =>
  ({ schema: z.enum(choices).optional(), control: 'select', choices }) as const

const onOff = { schema: z.boolean().default(false), storedAs: 'boolean', control: 'checkbox' } as const

const listOf = (item: z.ZodType<string>, most: number) =>
  ({
    schema: z.array(item).max(most, phrase('has too many values')).default([]),
    storedAs: 'json',
    control: 'list',
  }) as const

const displayName = pageText(100)
/** One short sentence in the narrow card. */
const note = pageText(160)

/** A new setting needs a row here, its column in a migration (`emailDomains`: `email_domains`), and the code that uses it. */
export const settings = {
  /** Name on the login page. */
  displayName: setting({
    schema: displayName,
    affectsSignIn: false,
    flag: '--name <text>',
    label: 'Display name',
    hint: 'Shown on the login page.',
    example: 'Acme',
    required: true,
    section: 'basic',
  }),
  /** Display names by language, where they differ from `displayName`. */
  labels: setting({
    schema: textByLanguage(displayName).default({}),
    storedAs: 'json',
    affectsSignIn: false,
    flag: '--label <language=name...>',
    label: 'Name in other languages',
    hint: 'One per line: language=name. Users with another language see the display name.',
    example: 'de=Kundenportal',
    control: 'parameters',
    section: 'page',
  }),
  /** A sentence below its button on the login page. It recommends, and hides no other provider. Plain text. */
  note: setting({
    schema: note.optional(),
    affectsSignIn: false,
    flag: '--note <text>',
    label: 'Note on the login page',
    hint: 'One sentence below the button, at most 160 characters. Plain text without links.',
    example: 'New here? Use Microsoft.',
    section: 'page',
    wide: true,
  }),
  /** Notes by language, where they differ from `note`. */
  notes: setting({
    schema: textByLanguage(note).default({}),
    storedAs: 'json',
    affectsSignIn: false,
    flag: '--note-in <language=text...>',
    label: 'Note in other languages',
    hint: 'One per line: language=text.',
    example: 'de=Neu hier? Nutzen Sie Microsoft.',
    control: 'parameters',
    section: 'page',
  }),
  /** The provider's issuer identifier, character by character (OpenID Connect Discovery 1.0, 4.3). */
  issuer: setting({
    schema: issuerUrl,
    decidesTrust: true,
    decidesSecretRecipient: true,
    flag: '--issuer <url>',
    label: 'Issuer',
    hint: 'The URL before /.well-known/openid-configuration.',
    example: 'https://id.example.com',
    required: true,
    section: 'basic',
  }),
  /** The discovery document, where it is not at the issuer's well-known URL. Its issuer must be on the same origin. */
  metadataUrl: setting({
    schema: metadataUrl.optional(),
    decidesTrust: true,
    decidesSecretRecipient: true,
    flag: '--metadata-url <url>',
    label: 'Metadata URL',
    hint: 'Only if it is not the issuer followed by /.well-known/openid-configuration, such as one with a query.',
    example: 'https://id.example.com/.well-known/openid-configuration?p=policy',
  }),
  /** The client identifier that the provider issued (RFC 6749, 2.2). At most 255 characters. */
  clientId: setting({
    schema: printable.min(1).max(255, 'is too long'),
    decidesTrust: true,
    flag: '--client-id <id>',
    label: 'Client ID',
    required: true,
    section: 'basic',
  }),
  /** Encrypted at rest and never returned. Omitted: a public client, or one that authenticates with keys. */
  clientSecret: setting({
    schema: printable.min(1).max(2000, 'is too long').optional(),
    storedAs: 'sealed',
    flag: '--client-secret-file <file>',
    label: 'Client secret',
    hint: 'The secret’s value, not its ID. Leave it empty only if the authentication method is none or private_key_jwt.',
    control: 'password',
    section: 'basic',
  }),
  /** Where the client secret is read from, in place of `clientSecret`: `env:NAME` or `file:/path`. See `secretReferences`. */
  clientSecretReference: setting({
    schema: secretReference.optional(),
    codeOnly: true,
    flag: '--client-secret-reference <reference>',
    label: 'Client secret from',
    hint: 'env:NAME or file:/path, where the option secretReferences allows it.',
    section: 'basic',
  }),
  /** When the client secret expires at the provider. ISO 8601. */
  clientSecretExpiresAt: setting({
    schema: timestamp.optional(),
    affectsSignIn: false,
    local: true,
    flag: '--client-secret-expires <date>',
    label: 'Client secret expires',
    hint: 'As shown in the provider’s console. We warn you 60, 30, 7 and 1 days before.',
    control: 'date',
  }),
  /** How the portal authenticates to the provider. Omitted: found by the connection test. */
  clientAuthentication: setting({
    ...oneOf(clientAuthentications),
    flag: '--client-authentication <method>',
    label: 'Authentication method',
    emptyChoice: 'Detected by the connection test',
  }),
  /** How `client_secret_basic` encodes id and secret. Omitted: found by the connection test. */
  secretEncoding: setting({
    ...oneOf(secretEncodings),
    fallback: 'form',
    flag: '--secret-encoding <encoding>',
    label: 'Secret encoding',
    hint: 'Only for client_secret_basic. Empty: the connection test detects it.',
    emptyChoice: 'Detected by the connection test',
  }),
  /**
   * The `aud` of client assertions. Omitted: found by the connection test. `token_endpoint` applies only while it is on the
   * issuer's origin.
   */
  assertionAudience: setting({
    ...oneOf(assertionAudiences),
    fallback: 'issuer',
    flag: '--assertion-audience <audience>',
    label: 'Audience of client assertions',
    hint: 'Only for private_key_jwt and client_secret_jwt. Empty: the connection test detects it.',
    emptyChoice: 'Detected by the connection test',
  }),
  /**
   * The one algorithm that may sign tokens (OpenID Connect Core 3.1.3.7, 7). Omitted: any asymmetric one that the provider
   * announces.
   */
  signingAlgorithm: setting({
    ...oneOf(signingAlgorithms),
    decidesTrust: true,
    flag: '--signing-algorithm <algorithm>',
    label: 'Signing algorithm of tokens',
    hint: 'Empty: every asymmetric algorithm that the provider announces. The test sign-in shows which one it uses.',
    emptyChoice: 'Any that the provider announces',
  }),
  /** How the authorization response returns. Omitted: the provider's default, `query`. */
  responseMode: setting({
    ...oneOf(['query', 'form_post']),
    flag: '--response-mode <mode>',
    label: 'Response mode',
    emptyChoice: 'Default (query)',
  }),
  /** Pushes each authorization request to the provider (RFC 9126). Default false: only if the provider requires it for all clients. */
  pushedRequests: setting({
    ...onOff,
    flag: '--pushed-requests',
    label: 'Pushed authorization requests (PAR)',
    hint: 'Turn on if the provider requires them for this client only. It is not needed if all clients must send them.',
  }),
  /** Requests tokens that are bound to a key of this sign-in (RFC 9449). Default false. */
  dpop: setting({
    ...onOff,
    flag: '--dpop',
    label: 'Tokens bound to a key (DPoP)',
    hint: 'Only if the client at the provider requires DPoP.',
  }),
  /** The `prompt` parameter of every sign-in. Omitted: none, so that a user who is signed in at the provider sees no page. */
  prompt: setting({
    ...oneOf(prompts),
    flag: '--prompt <prompt>',
    label: 'Prompt',
    emptyChoice: 'None, if the user is signed in there',
  }),
  /** Seconds since the user authenticated at the provider. Sent as `max_age`, and enforced on `auth_time`. Omitted: any. */
  maxAge: setting({
    schema: maxAgeSeconds.optional(),
    decidesTrust: true,
    flag: '--max-age <seconds>',
    label: 'Maximum age of the authentication',
    hint: 'Seconds. Users who authenticated there earlier do it again. The ID token must contain auth_time.',
    example: '28800',
  }),
  /** Accepted values of the claim `acr`. Sent as `acr_values`, and enforced on the ID token. Default `[]`: any. */
  acr: setting({
    ...listOf(acrValue, 10),
    decidesTrust: true,
    flag: '--acr <value...>',
    label: 'Required authentication (acr)',
    hint: 'The ID token must contain one of these values. Each provider has its own. Empty: any.',
    example: 'mfa',
  }),
  /** Sent with every authorization request. They can never replace a parameter that the plugin sets. */
  authorizationParameters: setting({
    schema: authorizationParameters.default({}),
    storedAs: 'json',
    flag: '--authorization-parameter <name=value...>',
    label: 'Extra authorization parameters',
    hint: 'One per line: name=value.',
    example: 'domain_hint=example.com',
    control: 'parameters',
  }),
  /** The claim that contains the e-mail address. Default `email`. */
  emailClaim: setting({
    schema: claimName.default('email'),
    decidesTrust: true,
    flag: '--email-claim <claim>',
    label: 'E-mail claim',
    hint: 'Empty: email.',
    example: 'email',
    section: 'email',
  }),
  /**
   * The provider vouches for addresses of these domains only. Default `[]`: any domain. Entra: `contoso.com@<tenant id>` binds
   * a domain to a tenant.
   */
  emailDomains: setting({
    ...listOf(emailDomain, 100),
    decidesTrust: true,
    askedAsTrust: true,
    flag: '--email-domain <domain...>',
    label: 'E-mail domains',
    hint: 'Addresses of other domains are never trusted. Empty: any domain.',
    example: 'example.com, example.org',
    section: 'email',
  }),
  /**
   * Whether the login page lists the provider. Default true. Otherwise users find it by an e-mail address of `emailDomains`, or by its
   * own link, `/login/<slug>`.
   */
  showOnPicker: setting({
    schema: z
      .union([z.boolean(), z.enum(['yes', 'no']).transform((choice) => choice === 'yes')])
      .default(true),
    storedAs: 'boolean',
    affectsSignIn: false,
    flag: '--show-on-picker <choice>',
    label: 'Shown on the login page',
    hint: 'Hide a customer’s provider from everybody else. If several hidden providers have a domain, the first one is used.',
    control: 'select',
    choices: ['yes', 'no'],
    effects: { yes: 'everybody sees it', no: 'found by an e-mail address of its domains' },
    emptyChoice: 'Default (yes)',
    section: 'page',
  }),
  /** Whether every address from this provider is trusted, although the provider does not say that it is verified. Default false. */
  trustsEmail: setting({
    ...onOff,
    decidesTrust: true,
    askedAsTrust: true,
    flag: '--trusts-email',
    label: 'Trust every e-mail address from this provider',
    warning:
      'Anyone who can set an e-mail address at this provider can then sign in as its owner here. Select it only if your own administrators assign the addresses there.',
    section: 'email',
  }),
  /**
   * Until then, a vouched address replaces the identity that its user had at this issuer before: for a provider that issued new
   * subjects to everybody. At most 30 days ahead. ISO 8601. Omitted: never.
   */
  relinkUntil: setting({
    schema: nearTimestamp.optional(),
    affectsSignIn: false,
    decidesTrust: true,
    local: true,
    flag: '--relink-until <date>',
    label: 'Relink accounts until',
    hint: 'Only if the provider issued new subjects to everybody, such as after a realm was created again. At most 30 days.',
    warning: 'Until then, the new owner of an address gets the account of its previous owner.',
    control: 'date',
    section: 'email',
  }),
  /** The provider vouches for an address only if this claim has one of `organizationValues`. Omitted: no such claim. */
  organizationClaim: setting({
    schema: claimName.optional(),
    decidesTrust: true,
    flag: '--organization-claim <claim>',
    label: 'Organisation claim',
    hint: 'Only if anyone can have an account there. The claim names the organisation that manages the account.',
    example: 'org_id',
    section: 'email',
  }),
  /** Values of `organizationClaim`. */
  organizationValues: setting({
    ...listOf(printable.trim().min(1).max(255), 100),
    decidesTrust: true,
    flag: '--organization-value <value...>',
    label: 'Accepted organisations',
    hint: 'The values of the organisation claim.',
    section: 'email',
  }),
  /** Entra: tenants whose users are admitted, where the issuer serves many. Default `[]`: the issuer's own, or any. */
  tenants: setting({
    ...listOf(tenantId, 100),
    decidesTrust: true,
    flag: '--allowed-tenant <guid...>',
    label: 'Tenants',
    hint: 'Directory (tenant) IDs whose users are admitted, if the issuer serves many tenants. Empty: any.',
    section: 'email',
    presets: ['entra'],
  }),
  /** The sessions that sign-out ends. Default `provider`: the portal session, then the provider's. */
  logout: setting({
    ...oneOf(logoutReaches),
    schema: z.enum(logoutReaches).default('provider'),
    affectsSignIn: false,
    flag: '--logout <reach>',
    label: 'Sign-out ends',
    hint: 'The portal session always ends.',
    effects: {
      provider: 'the provider’s session ends, too',
      portal: 'the provider’s session stays',
      ask: 'the user chooses whether the provider’s session ends, too',
    },
    emptyChoice: 'Default (provider)',
    section: 'network',
  }),
  /** Whether the provider's pages may end sessions here (OpenID Connect Front-Channel Logout 1.0). Default false. */
  frontChannelLogout: setting({
    ...onOff,
    affectsSignIn: false,
    flag: '--front-channel-logout',
    label: 'Front-channel logout',
    hint: 'For a provider without back-channel logout. Its ID tokens must contain sid.',
    section: 'network',
  }),
  /** http(s) address of the proxy through which the provider is reached. */
  proxy: setting({
    schema: proxyUrl.optional(),
    flag: '--proxy <url>',
    label: 'Proxy',
    hint: 'Only if the provider is reached through one.',
    example: 'http://proxy.example.com:3128',
    section: 'network',
  }),
  /** PEM certificates that verify the provider's TLS, instead of the system's. */
  certificateAuthority: setting({
    schema: certificates.optional(),
    decidesTrust: true,
    decidesSecretRecipient: true,
    flag: '--certificate-authority-file <pem>',
    label: 'Certificate authority',
    hint: 'PEM certificates that verify the provider’s TLS, instead of the system’s.',
    example: '-----BEGIN CERTIFICATE-----',
    control: 'textarea',
    section: 'network',
  }),
}

/** The name of a setting. */
export type SettingName = keyof ProviderSettings

/** The settings of a provider: validated, with defaults filled in. */
export type ProviderSettings = {
  [Name in keyof typeof settings]: (typeof settings)[Name] extends Setting<infer Value> ? Value : never
}

/** Settings as an administrator enters them. An omitted setting has its default. */
export type SettingsInput = { [Name in keyof ProviderSettings]?: ProviderSettings[Name] | undefined }

/** Changes of settings. An omitted setting keeps its value; `null` resets it to its default. */
export type ProviderChanges = { [Name in keyof ProviderSettings]?: ProviderSettings[Name] | null | undefined }

/** Settings that the connection test detects if they are omitted. */
export type DetectedSetting = 'clientAuthentication' | 'secretEncoding' | 'assertionAudience'

/** Settings that are encrypted at rest and never returned. */
export type SecretSetting = 'clientSecret'

/** The settings of a connected provider: the detected ones have a value, and secrets are left out. */
export type StoredSettings = Omit<ProviderSettings, DetectedSetting | SecretSetting> & {
  [Name in DetectedSetting]: NonNullable<ProviderSettings[Name]>
}

const table = settings as unknown as Record<SettingName, Setting>

// Functions, not constants: a test adds a setting to the table and expects it everywhere.
export const settingEntries = (): [SettingName, Setting][] =>
  Object.entries(table) as [SettingName, Setting][]

export const isSecret = (name: string): boolean => table[name as SettingName]?.storedAs === 'sealed'

const storedEntries = () =>
  settingEntries().filter(([name]) => !isSecret(name)) as [keyof StoredSettings, Setting][]

export const settingNamesWhere = (matches: (setting: Setting) => unknown): SettingName[] =>
  settingEntries().flatMap(([name, each]) => (matches(each) ? name : []))

export const settingsSchema = (): z.ZodType<ProviderSettings> =>
  z.strictObject(
    Object.fromEntries(settingEntries().map(([name, { schema }]) => [name, schema])),
  ) as unknown as z.ZodType<ProviderSettings>

/** The settings of a provider as they can be entered again. */
export function settingsOf(provider: StoredSettings): StoredSettings {
  const settings = storedEntries().map(([name]) => [name, provider[name]])
  return Object.fromEntries(settings) as StoredSettings
}

export const storedSettingNames = (): SettingName[] => storedEntries().map(([name]) => name)

/** The column of a member of `Provider`. */
export const columnOf = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)

/** JSON of the domains that a provider serves. */
export const domainsColumn = columnOf('emailDomains')

/** Columns of `sso_providers` for the given settings; secrets are left out. */
export function toColumns(given: Partial<StoredSettings>): Record<string, unknown> {
  const row: Record<string, unknown> = {}
  for (const [name, { storedAs }] of storedEntries()) {
    const value = given[name] ?? null
    if (name in given) row[columnOf(name)] = storedAs === 'json' ? JSON.stringify(value) : value
  }
  return row
}

/** @param row by names of settings */
export function readStoredSettings(row: Readonly<Record<string, unknown>>): StoredSettings {
  const settings: Record<string, unknown> = {}
  for (const [name, { schema, storedAs, fallback }] of Object.entries(table)) {
    const value = row[name]
    if (storedAs === 'sealed') continue
    // A row from before the column existed.
    if (value === null || value === undefined) settings[name] = schema.safeParse(undefined).data ?? fallback
    else if (storedAs === 'json') settings[name] = JSON.parse(String(value))
    else settings[name] = storedAs === 'boolean' ? Boolean(value) : value
  }
  return settings as unknown as StoredSettings
}

/** The stored settings in which two providers, or a provider and an update, differ. */
export function changedSettings(before: StoredSettings, after: Partial<StoredSettings>): SettingName[] {
  return storedEntries().flatMap(([name]) =>
    name in after && JSON.stringify(before[name] ?? null) !== JSON.stringify(after[name] ?? null) ? name : [],
  )
}

export const needsRetest = (changed: readonly SettingName[]): boolean =>
  changed.some((name) => table[name].affectsSignIn ?? true)

/** True if a change can alter a result of the connection test, which also reports what a sign-out ends. */
export const needsConnectionTest = (changed: readonly SettingName[]): boolean =>
  needsRetest(changed) || changed.some((name) => table[name].section === 'network')

/** Translates for a page. The command line passes one that keeps English. */
/** One line of text, as the provider page, the CLI and reports of changes show a value. */
function displayValue(value: unknown, effects: Setting['effects'], say: Translate): string {
  const effect = effects?.[String(value)]
  if (effect) return say(phrase('{{name}}: {{value}}', { name: String(value), value: asPhrase(effect) }))
  if (typeof value === 'boolean') return value ? say(phrase('yes')) : say(phrase('no'))
  if (typeof value !== 'object' || value === null) return String(value ?? '') || '–'
  const parts = Array.isArray(value) ? value : Object.entries(value).map(([name, each]) => `${name}=${each}`)
  return parts.join(', ') || '–'
}

/** Label and value of one setting, also of an older version that is no longer known. */
export function describeSetting(
  name: string,
  value: unknown,
  say: Translate = String,
): [label: string, value: string] {
  const known = Object.hasOwn(table, name) ? table[name as SettingName] : undefined
  return [known ? say(known.label) : name, displayValue(value, known?.effects, say)]
}

/**
 * Label and value of every stored setting, as the provider page and the command line show them.
 *
 * @param ofSection only those of one section of the form
 */
export function settingFacts(
  provider: StoredSettings,
  ofSection?: Setting['section'],
  say: Translate = String,
): [label: string, value: string][] {
  const { preset = '' } = provider as { preset?: string }
  return storedEntries()
    .filter(([, { presets }]) => !presets || presets.includes(preset))
    .filter(([, { section = 'protocol' }]) => ofSection === undefined || section === ofSection)
    .map(([name, { label, effects }]) => [say(label), displayValue(provider[name], effects, say)])
}
