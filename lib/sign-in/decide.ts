import { isActive, type User } from '../users/user-directory.ts'

/** What is to happen with an identity. */
export type Turn =
  /** linked before: sign in */
  | { turn: 'known'; user: User }
  /** the address, which is certain, is that of a user: link, sign in */
  | { turn: 'link'; user: User }
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
  /** who has the address */
  userWithAddress: User | undefined
  /** whether a new person may register */
  registrationOpen: boolean
}

/** Pure, so that every road into the portal can be read, and tested, in one place. */
export function decide({ address, linkedUser, userWithAddress, registrationOpen }: Known): Turn {
  if (linkedUser) return admit('known', linkedUser)
  // Never a link on an address that nobody vouches for: at many providers anybody can enter anybody's (nOAuth). And never
  // a registration with one, which its owner would walk into later. Known or not, the answer is the same.
  if (address === undefined) return { turn: 'prove' }
  if (userWithAddress) return admit('link', userWithAddress)
  return registrationOpen
    ? { turn: 'register', email: address }
    : { turn: 'refuse', reason: 'registration_closed' }
}

function admit(turn: 'known' | 'link', user: User): Turn {
  return isActive(user) ? { turn, user } : { turn: 'refuse', reason: 'user_inactive' }
}
