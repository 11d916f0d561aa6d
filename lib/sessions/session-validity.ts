import type { Request } from 'express'
import { StaleCache } from '../shared/cache.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import type { LimitsOf } from './session-limits.ts'
import { isOurs } from './session-store.ts'
import type { SessionsTable } from './sessions-table.ts'

/** Whether a session has not ended meanwhile. */
export interface SessionValidity {
  /**
   * Also notes that it was seen.
   *
   * @throws Error when the database is away and this instance does not know the session from a while ago
   */
  isValid(req: Request, portal: string): Promise<boolean>
  /** Asks the row itself, whatever was remembered. */
  isRunning(sessionId: string): Promise<boolean>
  /** It has ended, by what this instance did. */
  forget(sessionId: string): void
}

export interface SessionValidityParts {
  index: SessionsTable
  limitsOf: LimitsOf
  logger: Logger
  /** milliseconds that an answer of the index counts */
  fresh: number
}

/** milliseconds that a running session goes on while the database is away */
export const spare = 10 * 60_000
/** milliseconds that a request waits for the index to note that it came */
const patience = 1000

interface Seen {
  /** milliseconds since 1970 */
  at: number
}

export function createSessionValidity({
  index,
  limitsOf,
  logger,
  fresh,
}: SessionValidityParts): SessionValidity {
  async function ask(sessionId: string, before?: Seen): Promise<Seen | undefined> {
    const lastSeen = await withTimeout(5 * patience, index.lastSeen(sessionId))
    // What was seen here while the database was away could not be noted, and counts all the same.
    return lastSeen && { at: Math.max(lastSeen.getTime(), before?.at ?? 0) }
  }
  // What our stores have ended is gone from them at once. A host's own store may be written to by a request in flight, so there
  // the row is asked every time.
  const ours = new StaleCache<Seen | undefined>(ask, { ttlMs: fresh, staleIfErrorMs: spare })

  async function renew(sessionId: string, seen: Seen): Promise<void> {
    // Noted here first: of many requests at once one writes.
    seen.at = Date.now()
    await withTimeout(patience, index.renew(sessionId)).catch((error: unknown) =>
      logger.warn({ cause: describeError(error) }, 'it could not be noted that a session goes on'),
    )
  }

  return {
    async isValid(req, portal) {
      const { sessionID, sessionStore } = req
      const { idle, renew: due } = limitsOf(portal)
      const unseen = ({ at }: Seen) => Date.now() - at
      let seen = await (isOurs(sessionStore) ? ours.get(sessionID) : ask(sessionID))
      // Another instance may have seen it since: what was kept here ends no session.
      if (seen && unseen(seen) >= idle) seen = await ask(sessionID)
      if (!seen || unseen(seen) >= idle) return false
      if (unseen(seen) >= due) await renew(sessionID, seen)
      return true
    },
    isRunning: async (sessionId) => (await ask(sessionId)) !== undefined,
    forget: (sessionId) => ours.delete(sessionId),
  }
}
