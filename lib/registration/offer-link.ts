import type { OfferLink } from '../sign-in/admit.ts'
import type { Addresses } from '../web/addresses.ts'
import type { PendingRegistrations } from './pending-registration.ts'

/**
 * After a sign-in that was begun from the proof pages. Somebody may have started a registration on a shared machine and
 * walked away: an ordinary sign-in there carries no id and offers nothing, and this one does not link yet, it asks.
 */
export function createOfferLink(pendings: PendingRegistrations, addresses: Addresses): OfferLink {
  return async (req, res, { portal, user, proving }) => {
    if (proving === undefined) return undefined
    const pending = await pendings.find(req, portal)
    // What somebody who was signed in asked for is theirs alone.
    if (pending?.id !== proving || pending.asked) return undefined
    await pendings.keep(res, { ...pending, provenBy: String(user.id) })
    return addresses.path('/register/link')
  }
}
