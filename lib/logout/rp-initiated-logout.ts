import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { SignedInVia } from '../sessions/session-data.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import type { ConnectedProviders } from '../sign-in/connected-providers.ts'

/** Where a provider signs users out (OpenID Connect RP-Initiated Logout 1.0). */
export interface ProviderLogout {
  provider: Provider
  /** `end_session_endpoint`, as discovery validated it */
  endpoint: URL
}

/** A slow provider must not keep a user from signing out here. */
const discoveryTimeoutMs = 2000
// Servers refuse longer URLs, and the user would see an error page in place of a question.
const maxUrlLength = 4096

/**
 * @returns `undefined` also if the provider is down, was disabled or removed, or is configured for a local logout only, or if the
 * database is unavailable
 */
export async function findProviderLogout(
  session: { portal: string; signedInVia: SignedInVia },
  table: ProvidersTable,
  connectedProviders: ConnectedProviders,
): Promise<ProviderLogout | undefined> {
  const search = find(session, table, connectedProviders)
  return await withTimeout(discoveryTimeoutMs, search).catch(() => undefined)
}

async function find(
  { portal, signedInVia }: { portal: string; signedInVia: SignedInVia },
  table: ProvidersTable,
  connectedProviders: ConnectedProviders,
): Promise<ProviderLogout | undefined> {
  const provider = await table.find(portal, signedInVia.provider)
  if (!provider?.enabled || provider.logout === 'portal') return undefined
  // Another provider may have the slug now, and the hint is an ID token: it is only for its own issuer.
  if (!isIssuerOf(provider, signedInVia.issuer)) return undefined
  const { metadata } = await connectedProviders.connect(provider).client()
  const { end_session_endpoint } = metadata
  return end_session_endpoint === undefined
    ? undefined
    : { provider, endpoint: new URL(end_session_endpoint) }
}

/** The URL of the logout request (section 2). */
export function logoutUrl(
  { provider, endpoint }: ProviderLogout,
  { logoutHint, returnUri, state }: { logoutHint: string | undefined; returnUri: string; state: string },
): string {
  const url = new URL(endpoint)
  url.hash = ''
  url.searchParams.set('client_id', provider.clientId)
  url.searchParams.set('post_logout_redirect_uri', returnUri)
  url.searchParams.set('state', state)
  const withoutHint = url.href
  if (!logoutHint) return withoutHint
  url.searchParams.set('id_token_hint', logoutHint)
  return url.href.length > maxUrlLength ? withoutHint : url.href
}
