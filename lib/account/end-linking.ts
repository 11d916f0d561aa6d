import { PortalSsoError } from '../errors.ts'
import type { PendingRegistrations } from '../registration/pending-registration.ts'
import type { EndLinking } from '../sign-in/provider-router.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { User, UserDirectory } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'

export interface EndLinkingParts {
  addresses: Addresses
  identities: IdentitiesTable
  pendings: PendingRegistrations
  users: UserDirectory
}

/**
 * The answer to who links another provider. The session has to be that user's still: what one begins is worth nothing to the next
 * who sits there. Nothing is linked yet, for the provider may have answered with whomever it knew on a shared machine, who would
 * from then on come in as this person: `/register/link` asks.
 */
export function createEndLinking({ addresses, identities, pendings, users }: EndLinkingParts): EndLinking {
  return async (req, res, { provider, identity, linking }) => {
    if (String((req.user as User | undefined)?.id) !== linking)
      throw new PortalSsoError('attempt_gone', 'the user who began to link is not signed in here (any more)')
    const { id: providerId, portal, slug, version } = provider
    const linkedTo = await identities.findUserId(portal, identity)
    if (linkedTo === linking)
      return res.redirect(303, addresses.path('/account/security', { done: 'already' }))
    // A link to a user who is gone is replaced.
    if (linkedTo !== undefined && (await users.findById(linkedTo, portal)))
      throw new PortalSsoError('identity_taken', 'the identity is linked to another user')
    await pendings.begin(res, {
      portal,
      provider: slug,
      providerId,
      version,
      identity,
      provenBy: linking,
      linking: true,
    })
    res.redirect(303, addresses.path('/register/link'))
  }
}
