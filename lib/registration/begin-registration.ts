import type { BeginRegistration } from '../sign-in/provider-router.ts'
import type { Addresses } from '../web/addresses.ts'
import type { PendingRegistrations } from './pending-registration.ts'

/** Takes a person over from the sign-in: who they are goes into a sealed cookie, they to the step that is due. */
export function createBeginRegistration(
  pendings: PendingRegistrations,
  addresses: Addresses,
): BeginRegistration {
  return async (_req, res, { provider, identity, returnTo }) => {
    const { id: providerId, portal, slug, version } = provider
    await pendings.begin(res, { portal, provider: slug, providerId, version, identity, returnTo })
    res.redirect(303, addresses.path('/register'))
  }
}
