import { promisify } from 'node:util'
import type { Store } from 'express-session'
import { LRUCache } from 'lru-cache'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/time.ts'
import type { Breakers } from '../web/core.ts'
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
const revocationTimeoutMs = 1000
/** While the database is known to hang. The statement may complete later. */
const outageTimeoutMs = 50

/** user id → number of revoked sessions, without those whose idle time had already expired */
export type RevokedSessions = ReadonlyMap<string, number>

interface RevocationModules {
  breakers: Breakers
  logger: Logger
  table: SessionsTable
  validity: SessionValidity
  stores: KnownStores
}

/** Revokes sessions on every instance and in every store. */
export class Revocation {
  readonly #modules: RevocationModules

  constructor(modules: RevocationModules) {
    this.#modules = modules
  }

  /**
   * Deletes the rows first: without its row a session is worthless on any instance and in any store, even one that a request in
   * flight writes back. A store that is down or unknown here only keeps a worthless session until it expires.
   */
  async revoke(match: SessionMatch): Promise<RevokedSessions> {
    const { table, validity } = this.#modules
    const revoked = new Map<string, number>()
    for await (const sessions of table.remove(match)) {
      const sessionIds: string[] = []
      for (const { sessionId, userId, wasValid } of sessions) {
        if (wasValid) revoked.set(userId, (revoked.get(userId) ?? 0) + 1)
        if (sessionId === undefined) continue
        sessionIds.push(sessionId)
        validity.invalidate(sessionId)
      }
      await this.#destroyInStores(sessionIds)
    }
    return revoked
  }

  /** Never rejects and never waits long, so that signing out works while the database is down. */
  async endQuietly(sessionId: string): Promise<RevokedSessions | undefined> {
    const timeoutMs = this.#modules.breakers.database.isOpen ? outageTimeoutMs : revocationTimeoutMs
    return await withTimeout(timeoutMs, this.revoke({ sessionId })).catch(() => undefined)
  }

  async #destroyInStores(sessionIds: readonly string[]): Promise<void> {
    const { breakers, logger, stores } = this.#modules
    const destroyed = sessionIds.flatMap((sessionId) =>
      [...stores.keys()].map((store) => withStoreTimeout(promisify(store.destroy.bind(store))(sessionId))),
    )
    const failed = (await Promise.allSettled(destroyed)).find((result) => result.status === 'rejected')
    if (failed && !breakers.redis.isOpen)
      logger.warn(
        { cause: describeError(failed.reason) },
        'revoked sessions could not be removed from their store; they admit nobody',
      )
  }
}
