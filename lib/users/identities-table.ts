import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import type { Core } from '../web/core.ts'

/** Identifies a person at a provider (OpenID Connect Core 5.7). */
export interface Subject {
  readonly issuer: string
  readonly subject: string
}

/** Identifies a person in the directory behind the provider, for all its applications (Entra: `tid` and `oid`). */
export interface DirectoryObject {
  readonly tenant: string
  readonly object: string
}

export interface Link extends Subject {
  readonly portal: string
  readonly userId: string
  readonly providerId: string
  readonly email: string | undefined
  readonly directory?: DirectoryObject | undefined
  /** true for a link found by tenant and object id after the subject had changed; default false */
  readonly relinked?: boolean | undefined
}

export interface LinkedIdentity extends Subject {
  readonly id: string
  readonly providerId: string
  readonly email: string | undefined
  readonly directory: DirectoryObject | undefined
  /** ISO 8601 */
  readonly linkedAt: string
  /** ISO 8601 */
  readonly lastUsedAt: string
}

type Row = Omit<LinkedIdentity, 'email' | 'directory'> & Record<'email' | 'tenant' | 'object', string | null>

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

  /**
   * Finds the users to whom a person in a directory was linked before a date.
   *
   * @param before ISO 8601
   * @returns at most two ids: with two, the match is ambiguous
   */
  async findUserIdsBefore(
    portal: string,
    { issuer, tenant, object }: DirectoryObject & Pick<Subject, 'issuer'>,
    before: string,
  ): Promise<string[]> {
    return await this.#rows()
      .distinct()
      .where({ portal, issuer, tenant_id: tenant, object_id: object })
      .where('linked_at', '<', before)
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
    { portal, userId, providerId, issuer, subject, email, directory, relinked = false }: Link,
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
        tenant_id: directory?.tenant ?? null,
        object_id: directory?.object ?? null,
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
   * Removes an identity from its user, unless no sign-in method would remain. Concurrent calls on any instance cannot remove
   * the last one together.
   *
   * @param isUsable whether the user can still sign in with an identity
   */
  async unlink(
    portal: string,
    userId: string,
    id: string,
    isUsable: (identity: LinkedIdentity, linked: readonly LinkedIdentity[]) => boolean,
  ): Promise<LinkedIdentity | 'last' | 'gone'> {
    return await this.#knex.transaction(async (transaction) => {
      // Concurrent calls wait here for this transaction (PostgreSQL; SQLite has one writer at a time).
      const rows: Row[] = await identitiesOf(transaction, portal, userId).forUpdate()
      const linked = rows.map(fromRow)
      const identity = linked.find((each) => each.id === id)
      if (!identity) return 'gone'
      if (!linked.some((each) => each.id !== id && isUsable(each, linked))) return 'last'
      await transaction('sso_identities').where({ id }).delete()
      return identity
    })
  }

  /** Removes a link that relinking made. */
  async unlinkRelinked(portal: string, { issuer, subject }: Subject): Promise<void> {
    await this.#rows().where({ portal, issuer, subject }).whereNotNull('relinked_at').delete()
  }

  /**
   * Records the use of an identity, its provider, and its directory object if that was unknown.
   *
   * @returns whether it is still linked to that user
   */
  async touch(
    portal: string,
    {
      issuer,
      subject,
      userId,
      providerId,
      directory,
    }: Pick<Link, 'issuer' | 'subject' | 'userId' | 'providerId' | 'directory'>,
  ): Promise<boolean> {
    // Known ids stay: both are always set together.
    const ids = directory && {
      tenant_id: this.#knex.raw('coalesce(tenant_id, ?)', [directory.tenant]),
      object_id: this.#knex.raw('coalesce(object_id, ?)', [directory.object]),
    }
    const updated = await this.#rows()
      .where({ portal, issuer, subject, user_id: userId })
      .update({ last_used_at: new Date().toISOString(), provider_id: providerId, ...ids })
    return updated === 1
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
      tenant: 'tenant_id',
      object: 'object_id',
    })
    .where({ portal, user_id: userId })
    .orderBy([{ column: 'linked_at', order: 'desc' }, { column: 'id' }])
}

function fromRow({ email, tenant, object, ...identity }: Row): LinkedIdentity {
  return {
    ...identity,
    email: email ?? undefined,
    directory: tenant !== null && object !== null ? { tenant, object } : undefined,
  }
}
