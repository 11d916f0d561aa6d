import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Store } from 'express-session'
import { LRUCache } from 'lru-cache'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { Breakers } from '../web/core.ts'
import { destroyTogether } from './session-store.ts'
import type { SessionValidity } from './session-validity.ts'
import type { SessionEnding, SessionMatch, SessionsTable } from './sessions-table.ts'

/** The session stores of this process: ours, and those of a host's own express-session, which appear only on its requests. */
export type KnownStores = LRUCache<Store, true>

/** A host has one or two stores. One that creates a store for each request must not fill our memory. */
export function knownStores(): KnownStores {
  return new LRUCache({ max: 8 })
}

/** Between two batches, other requests have their turn in this process and in the store. */
const storeBatchSize = 100

/** How long signing out waits for the table of sessions. */
const revocationTimeoutMs = SECOND
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
   * Deletes all rows first: without its row a session is worthless on any instance and in any store, even one that a request in
   * flight writes back. A store that is down or unknown here only keeps worthless sessions until they expire.
   *
   * @param ending omitted: a task for other instances is recorded if there are many sessions
   */
  async revoke(match: SessionMatch, ending?: SessionEnding): Promise<RevokedSessions> {
    const { table, validity } = this.#modules
    const revoked = new Map<string, number>()
    const sessionIds: string[] = []
    for await (const sessions of table.remove(match, ending))
      for (const { sessionId, userId, wasValid } of sessions) {
        if (wasValid) revoked.set(userId, (revoked.get(userId) ?? 0) + 1)
        if (sessionId === undefined) continue
        sessionIds.push(sessionId)
        validity.invalidate(sessionId)
      }
    await Promise.all([...this.#modules.stores.keys()].map((store) => this.#destroyIn(store, sessionIds)))
    return revoked
  }

  /** Ends the sessions of the endings that a dead instance left. @throws Error of the first one that failed, after the others */
  async finishAbandoned(): Promise<void> {
    const endings = await this.#modules.table.abandonedEndings()
    const results = await Promise.allSettled(endings.map((ending) => this.revoke(ending.match, ending)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  /** Never rejects and never waits long, so that signing out works while the database is down. */
  async endQuietly(sessionId: string): Promise<RevokedSessions | undefined> {
    const timeoutMs = this.#modules.breakers.database.isOpen ? outageTimeoutMs : revocationTimeoutMs
    return await withTimeout(timeoutMs, this.revoke({ sessionId })).catch(() => undefined)
  }

  /** Gives up after the first failure: a store that hangs would otherwise be waited for once per batch. */
  async #destroyIn(store: Store, sessionIds: readonly string[]): Promise<void> {
    const { breakers, logger } = this.#modules
    try {
      for (let at = 0; at < sessionIds.length; at += storeBatchSize) {
        if (at > 0) await nextTurn()
        await destroyTogether(store, sessionIds.slice(at, at + storeBatchSize))
      }
    } catch (error) {
      // The outage was logged.
      if (breakers.redis.outage.isOngoing) return
      logger.warn(
        { cause: describeError(error) },
        'revoked sessions could not be removed from their store; they admit nobody',
      )
    }
  }
}
