import type { Provider } from '../providers/provider.ts'
import type { User } from '../users/user-directory.ts'
import type { SignedIn } from './signed-in.ts'

/** How somebody came in; what the session needs to know of it later. */
export interface SignIn {
  user: User
  provider: Provider
  issuer: string
  subject: string
  /** the `sid` claim */
  providerSession?: string | undefined
  /** the ID token, for the provider's logout and nothing else */
  logoutHint?: string | undefined
  /** the `auth_time` claim, seconds since 1970 */
  authenticatedAt?: number | undefined
  /** the `acr` claim */
  acr?: string | undefined
}

/** What stands in the session of somebody who signs in now. @param signIn left out: the host signs them in */
export function signedInNow(portal: string, userId: string, signIn: SignIn | undefined): SignedIn {
  const now = Date.now()
  const common = { portalSso: 1, portal, userId, since: now } as const
  // Whom the host signs in has shown it who they are. A provider that says nothing of when has not.
  if (!signIn) return { ...common, authenticatedAt: now }
  const { provider, issuer, subject, providerSession, logoutHint, authenticatedAt, acr } = signIn
  return {
    ...common,
    provider: provider.slug,
    providerId: provider.id,
    issuer,
    subject,
    ...(providerSession !== undefined && { providerSession }),
    ...(logoutHint && { logoutHint }),
    ...(authenticatedAt !== undefined && { authenticatedAt: Math.min(authenticatedAt * 1000, now) }),
    ...(acr !== undefined && { acr }),
  }
}
