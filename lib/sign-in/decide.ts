import { isActive, type User } from '../users/user-directory.ts'

/** What is to happen with an identity. */
export type Turn =
  /** linked before: sign in */
  | { turn: 'known'; user: User }
  /** the address, which is certain, is that of a user; or the person was found `again` under a new subject: link, sign in */
  | { turn: 'link'; user: User; again?: true }
  /** no address is certain: the person has to prove one */
  | { turn: 'prove' }
  /** the address is certain, and new: registration form */
  | { turn: 'register'; email: string }
  | { turn: 'refuse'; reason: 'user_inactive' | 'registration_closed' }

export interface Known {
  /** the one that is certain: the provider vouches for it, or the person proved it by a code */
  address: string | undefined
  /** whom the identity is linked to */
  linkedUser: User | undefined
  /** who the identity was before its provider gave out new subjects, while an administrator has people found again */
  reboundUser?: User | undefined
  /** who has the address */
  userWithAddress: User | undefined
  /** whether a new person may register */
  registrationOpen: boolean
}

/** Pure, so that every road into the portal can be read, and tested, in one place. */
export function decide({ address, linkedUser, reboundUser, userWithAddress, registrationOpen }: Known): Turn {
  if (linkedUser) return admit('known', linkedUser)
  // Before any address: those can change hands.
  if (reboundUser) return admit('link', reboundUser, { again: true })
  // Never a link on an address that nobody vouches for: at many providers anybody can enter anybody's (nOAuth). And never
  // a registration with one, which its owner would walk into later. Known or not, the answer is the same.
  if (address === undefined) return { turn: 'prove' }
  if (userWithAddress) return admit('link', userWithAddress)
  return registrationOpen
    ? { turn: 'register', email: address }
    : { turn: 'refuse', reason: 'registration_closed' }
}

function admit(turn: 'known' | 'link', user: User, how: { again?: true } = {}): Turn {
  return isActive(user) ? { turn, user, ...how } : { turn: 'refuse', reason: 'user_inactive' }
}
