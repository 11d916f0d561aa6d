import type { Request } from 'express'
import { StaleCache, staleIfErrorMs } from '../shared/cache.ts'
import type { CircuitBreaker } from '../shared/circuit-breaker.ts'
import type { Core } from '../web/core.ts'
import type { LimitsByPortal } from './session-limits.ts'
import { isBuiltInStore } from './session-store.ts'
import type { SessionsTable } from './sessions-table.ts'

interface LastSeen {
  /** milliseconds since 1970 */
  at: number
}

/** Tells whether a session still has its row, and renews the row. */
export class SessionValidity {
  readonly #clock: Core['clock']
  readonly #database: CircuitBreaker
  readonly #table: SessionsTable
  readonly #limits: LimitsByPortal
  // For sessions in our own stores only: a request in flight may write a revoked session back into a host's own store, so there
  // every request reads the row.
  readonly #cache: StaleCache<LastSeen | undefined>

  /** @param freshForMs how long a row that was read is not read again */
  constructor(
    { breakers, clock }: Pick<Core, 'breakers' | 'clock'>,
    table: SessionsTable,
    limits: LimitsByPortal,
    freshForMs: number,
  ) {
    this.#clock = clock
    this.#database = breakers.database
    this.#table = table
    this.#limits = limits
    this.#cache = new StaleCache(async (sessionId, previous) => await this.#read(sessionId, previous), {
      ttlMs: freshForMs,
      staleIfErrorMs,
    })
  }

  /**
   * Also renews the session's row when it is due.
   *
   * @param onStale called if the row was not read, because the database is down or hangs
   * @throws Error when the database is down and this instance has not read the row recently
   */
  async isValid({ sessionID, sessionStore }: Request, portal: string, onStale: () => void): Promise<boolean> {
    const { idleMs, renewAfterMs } = this.#limits.of(portal)
    const unusedMs = ({ at }: LastSeen) => this.#clock.now() - at
    let isStale = false
    const onStaleRow = () => {
      isStale = true
      onStale()
    }
    let lastSeen = await (isBuiltInStore(sessionStore)
      ? this.#cache.get(sessionID, onStaleRow)
      : this.#read(sessionID))
    // Another instance may have renewed it since: the cache alone never expires a session.
    if (lastSeen && unusedMs(lastSeen) >= idleMs) lastSeen = await this.#read(sessionID)
    if (!lastSeen || unusedMs(lastSeen) >= idleMs) return false
    if (unusedMs(lastSeen) >= renewAfterMs) {
      const renewing = this.#renew(sessionID, lastSeen)
      if (!isStale) await renewing
    }
    return true
  }

  /** The row is about to be written, so the first request need not read it. Call before the write: a revocation comes after it. */
  expect(sessionId: string): void {
    this.#cache.set(sessionId, { at: this.#clock.now() }, Date.now())
  }

  /** Reads the row itself, never the cache. */
  async hasRow(sessionId: string): Promise<boolean> {
    return (await this.#read(sessionId)) !== undefined
  }

  /** This instance has deleted or renamed the row. */
  invalidate(sessionId: string): void {
    this.#cache.delete(sessionId)
  }

  async #read(sessionId: string, previous?: LastSeen): Promise<LastSeen | undefined> {
    const lastSeen = await this.#database.run(() => this.#table.lastSeen(sessionId))
    // Requests that came while the database was down could not renew the row, but they count.
    return lastSeen && { at: Math.max(lastSeen.getTime(), previous?.at ?? 0) }
  }

  async #renew(sessionId: string, lastSeen: LastSeen): Promise<void> {
    // Before the write, so that only one of many concurrent requests writes.
    lastSeen.at = this.#clock.now()
    const renewing = this.#database.run(() => this.#table.renew(sessionId))
    await renewing.catch((error: unknown) => void this.#database.outage.report(error))
  }
}
