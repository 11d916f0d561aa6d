import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { SignedInVia } from '../sessions/session-data.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import type { ProviderClients } from '../sign-in/connected-providers.ts'

/** Where a provider signs people out (OpenID Connect RP-Initiated Logout 1.0). */
export interface ProviderLogout {
  provider: Provider
  /** `end_session_endpoint`, as discovery checked it */
  endpoint: URL
}

export interface ProviderLogoutParts {
  clients: ProviderClients
  table: ProvidersTable
}

/** milliseconds: nobody is kept from signing out here because it takes long to learn where to sign out there */
const patience = 2000

/**
 * Finds where the provider that somebody came in by signs them out.
 *
 * @returns `undefined` also when the provider is for signing out here only, is down, was disabled or removed, or the database is away
 */
export type FindProviderLogout = (
  portal: string,
  signedInVia: SignedInVia,
) => Promise<ProviderLogout | undefined>

export function createFindProviderLogout({ clients, table }: ProviderLogoutParts): FindProviderLogout {
  async function find(portal: string, signedInVia: SignedInVia): Promise<ProviderLogout | undefined> {
    const provider = await table.find(portal, signedInVia.provider)
    // The slug may be another provider's by now, and the hint is an ID token: for its own issuer only.
    if (!provider?.enabled || provider.logout === 'portal') return undefined
    if (!isIssuerOf(provider, signedInVia.issuer)) return undefined
    const { metadata } = await clients.of(provider)
    const { end_session_endpoint } = metadata
    return end_session_endpoint === undefined
      ? undefined
      : { provider, endpoint: new URL(end_session_endpoint) }
  }
  return async (portal, signedInVia) =>
    await withTimeout(patience, find(portal, signedInVia)).catch(() => undefined)
}

// Servers refuse longer ones, and the person would stand before an error page instead of a question.
const longestAddress = 4096

/** The logout request (2.): the person's browser takes it to the provider. */
export function logoutRequest(
  { provider, endpoint }: ProviderLogout,
  { logoutHint, returnUri, state }: { logoutHint: string | undefined; returnUri: string; state: string },
): string {
  const url = new URL(endpoint)
  url.hash = ''
  url.searchParams.set('client_id', provider.clientId)
  url.searchParams.set('post_logout_redirect_uri', returnUri)
  url.searchParams.set('state', state)
  const plain = url.href
  if (!logoutHint) return plain
  url.searchParams.set('id_token_hint', logoutHint)
  return url.href.length > longestAddress ? plain : url.href
}
