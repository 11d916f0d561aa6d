import { logoutReaches, type Provider, type ProviderSettings } from './provider.ts'

/** What an administrator settles; the rest of a provider is what has become of it. */
export type NewProvider = Omit<
  Provider,
  | 'id'
  | 'position'
  | 'version'
  | 'recommended'
  | 'testSignInAt'
  | 'testSignInUserId'
  | 'retireAt'
  | 'lastTest'
>

/** A row of `sso_providers`, without what is sealed. */
export interface Row {
  id: string
  portal: string
  slug: string
  display_name: string
  preset: string
  issuer: string
  client_id: string
  client_authentication: string
  signing_algorithm: string
  response_mode: string | null
  prompt: string | null
  authorization_parameters: string
  email_claim: string
  trusts_email: boolean | number
  email_domains: string
  tenants: string | null
  logout: string | null
  front_channel_logout: boolean | number | null
  secret_encoding: string | null
  client_secret_expires_at: string | null
  proxy: string | null
  certificate_authority: string | null
  enabled: boolean | number
  recommended: boolean | number
  position: number
  test_sign_in_at: string | null
  test_sign_in_user_id: string | null
  retire_at: string | null
  last_test: string | null
  version: number
}

export const columns: (keyof Row)[] = [
  'id',
  'portal',
  'slug',
  'display_name',
  'preset',
  'issuer',
  'client_id',
  'client_authentication',
  'signing_algorithm',
  'response_mode',
  'prompt',
  'authorization_parameters',
  'email_claim',
  'trusts_email',
  'email_domains',
  'tenants',
  'logout',
  'front_channel_logout',
  'secret_encoding',
  'client_secret_expires_at',
  'proxy',
  'certificate_authority',
  'enabled',
  'recommended',
  'position',
  'test_sign_in_at',
  'test_sign_in_user_id',
  'retire_at',
  'last_test',
  'version',
]

/**
 * The only place that says whether people may sign in: one whose last day is over counts as disabled at once, on every
 * instance, whatever its row still says.
 */
function isEnabled({ enabled, retire_at }: Row): boolean {
  return Boolean(enabled) && (retire_at === null || retire_at > new Date().toISOString())
}

export function fromRow(row: Row): Provider {
  return {
    id: row.id,
    portal: row.portal,
    slug: row.slug,
    displayName: row.display_name,
    preset: row.preset,
    issuer: row.issuer,
    clientId: row.client_id,
    clientAuthentication: row.client_authentication as Provider['clientAuthentication'],
    signingAlgorithm: row.signing_algorithm as Provider['signingAlgorithm'],
    responseMode: row.response_mode === 'form_post' ? 'form_post' : undefined,
    prompt: (row.prompt as Provider['prompt'] | null) ?? undefined,
    authorizationParameters: JSON.parse(row.authorization_parameters) as Record<string, string>,
    emailClaim: row.email_claim,
    trustsEmail: Boolean(row.trusts_email),
    emailDomains: JSON.parse(row.email_domains) as string[],
    tenants: JSON.parse(row.tenants ?? '[]') as string[],
    logout: logoutReaches.find((reach) => reach === row.logout) ?? 'provider',
    frontChannelLogout: Boolean(row.front_channel_logout),
    secretEncoding: row.secret_encoding === 'raw' ? 'raw' : 'form',
    clientSecretExpiresAt: row.client_secret_expires_at ?? undefined,
    proxy: row.proxy ?? undefined,
    certificateAuthority: row.certificate_authority ?? undefined,
    enabled: isEnabled(row),
    recommended: Boolean(row.recommended),
    position: row.position,
    testSignInAt: row.test_sign_in_at ?? undefined,
    testSignInUserId: row.test_sign_in_user_id ?? undefined,
    retireAt: row.retire_at ?? undefined,
    lastTest: row.last_test === null ? undefined : (JSON.parse(row.last_test) as Provider['lastTest']),
    version: row.version,
  }
}

