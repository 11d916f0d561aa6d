import type { Knex } from 'knex'
import { inTransaction, isUniqueViolation } from '../database/connect.ts'
import { timeOrderedUuid } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import type { BlockedIdentitiesTable } from './blocked-identities-table.ts'
import type { EntraAccount, LinkedUser, ProviderAccount, Subject } from './user-directory.ts'

export interface Link extends ProviderAccount {
  readonly portal: string
  readonly userId: string
  readonly providerId: string
  readonly email: string | undefined
  /** created because another link has the same Entra account; default false */
  readonly relinked?: boolean | undefined
  /** the user's address, if it is proven for this link: by the provider, a code, or an earlier link */
  readonly provenEmail: string | undefined
}

/** An identity that is linked to a user. */
export interface LinkedIdentity extends Subject {
  /** Id of the link. */
  readonly id: string
  /** Id of the provider's row that the user last signed in with. */
  readonly providerId: string
  /** As the provider sent it, normalized. */
  readonly email: string | undefined
  /** Entra only. */
  readonly entra: EntraAccount | undefined
  /** ISO 8601. */
  readonly linkedAt: string
  /** ISO 8601. */
  readonly lastUsedAt: string
  /** The user's address, if it is proven for this link. */
  readonly provenEmail: string | undefined
}

type Row = Omit<LinkedIdentity, 'email' | 'entra' | 'provenEmail'> &
  Record<'email' | 'tenantId' | 'objectId' | 'provenEmail', string | null>

type LinkTarget = Omit<LinkedUser, 'user'>

/** The row of a provider whose relinking window is open. */
export interface RelinkWindow {
  readonly id: string
  readonly version: number
  /** ISO 8601 */
  readonly relinkSince?: string | undefined
}

export function isSameEntraAccount(one: LinkedIdentity, other: LinkedIdentity): boolean {
  return (
    one.entra !== undefined &&
    one.issuer === other.issuer &&
    one.entra.tenantId === other.entra?.tenantId &&
    one.entra.objectId === other.entra.objectId
  )
}

/** Links from identities at providers to users, `sso_identities`. */
export class IdentitiesTable {
  readonly #knex: Knex
  readonly #blocked: BlockedIdentitiesTable

  constructor({ knex }: Pick<Core, 'knex'>, blocked: BlockedIdentitiesTable) {
    this.#knex = knex
    this.#blocked = blocked
  }

