import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import type { Core } from '../web/core.ts'
import type { EntraAccount, ProviderAccount, Subject } from './user-directory.ts'

/**
 * Why an identity is not linked to a user through an e-mail address. `removed`: the user or an administrator removed this
 * sign-in method. `waiting`: the user has another account of this issuer, so the address may have a new owner. `separate`: an
 * administrator decided so.
 */
export type BlockReason = 'removed' | 'waiting' | 'separate'

/** An identity that must not be linked to a user through an e-mail address. */
export interface BlockedIdentity extends Subject {
  /** Id of the block. */
  readonly id: string
  /** Name of the portal. */
  readonly portal: string
  /** Id of the user. */
  readonly userId: string
  /** Id of the provider's row. */
  readonly providerId: string
  /** As the provider sent it, normalized. */
  readonly email: string | undefined
  /** Entra only. */
  readonly entra: EntraAccount | undefined
  /** Why it is not linked. */
  readonly reason: BlockReason
  /** ISO 8601. */
  readonly blockedAt: string
}

type NewBlock = Pick<BlockedIdentity, 'portal' | 'userId' | 'providerId'> &
  ProviderAccount & { email?: string | undefined }

/** Blocked identities, `sso_blocked_identities`. A block of a deleted user has no effect. */
export class BlockedIdentitiesTable {
  readonly #knex: Knex

  constructor({ knex }: Pick<Core, 'knex'>) {
    this.#knex = knex
  }

  /** Blocks an identity that a user has removed, also if it was blocked for another reason. @param on a transaction */
  async blockRemoved(removed: NewBlock, on: Knex): Promise<void> {
    await insertBlock(on, removed, 'removed').merge()
  }

  /** Lets an identity wait for an administrator, unless it is blocked already. @returns whether this call did so */
  async wait(waiting: NewBlock): Promise<boolean> {
    const { portal, userId, issuer, subject } = waiting
    const blocked = await this.#rows().where({ portal, user_id: userId, issuer, subject }).first()
    if (blocked === undefined) await insertBlock(this.#knex, waiting, 'waiting').merge(['user_id'])
    return blocked === undefined
  }

  /** The blocks of an identity, also under another subject of the same Entra account. */
  async find(portal: string, identity: ProviderAccount): Promise<BlockedIdentity[]> {
    return (await this.#matching(portal, identity).select(columns)).map(fromRow)
  }

  async get(portal: string, id: string): Promise<BlockedIdentity | undefined> {
    const row = await this.#rows().select(columns).where({ portal, id }).first()
    return row && fromRow(row)
  }

  async listOf(portal: string, userId: string): Promise<BlockedIdentity[]> {
    const rows = this.#rows().select(columns).where({ portal, user_id: userId })
    return (await rows.orderBy('blocked_at', 'desc')).map(fromRow)
  }

  async unblock(portal: string, userId: string, identity: ProviderAccount, on = this.#knex): Promise<void> {
    await this.#matching(portal, identity, on).where({ user_id: userId }).delete()
  }

  /** @returns false if the block is gone or has another reason by now */
  async keepSeparate(portal: string, id: string): Promise<boolean> {
    const changed = await this.#rows().where({ portal, id, reason: 'waiting' }).update({ reason: 'separate' })
    return changed === 1
  }

  #matching(portal: string, identity: ProviderAccount, on = this.#knex): Knex.QueryBuilder {
    const { issuer, subject, entra } = identity
    return on('sso_blocked_identities')
      .where({ portal, issuer })
      .where((either) => {
        either.where({ subject })
        if (entra) either.orWhere({ tenant_id: entra.tenantId, object_id: entra.objectId })
      })
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_blocked_identities')
  }
}

function insertBlock(on: Knex, block: NewBlock, reason: BlockReason) {
  const { portal, userId, providerId, issuer, subject, email, entra } = block
  return on('sso_blocked_identities')
    .insert({
      id: randomUUID(),
      portal,
      user_id: userId,
      provider_id: providerId,
      issuer,
      subject,
      email: email ?? null,
      tenant_id: entra?.tenantId ?? null,
      object_id: entra?.objectId ?? null,
      reason,
      blocked_at: new Date().toISOString(),
    })
    .onConflict(['portal', 'issuer', 'subject', 'user_id'])
}

const columns = {
  id: 'id',
  portal: 'portal',
  userId: 'user_id',
  providerId: 'provider_id',
  issuer: 'issuer',
  subject: 'subject',
  email: 'email',
  tenantId: 'tenant_id',
  objectId: 'object_id',
  reason: 'reason',
  blockedAt: 'blocked_at',
}

type Row = Record<keyof typeof columns, string>

function fromRow({ email, tenantId, objectId, reason, ...blocked }: Row): BlockedIdentity {
  return {
    ...blocked,
    reason: reason as BlockReason,
    email: email ?? undefined,
    entra: tenantId && objectId ? { tenantId, objectId } : undefined,
  }
}
