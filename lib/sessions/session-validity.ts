import type { Request } from 'express'
import { StaleCache } from '../shared/cache.ts'
import { describeError } from '../shared/errors.ts'
import { withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import type { LimitsByPortal } from './session-limits.ts'
import { isBuiltInStore } from './session-store.ts'
import type { SessionsTable } from './sessions-table.ts'

/** How long signed-in users may continue while the database is down. */
const staleIfErrorMs = 10 * 60_000
const readTimeoutMs = 5000
const renewTimeoutMs = 1000

interface LastSeen {
  /** milliseconds since 1970 */
  at: number
}

/** Tells whether a session still has its row, and renews the row. */
export class SessionValidity {
  readonly #core: Pick<Core, 'clock' | 'logger'>
  readonly #table: SessionsTable
  readonly #limits: LimitsByPortal
  // For sessions in our own stores only: a request in flight may write a revoked session back into a host's own store, so there
  // every request reads the row.
  readonly #cache: StaleCache<LastSeen | undefined>

  /** @param freshForMs how long a row that was read is not read again */
  constructor(
    core: Pick<Core, 'clock' | 'logger'>,
    table: SessionsTable,
    limits: LimitsByPortal,
    freshForMs: number,
  ) {
    this.#core = core
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
   * @throws Error when the database is down and this instance has not read the row recently
   */
  async isValid({ sessionID, sessionStore }: Request, portal: string): Promise<boolean> {
    const { idleMs, renewAfterMs } = this.#limits.of(portal)
    const unusedMs = ({ at }: LastSeen) => this.#core.clock.now() - at
    let lastSeen = await (isBuiltInStore(sessionStore) ? this.#cache.get(sessionID) : this.#read(sessionID))
    // Another instance may have renewed it since: the cache alone never expires a session.
    if (lastSeen && unusedMs(lastSeen) >= idleMs) lastSeen = await this.#read(sessionID)
    if (!lastSeen || unusedMs(lastSeen) >= idleMs) return false
    if (unusedMs(lastSeen) >= renewAfterMs) await this.#renew(sessionID, lastSeen)
    return true
  }

  /** The row is about to be written, so the first request need not read it. Call before the write: a revocation comes after it. */
  expect(sessionId: string): void {
    const now = Date.now()
    this.#cache.set(sessionId, { at: now }, now)
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
    const lastSeen = await withTimeout(readTimeoutMs, this.#table.lastSeen(sessionId))
    // Requests that came while the database was down could not renew the row, but they count.
    return lastSeen && { at: Math.max(lastSeen.getTime(), previous?.at ?? 0) }
  }

  async #renew(sessionId: string, lastSeen: LastSeen): Promise<void> {
    // Before the write, so that only one of many concurrent requests writes.
    lastSeen.at = this.#core.clock.now()
    await withTimeout(renewTimeoutMs, this.#table.renew(sessionId)).catch((error: unknown) =>
      this.#core.logger.warn({ cause: describeError(error) }, 'a session could not be renewed'),
    )
  }
}
