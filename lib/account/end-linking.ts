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
 * Nothing is linked yet. The provider may have answered with an account that somebody else left signed in there, who would from
 * then on come in as this person: so the page that asks after every proof by a sign-in says whose it is, and waits for a yes.
 */
export function createEndLinking({ addresses, identities, pendings, users }: EndLinkingParts): EndLinking {
  const account = addresses.path('/account/security')
  return async (req, res, { provider, identity, linking }) => {
    const { id: providerId, portal, slug, version } = provider
    if (!req.user || String((req.user as User).id) !== linking)
      throw new PortalSsoError('attempt_gone', 'who began to link is not the one who is signed in here now')
    const linkedTo = await identities.findUserId(portal, identity)
    if (linkedTo === linking) return res.redirect(303, addresses.path('/account/security', { said: 'known' }))
    if (linkedTo !== undefined && (await users.findById(linkedTo, portal)))
      throw new PortalSsoError('identity_taken', 'the identity is linked to another user')
    const asked = { identity, returnTo: account, provenBy: linking, asked: true }
    await pendings.begin(res, { portal, provider: slug, providerId, version, ...asked })
    res.redirect(303, addresses.path('/register/link'))
  }
}
