import { type Identity, trustedEmail } from '../oidc/identity.ts'
import { normaliseEmail } from '../users/email-address.ts'
import { isActive, type User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'

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

const inactive: Decision = { kind: 'refuse', reason: 'user_inactive' }

/** Pure, so that every way into the portal can be read, and tested, in one place. */
export function decide({
  address,
  linkedUser,
  relinkedUser,
  userWithAddress,
  registrationOpen,
}: DecisionInput): Decision {
  if (linkedUser) return isActive(linkedUser) ? { kind: 'sign-in', user: linkedUser } : inactive
  // Before any address, because addresses can change hands.
  if (relinkedUser)
    return isActive(relinkedUser) ? { kind: 'link', user: relinkedUser, relinked: true } : inactive
  // At many providers an attacker can enter any address (nOAuth). It must not link, nor register an account that its owner
  // would sign in to later. The result is the same whether the portal has a user with it or not.
  if (address === undefined) return { kind: 'verify-email' }
  if (userWithAddress) return isActive(userWithAddress) ? { kind: 'link', user: userWithAddress } : inactive
  return registrationOpen
    ? { kind: 'register', email: address }
    : { kind: 'refuse', reason: 'registration_closed' }
}

/**
 * Users who may register with a trusted address: all, none, or those that the host's function accepts. Its argument has the
 * trusted address as `email`, even if the provider claimed another one.
 */
export type RegistrationPolicy =
  | 'open'
  | 'closed'
  | ((identity: Identity, portal: string) => boolean | Promise<boolean>)

export interface ResolvedIdentity {
  decision: Decision
  /** a deleted user that the identity is still linked to */
  staleUserId: string | undefined
}

/** Asks the tables about an identity, and decides. */
export class IdentityResolver {
  readonly #users: Users
  readonly #registration: RegistrationPolicy

  constructor(users: Users, registration: RegistrationPolicy) {
    this.#users = users
    this.#registration = registration
  }

  /** @param provenEmail address that the user proved by a code */
  async resolve(identity: Identity, portal: string, provenEmail?: string): Promise<ResolvedIdentity> {
    const linked = await this.#users.findLinked(portal, identity)
    const facts: DecisionInput = {
      address: trustedEmail(identity, provenEmail),
      linkedUser: linked?.user,
      // A linked subject is never relinked, even if its user was deleted.
      relinkedUser: linked ? undefined : await this.findEntraUser(identity, portal),
      userWithAddress: undefined,
      registrationOpen: false,
    }
    const { address } = facts
    // No table is queried for an address before it is trusted: neither a page nor its timing may reveal who has an account.
    if (!facts.linkedUser && !facts.relinkedUser && address !== undefined) {
      facts.userWithAddress = await this.#findByAddress(address, portal)
      facts.registrationOpen =
        !facts.userWithAddress && (await this.#mayRegister({ ...identity, email: address }, portal))
    }
    return { decision: decide(facts), staleUserId: linked?.user ? undefined : linked?.userId }
  }

  /** A host's database that compares loosely (collations) would return the account of a look-alike address. */
  async #findByAddress(address: string, portal: string): Promise<User | undefined> {
    const user = await this.#users.findByEmail(address, portal)
    return user && normaliseEmail(user.email) === address ? user : undefined
  }

  async #mayRegister(identity: Identity, portal: string): Promise<boolean> {
    const policy = this.#registration
    // Only `true` admits: a host's function may return something else that is truthy.
    return typeof policy === 'function' ? (await policy(identity, portal)) === true : policy === 'open'
  }

  /**
   * The issuer signed both ids, and its name contains the tenant: an attacker in another tenant cannot present them. Finds nobody
   * if several users have the account, or the user was deleted.
   */
  async findEntraUser({ issuer, entra }: Identity, portal: string): Promise<User | undefined> {
    if (!entra) return undefined
    const [userId, other] = await this.#users.identities.findUserIdsByEntra(portal, issuer, entra)
    return userId === undefined || other !== undefined
      ? undefined
      : await this.#users.findById(userId, portal)
  }
}
