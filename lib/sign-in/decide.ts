import { type Identity, trustedEmail } from '../oidc/identity.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import { isActive, type User, type UserDirectory } from '../users/user-directory.ts'

/** What is to happen with an identity. */
export type Decision =
  /** linked before: sign in */
  | { turn: 'known'; user: User }
  /** the address, which is certain, is that of a user; or `relinked`: the user has the same Entra account: link, sign in */
  | { turn: 'link'; user: User; relinked?: true }
  /** no address is certain: the person has to prove one */
  | { turn: 'prove' }
  /** the address is certain, and new: registration form */
  | { turn: 'register'; email: string }
  | { turn: 'refuse'; reason: 'user_inactive' | 'registration_closed' }

export interface DecisionInput {
  /** the one that is certain: the provider vouches for it, or the person proved it by a code */
  address: string | undefined
  /** whom the identity is linked to */
  linkedUser: User | undefined
  /** the user who has the same Entra account under another subject */
  relinkedUser?: User | undefined
  /** who has the address */
  userWithAddress: User | undefined
  /** whether a new person may register */
  registrationOpen: boolean
}

/** Pure, so that every road into the portal can be read, and tested, in one place. */
export function decide({
  address,
  linkedUser,
  relinkedUser,
  userWithAddress,
  registrationOpen,
}: DecisionInput): Decision {
  if (linkedUser) return unlessInactive('known', linkedUser)
  // Before any address: those can change hands.
  if (relinkedUser) return unlessInactive('link', relinkedUser, { relinked: true })
  // Never a link on an address that nobody vouches for: at many providers anybody can enter anybody's (nOAuth). And never
  // a registration with one, which its owner would walk into later. Known or not, the answer is the same.
  if (address === undefined) return { turn: 'prove' }
  if (userWithAddress) return unlessInactive('link', userWithAddress)
  return registrationOpen
    ? { turn: 'register', email: address }
    : { turn: 'refuse', reason: 'registration_closed' }
}

function unlessInactive(turn: 'known' | 'link', user: User, how: { relinked?: true } = {}): Decision {
  return isActive(user) ? { turn, user, ...how } : { turn: 'refuse', reason: 'user_inactive' }
}

/**
 * Who may register. `open`: every user with a verified e-mail address. `closed`: nobody. A function decides for each identity,
 * whose `email` is the verified address; only the value `true` admits the user.
 */
export type RegistrationPolicy =
  | 'open'
  | 'closed'
  | ((identity: Identity, portal: string) => boolean | Promise<boolean>)

export interface ResolvedIdentity {
  turn: Decision
  /** a user that the identity is still linked to but who exists no more */
  gone: string | undefined
}

export interface ResolveIdentityParts {
  identities: IdentitiesTable
  users: UserDirectory
  registration: RegistrationPolicy
}

/**
 * Asks the tables what they know of an identity, and decides.
 *
 * @param proven address that the person proved by a code
 */
export type ResolveIdentity = (
  identity: Identity,
  portal: string,
  proven?: string,
) => Promise<ResolvedIdentity>

export function createResolveIdentity({
  identities,
  users,
  registration,
}: ResolveIdentityParts): ResolveIdentity {
  return async (identity, portal, proven) => {
    const linkedId = await identities.findUserId(portal, identity)
    const linkedUser = linkedId === undefined ? undefined : await users.findById(linkedId, portal)
    // A linked subject is never relinked, even if its user was deleted.
    const relinkedUser =
      linkedId === undefined ? await findEntraUser(identity, portal, { identities, users }) : undefined
    const address = trustedEmail(identity, proven)
    // No table is asked about an address before it is certain: so neither what a page says nor how long it takes can tell
    // who has an account here.
    const userWithAddress =
      linkedUser || relinkedUser || address === undefined
        ? undefined
        : await findByAddress(users, address, portal)
    const mayBeNew = !linkedUser && !relinkedUser && !userWithAddress && address !== undefined
    const registrationOpen =
      mayBeNew && (await mayRegister(registration, { ...identity, email: address }, portal))
    return {
      turn: decide({ address, linkedUser, relinkedUser, userWithAddress, registrationOpen }),
      gone: linkedUser ? undefined : linkedId,
    }
  }
}

/**
 * Both ids come from a token that the issuer signed, and they are compared within that issuer, which names the tenant: an attacker
 * in another tenant cannot present them. If several users have the account, or the user was deleted, nothing is found.
 */
export async function findEntraUser(
  { issuer, entra }: Identity,
  portal: string,
  { identities, users }: Pick<ResolveIdentityParts, 'identities' | 'users'>,
): Promise<User | undefined> {
  if (!entra) return undefined
  const [userId, other] = await identities.findUserIdsByEntra(portal, issuer, entra)
  return userId === undefined || other !== undefined ? undefined : await users.findById(userId, portal)
}

/** A host's database that compares loosely (collations) would hand over the account of a look-alike. */
async function findByAddress(users: UserDirectory, address: string, portal: string) {
  const found = await users.findByEmail(address, portal)
  return found && normaliseEmail(found.email) === address ? found : undefined
}

async function mayRegister(policy: RegistrationPolicy, identity: Identity, portal: string): Promise<boolean> {
  // Only `true` opens: a host's function may answer with something else that is truthy.
  return typeof policy === 'function' ? (await policy(identity, portal)) === true : policy === 'open'
}
