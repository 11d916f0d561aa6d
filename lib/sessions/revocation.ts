import { promisify } from 'node:util'
import type { Store } from 'express-session'
import { LRUCache } from 'lru-cache'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/time.ts'
import { withStoreTimeout } from './session-store.ts'
import type { SessionValidity } from './session-validity.ts'
import type { SessionMatch, SessionsTable } from './sessions-table.ts'

/** The session stores of this process: ours, and those of a host's own express-session, which appear only on its requests. */
export type KnownStores = LRUCache<Store, true>

/** A host has one or two stores. One that creates a store for each request must not fill our memory. */
export function knownStores(): KnownStores {
  return new LRUCache({ max: 8 })
}

/** How long signing out waits for the table of sessions. */
export const revocationTimeoutMs = 1000

/** user id → number of revoked sessions, without those whose idle time had already expired */
export type RevokedSessions = ReadonlyMap<string, number>

/** Revokes sessions on every instance and in every store. */
export class Revocation {
  readonly #logger: Logger
  readonly #table: SessionsTable
  readonly #validity: SessionValidity
  readonly #stores: KnownStores

  constructor(
    core: { logger: Logger },
    table: SessionsTable,
    validity: SessionValidity,
    stores: KnownStores,
  ) {
    this.#logger = core.logger
    this.#table = table
    this.#validity = validity
    this.#stores = stores
  }

  /**
   * Deletes the rows first: without its row a session is worthless on any instance and in any store, even one that a request in
   * flight writes back. A store that is down or unknown here only keeps a worthless session until it expires.
   */
  async revoke(match: SessionMatch): Promise<RevokedSessions> {
    const revoked = new Map<string, number>()
    for await (const sessions of this.#table.remove(match)) {
      for (const { userId, wasValid } of sessions)
        if (wasValid) revoked.set(userId, (revoked.get(userId) ?? 0) + 1)
      const sessionIds = sessions.flatMap(({ sessionId }) => sessionId ?? [])
      for (const sessionId of sessionIds) this.#validity.invalidate(sessionId)
      await this.#destroyInStores(sessionIds)
    }
    return revoked
  }

  /** Never rejects and never waits long, so that signing out works while the database is down. */
  async endQuietly(sessionId: string): Promise<RevokedSessions | undefined> {
    return await withTimeout(revocationTimeoutMs, this.revoke({ sessionId })).catch(() => undefined)
  }

  async #destroyInStores(sessionIds: readonly string[]): Promise<void> {
    const destroyed = sessionIds.flatMap((sessionId) =>
      [...this.#stores.keys()].map((store) => destroy(store, sessionId)),
    )
    const failed = (await Promise.allSettled(destroyed)).find(({ status }) => status === 'rejected')
    if (failed)
      this.#logger.warn(
        { cause: describeError((failed as PromiseRejectedResult).reason) },
        'revoked sessions could not be removed from their store; they admit nobody',
      )
  }
}

async function destroy(store: Store, sessionId: string): Promise<void> {
  await withStoreTimeout(promisify(store.destroy.bind(store))(sessionId))
}