  async listOf(portal: string, userId: string): Promise<LinkedIdentity[]> {
    const rows: Row[] = await identitiesOf(this.#knex, portal, userId)
    return rows.map(fromRow)
  }

  async findUserId(portal: string, subject: Subject): Promise<string | undefined> {
    return (await this.findLink(portal, subject))?.userId
  }

  async findLink(portal: string, { issuer, subject }: Subject): Promise<LinkTarget | undefined> {
    return linkTarget(await this.#rows().select('user_id', 'proven_email').where({ portal, issuer, subject }))
  }

  /** @returns whether this address of the user is proven for any link */
  async hasProvenLink(portal: string, userId: string, email: string): Promise<boolean> {
    const proven = { portal, user_id: userId, proven_email: email }
    return (await this.#rows().select('id').where(proven).first()) !== undefined
  }

  /** Records that the user's address is proven for a link. */
  async prove(portal: string, { issuer, subject }: Subject, email: string): Promise<void> {
    const proof = { proven_email: email, proven_at: new Date().toISOString() }
    await this.#rows().where({ portal, issuer, subject }).update(proof)
  }

  /** Removes the user's links without a proof of this address, except those of one account. @returns how many */
  async unlinkUnproven(
    portal: string,
    userId: string,
    email: string,
    kept: ProviderAccount,
  ): Promise<number> {
    const { issuer, subject, entra } = kept
    const links = this.#rows()
      .where({ portal, user_id: userId })
      .where((unproven) => unproven.whereNull('proven_email').orWhereNot('proven_email', email))
      .whereNot((same) => same.where({ issuer, subject }))
    if (entra)
      links.where((other) =>
        other
          .whereNull('object_id')
          .orWhereNot('object_id', entra.objectId)
          .orWhereNot('tenant_id', entra.tenantId),
      )
    return await links.delete()
  }

  /** @returns the user who has an Entra account under any subject; `undefined` also if several users have it */
  async findLinkByEntra(
    portal: string,
    issuer: string,
    { tenantId, objectId }: EntraAccount,
  ): Promise<LinkTarget | undefined> {
    const account = { portal, issuer, tenant_id: tenantId, object_id: objectId }
    return linkTarget(await this.#rows().distinct('user_id', 'proven_email').where(account))
  }

  /**
   * Links an identity, unless it is linked already.
   *
   * @param staleUserId a deleted user: a link to it is replaced
   * @returns the id of the linked user, perhaps of a concurrent call, and whether this call made the link
   */
  async link(link: Link, staleUserId?: string): Promise<{ userId: string; made: boolean }> {
    const { portal, userId, issuer, subject } = link
    if (staleUserId !== undefined)
      await this.#rows().where({ portal, issuer, subject, user_id: staleUserId }).delete()
    const now = new Date().toISOString()
    try {
      await this.#rows().insert({
        id: timeOrderedUuid(),
        portal,
        ...linkColumns(link, now),
        relinked_at: link.relinked ? now : null,
      })
      return { userId, made: true }
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      return { userId: (await this.findUserId(portal, { issuer, subject })) ?? userId, made: false }
    }
  }

  /**
   * Removes an identity with all links of the same Entra account, and blocks them: the e-mail address would bring them back at the
   * next sign-in. Refuses to remove the user's last sign-in method, also in concurrent calls on different instances.
   *
   * @param isUsable whether the user can still sign in with an identity, given everything that is linked. Omitted: an administrator
   *   may remove the last one
   * @returns the identity and every subject whose link was removed, or why nothing was removed
   */
  async unlink(
    portal: string,
    userId: string,
    id: string,
    isUsable?: (identity: LinkedIdentity, linked: readonly LinkedIdentity[]) => boolean,
  ): Promise<{ identity: LinkedIdentity; subjects: string[] } | 'last' | 'gone'> {
    return await inTransaction(this.#knex, async (transaction) => {
      // Concurrent calls wait here for this transaction (PostgreSQL; SQLite has one writer at a time).
      const rows: Row[] = await identitiesOf(transaction, portal, userId).forUpdate()
      const linked = rows.map(fromRow)
      const identity = linked.find((each) => each.id === id)
      if (!identity) return 'gone'
      const links = linked.filter((each) => each === identity || isSameEntraAccount(each, identity))
      if (isUsable && !linked.some((each) => !links.includes(each) && isUsable(each, linked))) return 'last'
      const ids = links.map((each) => each.id)
      await transaction('sso_identities').whereIn('id', ids).delete()
      for (const removed of links)
        await this.#blocked.blockRemoved({ ...removed, portal, userId }, transaction)
      return { identity, subjects: links.map(({ subject }) => subject) }
    })
  }

  /**
   * Replaces the user's identities of an issuer that were linked before the provider's relinking window opened. One statement
   * checks the window and claims the identity: of two concurrent calls one succeeds, and none does after the window was closed.
   * The sessions of the replaced subjects end in the same transaction.
   *
   * @returns false if the window is closed, or another subject was faster
   */
  async replaceInWindow(link: Link, { id, relinkSince, version }: RelinkWindow): Promise<boolean> {
    const { portal, userId, issuer } = link
    const now = new Date().toISOString()
    const earlier = (on: Knex) =>
      on('sso_identities')
        .where({ portal, user_id: userId, issuer })
        .where('linked_at', '<', relinkSince ?? '')
    const window = this.#knex('sso_providers')
      .select('id')
      .where({ id, version, relink_since: relinkSince })
      .where('relink_until', '>', now)
    return await inTransaction(this.#knex, async (transaction) => {
      const replaced: { id: string; subject: string }[] = await earlier(transaction).select('id', 'subject')
      const [first] = replaced
      const claimed =
        first &&
        (await earlier(transaction)
          .where({ id: first.id })
          .whereExists(window)
          .update({ ...linkColumns(link, now), relinked_at: now }))
      if (claimed !== 1) return false
      await earlier(transaction).delete()
      await endSessions(transaction, link, replaced)
      return true
    })
  }

