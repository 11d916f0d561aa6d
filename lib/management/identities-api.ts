import { type ActOptions, resolveActOptions } from '../shared/act-options.ts'
import { ManagementError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
import type { BlockedIdentity } from '../users/blocked-identities-table.ts'
import type { LinkedIdentity } from '../users/identities-table.ts'
import type { Users } from '../users/users.ts'
import type { ManagementContext } from './context.ts'

const linkIdPattern = /^[\da-f-]{36}$/

/** The identities that are linked to users, and those that must not be linked through an e-mail address. */
export class IdentitiesApi {
  readonly #context: ManagementContext
  readonly #users: Users
  readonly #portal: string

  /** @internal */
  constructor(context: ManagementContext, users: Users, portal = 'default') {
    this.#context = context
    this.#users = users
    this.#portal = portal
  }

  /** Returns the linked identities of a user, newest first. */
  async list(userId: string, options: ActOptions = {}): Promise<LinkedIdentity[]> {
    return await this.#users.identities.listOf(this.#portalOf(options), userId)
  }

  /** Returns the identities that wait for an administrator, are kept separate, or were removed by the user; newest first. */
  async listBlocked(userId: string, options: ActOptions = {}): Promise<BlockedIdentity[]> {
    return await this.#users.blocked.listOf(this.#portalOf(options), userId)
  }

  /**
   * Accepts a new account as the same person: it replaces all identities that the user has at its issuer, and their sessions end.
   * Do so only if you know that the address has not got a new owner.
   *
   * @param id of a blocked identity
   * @throws ManagementError `not_found` without such an identity; `conflict` if it is linked to a user by now, or was removed
   *   by the user
   */
  async accept(id: string, options: ActOptions = {}): Promise<void> {
    const { portal, actor } = resolveActOptions(options, this.#portal)
    const { userId, providerId, issuer, subject, email, entra, reason } = await this.#get(id, portal)
    if (reason === 'removed')
      throw new ManagementError('conflict', phrase('this account was removed: allow it instead'))
    if (await this.#users.identities.findUserId(portal, { issuer, subject }))
      throw new ManagementError('conflict', phrase('this account is linked to a user by now'))
    await this.#users.identities.replace({ portal, userId, providerId, issuer, subject, email, entra })
    const provider = await this.#slugOf(providerId, portal)
    await this.#context.events.record({ kind: 'identity-replaced', portal, userId, provider, actor })
  }

  /**
   * Decides that a waiting account belongs to another person. It is never linked through the address.
   *
   * @throws ManagementError `not_found` without such a waiting identity
   */
  async keepSeparate(id: string, options: ActOptions = {}): Promise<void> {
    const { portal, actor } = resolveActOptions(options, this.#portal)
    const blocked = await this.#get(id, portal)
    if (!(await this.#users.blocked.keepSeparate(portal, id))) throw notFound(id)
    await this.#recordBlock(blocked, actor, 'separate')
  }

  /**
   * Deletes a block, such as of a method that its user removed: the e-mail address may link it again.
   *
   * @throws ManagementError `not_found` without such an identity
   */
  async allow(id: string, options: ActOptions = {}): Promise<void> {
    const { portal, actor } = resolveActOptions(options, this.#portal)
    const blocked = await this.#get(id, portal)
    await this.#users.blocked.unblock(portal, blocked.userId, blocked)
    await this.#recordBlock(blocked, actor, 'allowed')
  }

  /**
   * Unlinks an identity of a user, with all links of the same Entra account, also the last one. Its sessions end. The e-mail address
   * does not link it again, until `allow`.
   *
   * @param userId the identity must be theirs
   * @param id of a linked identity
   * @throws ManagementError `not_found` if the user has no such identity
   */
  async unlink(userId: string, id: string, options: ActOptions = {}): Promise<void> {
    const { portal, actor } = resolveActOptions(options, this.#portal)
    const unlinked = linkIdPattern.test(id) ? await this.#users.identities.unlink(portal, userId, id) : 'gone'
    if (typeof unlinked === 'string')
      throw new ManagementError('not_found', phrase('the user has no linked identity "{{id}}"', { id }))
    const { identity, subjects } = unlinked
    const { issuer, providerId } = identity
    // A sign-in that is under way finds no link when it reads it again, and ends itself.
    for (const subject of subjects) await this.#context.sessions.endAll({ portal, issuer, subject })
    const provider = await this.#slugOf(providerId, portal)
    await this.#context.events.record({ kind: 'unlinked', portal, userId, provider, actor })
  }

  async #get(id: string, portal: string): Promise<BlockedIdentity> {
    // Another text never reaches the database: PostgreSQL fails on a NUL.
    const blocked = linkIdPattern.test(id) ? await this.#users.blocked.get(portal, id) : undefined
    if (!blocked) throw notFound(id)
    return blocked
  }

  async #recordBlock(
    { portal, userId, providerId }: BlockedIdentity,
    actor: string,
    reason: 'separate' | 'allowed',
  ): Promise<void> {
    const provider = await this.#slugOf(providerId, portal)
    const detail = { reason }
    await this.#context.events.record({ kind: 'identity-blocked', portal, userId, provider, actor, detail })
  }

  async #slugOf(providerId: string, portal: string): Promise<string | undefined> {
    const [provider] = await this.#context.providersTable.list(portal, { ids: [providerId] })
    return provider?.slug
  }

  #portalOf(options: ActOptions): string {
    return resolveActOptions(options, this.#portal).portal
  }
}

function notFound(id: string): ManagementError {
  return new ManagementError('not_found', phrase('there is no blocked identity "{{id}}"', { id }))
}
