import { type Identity, trustedEmail } from '../oidc/identity.ts'
import type { Provider } from '../providers/provider.ts'
import type { BlockedIdentity, BlockReason } from '../users/blocked-identities-table.ts'
import { normaliseEmail } from '../users/email-address.ts'
import { addressOf, isActive, type LinkedUser, type Subject, type User } from '../users/user-directory.ts'
import type { Users } from '../users/users.ts'

/** How a sign-in with an identity continues. */
export type Decision =
  /** linked before */
  | { kind: 'sign-in'; user: User; proof: Proof }
  /**
   * a user has the trusted address, or (`relinked`) the same Entra account under another subject; `replaces`: the provider issued
   * new subjects, and this one replaces the user's earlier identity
   */
  | { kind: 'link'; user: User; relinked?: true; replaces?: true; proof: Proof }
  /** the address belongs to a user who has another account of the issuer: it may have a new owner, so only a sign-in proves them */
  | { kind: 'prove-account'; user: User }
  /** no address is trusted: the user has to prove one */
  | { kind: 'verify-email' }
  /** the address is trusted, and new */
  | { kind: 'register'; email: string }
  | { kind: 'refuse'; reason: 'user_inactive' | 'registration_closed' | 'method_removed' }

/** Whether the user's address is proven: for the first time for this link (`new`), before (`earlier`), or not at all. */
export type Proof = 'new' | 'earlier' | 'none'

export interface DecisionInput {
  /** trusted: the provider vouches for it, or the user proved it by a code */
  address: string | undefined
  /** the user that the identity is linked to */
  linkedUser: User | undefined
  /** the user who has the same Entra account under another subject */
  relinkedUser?: User | undefined
  /** addresses that are proven for the link by which `linkedUser` or `relinkedUser` was found */
  provenEmails?: readonly string[] | undefined
  userWithAddress: User | undefined
  /** whether the user whom it would sign in has removed this sign-in method, or any user unless another one has the trusted address */
  isRemoved?: boolean | undefined
  /**
   * `other`: `userWithAddress` has another account of the issuer. `replaceable`: the same, but the provider issued new subjects and
   * vouches for the address.
   */
  earlierIdentity?: 'other' | 'replaceable' | undefined
  /** whether a new user may register */
  registrationOpen: boolean
}

const inactive: Decision = { kind: 'refuse', reason: 'user_inactive' }

/** Pure, so that every way into the portal can be read, and tested, in one place. */
export function decide(input: DecisionInput): Decision {
  const { address, linkedUser, relinkedUser, userWithAddress, earlierIdentity, registrationOpen } = input
  if (linkedUser)
    return isActive(linkedUser)
      ? { kind: 'sign-in', user: linkedUser, proof: proofFor(linkedUser, input) }
      : inactive
  // The next click would otherwise link it again, through the address.
  if (input.isRemoved) return { kind: 'refuse', reason: 'method_removed' }
  // Before any address, because addresses can change hands.
  if (relinkedUser) {
    const proof = proofFor(relinkedUser, input)
    return isActive(relinkedUser) ? { kind: 'link', user: relinkedUser, relinked: true, proof } : inactive
  }
  // At many providers an attacker can enter any address (nOAuth). It must not link, nor register an account that its owner
  // would sign in to later. The result is the same whether the portal has a user with it or not.
  if (address === undefined) return { kind: 'verify-email' }
  if (userWithAddress) {
    if (!isActive(userWithAddress)) return inactive
    // A new employee may have got the address of a former one: neither the provider nor a code proves whose account it is.
    if (earlierIdentity === 'other') return { kind: 'prove-account', user: userWithAddress }
    const replaces = earlierIdentity === 'replaceable' && ({ replaces: true } as const)
    return { kind: 'link', user: userWithAddress, proof: 'new', ...replaces }
  }
  return registrationOpen
    ? { kind: 'register', email: address }
    : { kind: 'refuse', reason: 'registration_closed' }
}

function proofFor(user: User, { address, provenEmails = [] }: DecisionInput): Proof {
  const own = addressOf(user)
  if (provenEmails.includes(own)) return 'earlier'
  return address !== undefined && address === own ? 'new' : 'none'
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
  /** completed, unless it is linked */
  identity: Identity
  /** a deleted user that the identity is still linked to */
  staleUserId: string | undefined
}

/** Asks the tables about an identity, and decides. */
export class IdentityResolver {
  readonly #users: Users
  readonly #registration: RegistrationPolicy
  readonly #endsUnproven: boolean

  constructor(users: Users, registration: RegistrationPolicy, endsUnproven: boolean) {
    this.#users = users
    this.#registration = registration
    this.#endsUnproven = endsUnproven
  }

