import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import type { Core } from '../web/core.ts'

/** Identifies a person at a provider (OpenID Connect Core 5.7). */
export interface Subject {
  readonly issuer: string
  readonly subject: string
}

/** The `tid` and `oid` claims: the same in every app registration of an Entra tenant, where `sub` differs. */
export interface EntraAccount {
  readonly tenantId: string
  readonly objectId: string
}

export interface Link extends Subject {
  readonly portal: string
  readonly userId: string
  readonly providerId: string
  readonly email: string | undefined
  readonly entra?: EntraAccount | undefined
  /** created because another link has the same Entra account; default false */
  readonly relinked?: boolean | undefined
}

export interface LinkedIdentity extends Subject {
  readonly id: string
  readonly providerId: string
  readonly email: string | undefined
  readonly entra: EntraAccount | undefined
  /** ISO 8601 */
  readonly linkedAt: string
  /** ISO 8601 */
  readonly lastUsedAt: string
}

type Row = Omit<LinkedIdentity, 'email' | 'entra'> & Record<'email' | 'tenantId' | 'objectId', string | null>

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

  constructor({ knex }: Pick<Core, 'knex'>) {
    this.#knex = knex
  }

  /** @returns the identities of a user, newest first */
  async listOf(portal: string, userId: string): Promise<LinkedIdentity[]> {
    const rows: Row[] = await identitiesOf(this.#knex, portal, userId)
    return rows.map(fromRow)
  }

  /** @returns the id of the linked user */
  async findUserId(portal: string, { issuer, subject }: Subject): Promise<string | undefined> {
    const row: { user_id: string } | undefined = await this.#rows()
      .select('user_id')
      .where({ portal, issuer, subject })
      .first()
    return row?.user_id
  }

  /** @returns at most two user ids: two mean that the account does not identify one user */
  async findUserIdsByEntra(
    portal: string,
    issuer: string,
    { tenantId, objectId }: EntraAccount,
  ): Promise<string[]> {
    return await this.#rows()
      .distinct()
      .where({ portal, issuer, tenant_id: tenantId, object_id: objectId })
      .limit(2)
      .pluck('user_id')
  }

  /**
   * Links an identity, unless it is linked already.
   *
   * @param staleUserId a deleted user: a link to it is replaced
   * @returns the id of the linked user, perhaps of a concurrent call, and whether this call made the link
   */
  async link(
    { portal, userId, providerId, issuer, subject, email, entra, relinked = false }: Link,
    staleUserId?: string,
  ): Promise<{ userId: string; made: boolean }> {
    if (staleUserId !== undefined)
      await this.#rows().where({ portal, issuer, subject, user_id: staleUserId }).delete()
    const now = new Date().toISOString()
    try {
      await this.#rows().insert({
        id: randomUUID(),
        portal,
        user_id: userId,
        provider_id: providerId,
        issuer,
        subject,
        email: email ?? null,
        tenant_id: entra?.tenantId ?? null,
        object_id: entra?.objectId ?? null,
        linked_at: now,
        last_used_at: now,
        relinked_at: relinked ? now : null,
      })
      return { userId, made: true }
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      return { userId: (await this.findUserId(portal, { issuer, subject })) ?? userId, made: false }
    }
  }

  /**
   * Removes an identity with all links of the same Entra account, which would bring it back at the next sign-in. Refuses to
   * remove the user's last sign-in method, also in concurrent calls on different instances.
   *
   * @param isUsable whether the user can still sign in with an identity, given everything that is linked
   * @returns the identity and every subject whose link was removed, or why nothing was removed
   */
  async unlink(
    portal: string,
    userId: string,
    id: string,
    isUsable: (identity: LinkedIdentity, linked: readonly LinkedIdentity[]) => boolean,
  ): Promise<{ identity: LinkedIdentity; subjects: string[] } | 'last' | 'gone'> {
    return await this.#knex.transaction(async (transaction) => {
      // Concurrent calls wait here for this transaction (PostgreSQL; SQLite has one writer at a time).
      const rows: Row[] = await identitiesOf(transaction, portal, userId).forUpdate()
      const linked = rows.map(fromRow)
      const identity = linked.find((each) => each.id === id)
      if (!identity) return 'gone'
      const links = linked.filter((each) => each === identity || isSameEntraAccount(each, identity))
      if (!linked.some((each) => !links.includes(each) && isUsable(each, linked))) return 'last'
      const ids = links.map((each) => each.id)
      await transaction('sso_identities').whereIn('id', ids).delete()
      return { identity, subjects: links.map(({ subject }) => subject) }
    })
  }

  /** Removes a link that relinking made. */
  async unlinkRelinked(portal: string, { issuer, subject }: Subject): Promise<void> {
    await this.#rows().where({ portal, issuer, subject }).whereNotNull('relinked_at').delete()
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_identities')
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
    })
    .where({ portal, user_id: userId })
    .orderBy([{ column: 'linked_at', order: 'desc' }, { column: 'id' }])
}

function fromRow({ email, tenantId, objectId, ...identity }: Row): LinkedIdentity {
  return {
    ...identity,
    email: email ?? undefined,
    entra: tenantId !== null && objectId !== null ? { tenantId, objectId } : undefined,
  }
}
