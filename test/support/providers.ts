import type { NewProvider } from '../../lib/providers/settings.ts'

/** The row of a provider that no test sends requests to. */
export function newProvider(more: Partial<NewProvider> = {}): NewProvider {
  return {
    portal: 'default',
    slug: 'acme',
    displayName: 'Acme',
    preset: 'generic',
    issuer: 'https://id.acme.example',
    clientId: 'portal-at-acme',
    clientAuthentication: 'client_secret_basic',
    signingAlgorithm: 'RS256',
    responseMode: undefined,
    prompt: undefined,
    authorizationParameters: {},
    emailClaim: 'email',
    trustsEmail: false,
    emailDomains: [],
    tenants: [],
    logout: 'provider',
    frontChannelLogout: false,
    secretEncoding: 'form',
    clientSecretExpiresAt: undefined,
    proxy: undefined,
    certificateAuthority: undefined,
    enabled: true,
    ...more,
  }
}
