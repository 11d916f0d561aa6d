import { isActive, type User } from '../users/user-directory.ts'

/** How a sign-in with an identity continues. */
export type Decision =
  /** linked before */
  | { kind: 'sign-in'; user: User }
  /** a user has the trusted address, or (`relinked`) the same Entra account under another subject */
  | { kind: 'link'; user: User; relinked?: true }
  /** no address is trusted: the user has to prove one */
  | { kind: 'verify-email' }
  /** the address is trusted, and new */
  | { kind: 'register'; email: string }
  | { kind: 'refuse'; reason: 'user_inactive' | 'registration_closed' }

export interface DecisionInput {
  /** trusted: the provider vouches for it, or the user proved it by a code */
  address: string | undefined
  /** the user that the identity is linked to */
  linkedUser: User | undefined
  /** the user who has the same Entra account under another subject */
  relinkedUser?: User | undefined
  userWithAddress: User | undefined
  /** whether a new user may register */
  registrationOpen: boolean
}

/** Pure, so that every way into the portal can be read, and tested, in one place. */
export function decide({
  address,
  linkedUser,
  relinkedUser,
  userWithAddress,
  registrationOpen,
}: DecisionInput): Decision {
  if (linkedUser) return unlessInactive({ kind: 'sign-in', user: linkedUser })
  // Before any address, because addresses can change hands.
  if (relinkedUser) return unlessInactive({ kind: 'link', user: relinkedUser, relinked: true })
  // At many providers an attacker can enter any address (nOAuth). It must not link, nor register an account that its owner
  // would sign in to later. The result is the same whether the portal has a user with it or not.
  if (address === undefined) return { kind: 'verify-email' }
  if (userWithAddress) return unlessInactive({ kind: 'link', user: userWithAddress })
  return registrationOpen
    ? { kind: 'register', email: address }
    : { kind: 'refuse', reason: 'registration_closed' }
}

function unlessInactive(decision: Decision & { user: User }): Decision {
  return isActive(decision.user) ? decision : { kind: 'refuse', reason: 'user_inactive' }
}
