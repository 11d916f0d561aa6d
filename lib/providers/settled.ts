import type { Provider, ProviderSettings } from './provider.ts'
import type { NewProvider } from './provider-row.ts'

/** All that an administrator settles of a provider, but for what it is called in addresses and which portal it belongs to. */
export type Settled = Omit<NewProvider, 'portal' | 'slug' | 'preset' | 'enabled'>

type Decided = Omit<ProviderSettings, 'clientSecret' | 'secondClientSecret'> & {
  clientAuthentication: Provider['clientAuthentication']
  signingAlgorithm: Provider['signingAlgorithm']
}

/** Fills in what an absent setting means. */
export function settled(settings: Decided): Settled {
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
    secondClientSecretExpiresAt: settings.secondClientSecretExpiresAt,
    proxy: settings.proxy,
    certificateAuthority: settings.certificateAuthority,
  }
}

/** What a sign-in does not notice. */
const unnoticed: readonly string[] = [
  'displayName',
  'logout',
  'frontChannelLogout',
  'clientSecretExpiresAt',
  'secondClientSecretExpiresAt',
]

/** Whether a sign-in could fail, or let somebody else in, that did not before: it has to be rehearsed anew then. */
export function mattersToSignIn(before: Provider, changes: Partial<NewProvider>): boolean {
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
    secondClientSecretExpiresAt: provider.secondClientSecretExpiresAt,
    proxy: provider.proxy,
    certificateAuthority: provider.certificateAuthority,
  }
}