  /**
   * Replaces all identities that the user has at an issuer, as an administrator decided, and ends their sessions. Their proof of the
   * address stays: without one, the next sign-in is the first proof.
   */
  async replace(link: Omit<Link, 'provenEmail'>): Promise<void> {
    const { portal, userId, issuer } = link
    await inTransaction(this.#knex, async (transaction) => {
      const earlier = () => transaction('sso_identities').where({ portal, user_id: userId, issuer })
      const replaced: { subject: string; proven_email: string | null }[] = await earlier()
      const proven = replaced.find(({ proven_email }) => proven_email !== null)
      await earlier().delete()
      const provenEmail = proven?.proven_email ?? undefined
      const columns = linkColumns({ ...link, provenEmail }, new Date().toISOString())
      await transaction('sso_identities').insert({ id: timeOrderedUuid(), portal, ...columns })
      await endSessions(transaction, link, replaced)
      await this.#blocked.unblock(portal, userId, link, transaction)
    })
  }

  async unlinkRelinked(portal: string, { issuer, subject }: Subject): Promise<void> {
    await this.#rows().where({ portal, issuer, subject }).whereNotNull('relinked_at').delete()
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_identities')
  }
}

/** Deleting the rows revokes the sessions on every instance, whatever the session store holds. */
async function endSessions(
  on: Knex,
  link: Omit<Link, 'provenEmail'>,
  replaced: { subject: string }[],
): Promise<void> {
  const { portal, userId, issuer } = link
  const subjects = replaced.map(({ subject }) => subject)
  await on('sso_sessions').where({ portal, user_id: userId, issuer }).whereIn('subject', subjects).delete()
}

/** @returns `undefined` without rows, or if they name several users */
function linkTarget(rows: { user_id: string; proven_email: string | null }[]): LinkTarget | undefined {
  const [first] = rows
  if (!first || rows.some(({ user_id }) => user_id !== first.user_id)) return undefined
  return { userId: first.user_id, provenEmails: rows.flatMap(({ proven_email }) => proven_email ?? []) }
}

function linkColumns(link: Link, now: string) {
  const { userId, providerId, issuer, subject, email, entra, provenEmail } = link
  return {
    user_id: userId,
    provider_id: providerId,
    issuer,
    subject,
    email: email ?? null,
    tenant_id: entra?.tenantId ?? null,
    object_id: entra?.objectId ?? null,
    linked_at: now,
    last_used_at: now,
    proven_email: provenEmail ?? null,
    proven_at: provenEmail === undefined ? null : now,
  }
}

function identitiesOf(knex: Knex, portal: string, userId: string): Knex.QueryBuilder {
  return knex('sso_identities')
    .select('id', 'issuer', 'subject', 'email', {
      providerId: 'provider_id',
      linkedAt: 'linked_at',
      lastUsedAt: 'last_used_at',
      tenantId: 'tenant_id',
      objectId: 'object_id',
      provenEmail: 'proven_email',
    })
    .where({ portal, user_id: userId })
    .orderBy([{ column: 'linked_at', order: 'desc' }, { column: 'id' }])
}

function fromRow({ email, tenantId, objectId, provenEmail, ...identity }: Row): LinkedIdentity {
  return {
    ...identity,
    email: email ?? undefined,
    provenEmail: provenEmail ?? undefined,
    entra: tenantId !== null && objectId !== null ? { tenantId, objectId } : undefined,
  }
}
