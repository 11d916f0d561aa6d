import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'

/** Who somebody is at a provider. */
export interface Subject {
  readonly issuer: string
  readonly subject: string
}

/** Who somebody is in a directory behind the provider, for all its applications (Entra: `tid` and `oid`). */
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
  /** linked by what stays the same when a provider gives out new subjects; default false */
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

export interface IdentitiesTable {
  /** The newest first. */
  listOf(portal: string, userId: string): Promise<LinkedIdentity[]>
  /**
   * Takes one away from its user, unless it is the last one that lets them in: of two that are taken away at once, on whatever
   * instances, one stays.
   *
   * @param lasts whether somebody can go on signing in with it, beside all that is linked
   * @returns what it was, or why it stays
   */
  unlink(
    portal: string,
    userId: string,
    id: string,
    lasts: (identity: LinkedIdentity, linked: readonly LinkedIdentity[]) => boolean,
  ): Promise<LinkedIdentity | 'last' | 'gone'>
  /** @returns the user's id */
  findUserId(portal: string, who: Subject): Promise<string | undefined>
  /**
   * Whom a person in a directory was linked to before a moment.
   *
   * @param before ISO 8601
   * @returns at most two ids: with two it is not certain who it is
   */
  findUserIdsBefore(
    portal: string,
    who: DirectoryObject & Pick<Subject, 'issuer'>,
    before: string,
  ): Promise<string[]>
  /**
   * Links, unless linked already.
   *
   * @param gone a user that it is still linked to but who exists no more: that link is replaced
   * @returns the id of the user that it is linked to now, the caller's or a faster one's, and whether this call made it
   */
  link(link: Link, gone?: string): Promise<{ userId: string; made: boolean }>
  /** Takes back a link that a rebinding made. */
  unlinkRelinked(portal: string, who: Subject): Promise<void>
  /**
   * Notes that it was used just now, by which provider, and who it is in the directory where that was not known: what is there
   * stays.
   *
   * @returns whether it is linked to that user (still)
   */
  touch(
    portal: string,
    who: Pick<Link, 'issuer' | 'subject' | 'userId' | 'providerId' | 'directory'>,
  ): Promise<boolean>
}

type Found = Omit<LinkedIdentity, 'email' | 'directory'> &
  Record<'email' | 'tenant' | 'object', string | null>

export function createIdentitiesTable(knex: Knex): IdentitiesTable {
  const rows = () => knex('sso_identities')

  async function findUserId(portal: string, { issuer, subject }: Subject): Promise<string | undefined> {
    const row: { user_id: string } | undefined = await rows()
      .select('user_id')
      .where({ portal, issuer, subject })
      .first()
    return row?.user_id
  }

  async function listOf(portal: string, userId: string, on?: Knex.Transaction): Promise<LinkedIdentity[]> {
    const query = (on ?? knex)('sso_identities')
      .select('id', 'issuer', 'subject', 'email', {
        providerId: 'provider_id',
        linkedAt: 'linked_at',
        lastUsedAt: 'last_used_at',
        tenant: 'tenant_id',
        object: 'object_id',
      })
      .where({ portal, user_id: userId })
      .orderBy([{ column: 'linked_at', order: 'desc' }, { column: 'id' }])
    // Whoever else takes one away waits here until this is done (PostgreSQL; SQLite has one writer at a time).
    const found: Found[] = await (on ? query.forUpdate() : query)
    return found.map(({ email, tenant, object, ...identity }) => ({
      ...identity,
      email: email ?? undefined,
      directory: tenant !== null && object !== null ? { tenant, object } : undefined,
    }))
  }

  return {
    findUserId,
    listOf: (portal, userId) => listOf(portal, userId),
    async unlink(portal, userId, id, lasts) {
      return await knex.transaction(async (transaction) => {
        const linked = await listOf(portal, userId, transaction)
        const identity = linked.find((each) => each.id === id)
        if (!identity) return 'gone'
        if (!linked.some((each) => each.id !== id && lasts(each, linked))) return 'last'
        await transaction('sso_identities').where({ id }).delete()
        return identity
      })
    },
    async findUserIdsBefore(portal, { issuer, tenant, object }, before) {
      return await rows()
        .distinct()
        .where({ portal, issuer, tenant_id: tenant, object_id: object })
        .where('linked_at', '<', before)
        .limit(2)
        .pluck('user_id')
    },
    async link({ portal, userId, providerId, issuer, subject, email, directory, relinked = false }, gone) {
      if (gone !== undefined) await rows().where({ portal, issuer, subject, user_id: gone }).delete()
      const now = new Date().toISOString()
      try {
        await rows().insert({
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
        return { userId: (await findUserId(portal, { issuer, subject })) ?? userId, made: false }
      }
    },
    async unlinkRelinked(portal, { issuer, subject }) {
      await rows().where({ portal, issuer, subject }).whereNotNull('relinked_at').delete()
    },
    async touch(portal, { issuer, subject, userId, providerId, directory }) {
      // Where they are known already they stay: both are set at once.
      const known = directory && {
        tenant_id: knex.raw('coalesce(tenant_id, ?)', [directory.tenant]),
        object_id: knex.raw('coalesce(object_id, ?)', [directory.object]),
      }
      const used = await rows()
        .where({ portal, issuer, subject, user_id: userId })
        .update({ last_used_at: new Date().toISOString(), provider_id: providerId, ...known })
      return used === 1
    },
  }
}
