import { isActive, type User } from '../users/user-directory.ts'
import type { Identity } from './identity.ts'

/** What is to happen with an identity. */
export type Turn =
  /** linked before: sign in */
  | { turn: 'known'; user: User }
  /** the provider vouches for the address of a user: link, sign in */
  | { turn: 'link'; user: User }
  /** nobody vouches for the address: the person has to prove it */
  | { turn: 'prove' }
  /** the address is new, and vouched for: registration form */
  | { turn: 'register'; email: string }
  | { turn: 'refuse'; reason: 'user_inactive' | 'registration_closed' }

export interface Known {
  identity: Pick<Identity, 'email' | 'emailVouched'>
  /** whom the identity is linked to */
  linkedUser: User | undefined
  /** who has its address */
  userWithEmail: User | undefined
  /** whether a new person may register */
  registrationOpen: boolean
}

/** Pure, so that every road into the portal can be read, and tested, in one place. */
export function decide({ identity, linkedUser, userWithEmail, registrationOpen }: Known): Turn {
  if (linkedUser) return admit('known', linkedUser)
  const { email, emailVouched } = identity
  // Never a link on an address that nobody vouches for: at many providers anybody can enter anybody's (nOAuth). And never
  // a registration with one, which its owner would walk into later. Known or not, the answer is the same.
  if (email === undefined || !emailVouched) return { turn: 'prove' }
  if (userWithEmail) return admit('link', userWithEmail)
  return registrationOpen ? { turn: 'register', email } : { turn: 'refuse', reason: 'registration_closed' }
}

function admit(turn: 'known' | 'link', user: User): Turn {
  return isActive(user) ? { turn, user } : { turn: 'refuse', reason: 'user_inactive' }
}