  /**
   * @param given.provenEmail address that the user proved by a code
   * @param given.complete adds the address. Not called for a link whose address is proven: no claim can change the decision.
   */
  async resolve(
    given: Identity,
    provider: Provider,
    { provenEmail, complete }: { provenEmail?: string | undefined; complete?: () => Promise<Identity> } = {},
  ): Promise<ResolvedIdentity> {
    const linked = await this.#users.findLinked(provider.portal, given)
    const isProven = linked?.user && linked.provenEmails.includes(addressOf(linked.user))
    const identity = complete && !isProven ? await complete() : given
    const address = trustedEmail(identity, provenEmail)
    const { staleUserId, ...facts } = await this.#gatherFacts(identity, provider, address, linked)
    return { decision: decide(facts), identity, staleUserId }
  }

  async #gatherFacts(
    identity: Identity,
    provider: Provider,
    address: string | undefined,
    linked: LinkedUser | undefined,
  ): Promise<DecisionInput & { staleUserId: string | undefined }> {
    const { portal } = provider
    const nobody = { linkedUser: undefined, userWithAddress: undefined, registrationOpen: false }
    const facts = { ...nobody, address, staleUserId: linked?.user ? undefined : linked?.userId }
    if (linked?.user) return { ...facts, linkedUser: linked.user, provenEmails: linked.provenEmails }
    const blocks = await this.#blocksOf(identity, portal)
    const isRemovedBy = (user: User) => hasBlock(blocks, user, 'removed')
    // A linked subject is never relinked, even if its user was deleted.
    const relinked = linked ? undefined : await this.#findEntraLink(identity, portal)
    if (relinked?.user) {
      const { user, provenEmails } = relinked
      return { ...facts, relinkedUser: user, provenEmails, isRemoved: isRemovedBy(user) }
    }
    // No table is queried for an address before it is trusted: neither a page nor its timing may reveal who has an account.
    const isRemoved = blocks.some(({ reason }) => reason === 'removed')
    if (address === undefined) return { ...facts, isRemoved }
    const user = await this.#findByAddress(address, portal)
    if (!user) {
      const registrationOpen = await this.#mayRegister({ ...identity, email: address }, portal)
      return { ...facts, isRemoved, registrationOpen }
    }
    const state = { isBlocked: hasBlock(blocks, user, 'waiting', 'separate'), isNew: !linked }
    const earlierIdentity = await this.#findEarlierIdentity(identity, provider, user, state)
    return { ...facts, userWithAddress: user, isRemoved: isRemovedBy(user), earlierIdentity }
  }

  /** Blocks of users who still exist: those of a deleted user must not lock the person out for good. */
  async #blocksOf(identity: Identity, portal: string): Promise<BlockedIdentity[]> {
    const existing: BlockedIdentity[] = []
    for (const block of await this.#users.blocked.find(portal, identity))
      if (await this.#users.findById(block.userId, portal)) existing.push(block)
    return existing
  }

  /** Also an identity that the user removed since: removing it must not open the account to the new owner of the address. */
  async #findEarlierIdentity(
    { issuer, subject, emailTrusted }: Identity,
    { portal, relinkSince, relinkUntil }: Provider,
    user: User,
    { isBlocked, isNew }: { isBlocked: boolean; isNew: boolean },
  ): Promise<DecisionInput['earlierIdentity']> {
    const userId = String(user.id)
    const isEarlier = (each: Subject) => each.issuer === issuer && each.subject !== subject
    const linked = (await this.#users.identities.listOf(portal, userId)).filter(isEarlier)
    // An unproven one may be an attacker's, who registered the address first. The proof of the address removes it.
    const own = addressOf(user)
    const earlier = linked.filter(({ provenEmail }) => !this.#endsUnproven || provenEmail === own)
    const isOpen =
      emailTrusted &&
      isNew &&
      earlier.length > 0 &&
      relinkSince !== undefined &&
      relinkUntil !== undefined &&
      relinkUntil > new Date().toISOString() &&
      // Each identity is replaced once, so that two subjects cannot take the account from each other in turn.
      earlier.every(({ linkedAt }) => linkedAt < relinkSince)
    if (isOpen) return 'replaceable'
    if (isBlocked || earlier.length > 0) return 'other'
    const removed = await this.#users.blocked.listOf(portal, userId)
    return removed.some((each) => each.reason === 'removed' && isEarlier(each)) ? 'other' : undefined
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
  async findEntraUser(identity: Identity, portal: string): Promise<User | undefined> {
    return (await this.#findEntraLink(identity, portal))?.user
  }

  async #findEntraLink({ issuer, entra }: Identity, portal: string): Promise<LinkedUser | undefined> {
    const link = entra && (await this.#users.identities.findLinkByEntra(portal, issuer, entra))
    return link && { ...link, user: await this.#users.findById(link.userId, portal) }
  }
}

function hasBlock(blocks: readonly BlockedIdentity[], { id }: User, ...reasons: BlockReason[]): boolean {
  return blocks.some(({ userId, reason }) => userId === String(id) && reasons.includes(reason))
}
