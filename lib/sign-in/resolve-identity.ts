import { type Identity, trustedEmail } from '../oidc/identity.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'
import { type Decision, type DecisionInput, decide } from './decide.ts'

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
    const { staleUserId, ...facts } = await this.#gatherFacts(identity, portal, provenEmail)
    return { decision: decide(facts), staleUserId }
  }

  async #gatherFacts(
    identity: Identity,
    portal: string,
    provenEmail: string | undefined,
  ): Promise<DecisionInput & { staleUserId: string | undefined }> {
    const linked = await this.#users.findLinked(portal, identity)
    const linkedUser = linked?.user
    const address = trustedEmail(identity, provenEmail)
    const facts = { address, linkedUser, staleUserId: linkedUser ? undefined : linked?.userId }
    const nobody = { userWithAddress: undefined, registrationOpen: false }
    if (linkedUser) return { ...facts, ...nobody }
    // A linked subject is never relinked, even if its user was deleted.
    const relinkedUser = linked ? undefined : await this.findEntraUser(identity, portal)
    // No table is queried for an address before it is trusted: neither a page nor its timing may reveal who has an account.
    if (relinkedUser || address === undefined) return { ...facts, ...nobody, relinkedUser }
    const userWithAddress = await this.#findByAddress(address, portal)
    const registrationOpen =
      !userWithAddress && (await this.#mayRegister({ ...identity, email: address }, portal))
    return { ...facts, userWithAddress, registrationOpen }
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
