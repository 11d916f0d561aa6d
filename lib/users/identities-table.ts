import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'

/** Who somebody is at a provider. */
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

export interface IdentitiesTable {
  /** The newest first. */
  listOf(portal: string, userId: string): Promise<LinkedIdentity[]>
  /**
   * Removes an identity with all links of the same Entra account, which would bring it back at the next sign-in. Refuses to
   * remove the user's last sign-in method, also if two are removed at the same time on different instances.
   *
   * @param lasts whether the user can still sign in with it, given everything that is linked
   * @returns the identity and every subject whose link was removed, or why nothing was removed
   */
  unlink(
    portal: string,
    userId: string,
    id: string,
    lasts: (identity: LinkedIdentity, linked: readonly LinkedIdentity[]) => boolean,
  ): Promise<{ identity: LinkedIdentity; subjects: string[] } | 'last' | 'gone'>
  /** @returns the user's id */
  findUserId(portal: string, who: Subject): Promise<string | undefined>
  /** @returns at most two user ids: two mean that the account does not identify one user */
  findUserIdsByEntra(portal: string, issuer: string, account: EntraAccount): Promise<string[]>
  /**
   * Links, unless linked already.
   *
   * @param gone a user that it is still linked to but who exists no more: that link is replaced
   * @returns the id of the user that it is linked to now, the caller's or a faster one's, and whether this call made it
   */
  link(link: Link, gone?: string): Promise<{ userId: string; made: boolean }>
  /** Deletes a link that was created by relinking. */
  unlinkRelinked(portal: string, who: Subject): Promise<void>
}

type Found = Omit<LinkedIdentity, 'email' | 'entra'> &
  Record<'email' | 'tenantId' | 'objectId', string | null>

export function isSameEntraAccount(one: LinkedIdentity, other: LinkedIdentity): boolean {
  return (
    one.entra !== undefined &&
    one.issuer === other.issuer &&
    one.entra.tenantId === other.entra?.tenantId &&
    one.entra.objectId === other.entra.objectId
  )
}

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
        tenantId: 'tenant_id',
        objectId: 'object_id',
      })
      .where({ portal, user_id: userId })
      .orderBy([{ column: 'linked_at', order: 'desc' }, { column: 'id' }])
    // A concurrent removal waits here for this one (PostgreSQL; SQLite has one writer at a time).
    const found: Found[] = await (on ? query.forUpdate() : query)
    return found.map(({ email, tenantId, objectId, ...identity }) => ({
      ...identity,
      email: email ?? undefined,
      entra: tenantId !== null && objectId !== null ? { tenantId, objectId } : undefined,
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
        const links = linked.filter((each) => each === identity || isSameEntraAccount(each, identity))
        if (!linked.some((each) => !links.includes(each) && lasts(each, linked))) return 'last'
        const ids = links.map((each) => each.id)
        await transaction('sso_identities').whereIn('id', ids).delete()
        return { identity, subjects: links.map(({ subject }) => subject) }
      })
    },
    async findUserIdsByEntra(portal, issuer, { tenantId, objectId }) {
      return await rows()
        .distinct()
        .where({ portal, issuer, tenant_id: tenantId, object_id: objectId })
        .limit(2)
        .pluck('user_id')
    },
    async link({ portal, userId, providerId, issuer, subject, email, entra, relinked = false }, gone) {
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
          tenant_id: entra?.tenantId ?? null,
          object_id: entra?.objectId ?? null,
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
  }
}