/** Only what is given; a setting that is there but `undefined` is taken back. */
export function toColumns(provider: Partial<NewProvider>): Record<string, unknown> {
  const all = {
    portal: provider.portal,
    slug: provider.slug,
    display_name: provider.displayName,
    preset: provider.preset,
    issuer: provider.issuer,
    client_id: provider.clientId,
    client_authentication: provider.clientAuthentication,
    signing_algorithm: provider.signingAlgorithm,
    response_mode: orNull(provider, 'responseMode'),
    prompt: orNull(provider, 'prompt'),
    authorization_parameters:
      provider.authorizationParameters && JSON.stringify(provider.authorizationParameters),
    email_claim: provider.emailClaim,
    trusts_email: provider.trustsEmail,
    email_domains: provider.emailDomains && JSON.stringify(provider.emailDomains),
    tenants: provider.tenants && JSON.stringify(provider.tenants),
    logout: provider.logout,
    front_channel_logout: provider.frontChannelLogout,
    secret_encoding: provider.secretEncoding,
    client_secret_expires_at: orNull(provider, 'clientSecretExpiresAt'),
    proxy: orNull(provider, 'proxy'),
    certificate_authority: orNull(provider, 'certificateAuthority'),
    enabled: provider.enabled,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

function orNull(provider: Partial<NewProvider>, name: keyof NewProvider): unknown {
  return name in provider ? (provider[name] ?? null) : undefined
}

/** All that an administrator settles of a provider, but for what it is called in addresses and which portal it belongs to. */
export type DefaultedSettings = Omit<NewProvider, 'portal' | 'slug' | 'preset' | 'enabled'>

type Decided = Omit<ProviderSettings, 'clientSecret'> & {
  clientAuthentication: Provider['clientAuthentication']
  signingAlgorithm: Provider['signingAlgorithm']
}

/** Fills in what an absent setting means. */
export function withDefaults(settings: Decided): DefaultedSettings {
  return {
    displayName: settings.displayName,
    issuer: settings.issuer,
    clientId: settings.clientId,
    clientAuthentication: settings.clientAuthentication,
    signingAlgorithm: settings.signingAlgorithm,
    // `query` is what a provider does anyway.
    responseMode: settings.responseMode === 'form_post' ? 'form_post' : undefined,
    prompt: settings.prompt,
    authorizationParameters: settings.authorizationParameters ?? {},
    emailClaim: settings.emailClaim ?? 'email',
    trustsEmail: settings.trustsEmail ?? false,
    emailDomains: settings.emailDomains ?? [],
    tenants: settings.tenants ?? [],
    logout: settings.logout ?? 'provider',
    frontChannelLogout: settings.frontChannelLogout ?? false,
    secretEncoding: settings.secretEncoding ?? 'form',
    clientSecretExpiresAt: settings.clientSecretExpiresAt,
    proxy: settings.proxy,
    certificateAuthority: settings.certificateAuthority,
  }
}

/** What a sign-in does not notice. */
const unnoticed: readonly string[] = ['displayName', 'logout', 'frontChannelLogout', 'clientSecretExpiresAt']

/** Whether a sign-in could fail, or let somebody else in, that did not before: it has to be rehearsed anew then. */
export function needsRetest(before: Provider, changes: Partial<NewProvider>): boolean {
  return Object.entries(changes).some(
    ([name, value]) =>
      !unnoticed.includes(name) && JSON.stringify(value) !== JSON.stringify(before[name as keyof Provider]),
  )
}

/** Of a row, as they may be given again; the secrets are not among them. */
export function settingsOf(provider: Provider): Decided {
  return {
    displayName: provider.displayName,
    issuer: provider.issuer,
    clientId: provider.clientId,
    clientAuthentication: provider.clientAuthentication,
    signingAlgorithm: provider.signingAlgorithm,
    responseMode: provider.responseMode,
    prompt: provider.prompt,
    authorizationParameters: { ...provider.authorizationParameters },
    emailClaim: provider.emailClaim,
    trustsEmail: provider.trustsEmail,
    emailDomains: [...provider.emailDomains],
    tenants: [...provider.tenants],
    logout: provider.logout,
    frontChannelLogout: provider.frontChannelLogout,
    secretEncoding: provider.secretEncoding,
    clientSecretExpiresAt: provider.clientSecretExpiresAt,
    proxy: provider.proxy,
    certificateAuthority: provider.certificateAuthority,
  }
}
