import { promisify } from 'node:util'
import type { Store } from 'express-session'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { inTime } from './session-store.ts'
import type { SessionValidity } from './session-validity.ts'
import type { SessionMatch, SessionsTable } from './sessions-table.ts'

/** The stores that sessions are in: ours, and those of a host's own express-session, which only its requests know. */
export interface SessionStores {
  note(store: Store): void
  all(): readonly Store[]
}

// A host has one or two. One that makes a store for each request must not fill our memory with them.
const most = 8

export function createSessionStores(): SessionStores {
  let stores: readonly Store[] = []
  return {
    note(store) {
      if (!stores.includes(store)) stores = [store, ...stores].slice(0, most)
    },
    all: () => stores,
  }
}

/**
 * Ends sessions wherever they run: when it has returned, none of them lets anybody in any more. Sessions in a store of ours that
 * is out of reach are turned away within the user cache time.
 *
 * @returns how many, of whom
 */
export type EndSessions = (match: SessionMatch) => Promise<Ended>

/** user id → how many of their sessions ended; those of which the idle time was over had ended before */
export type Ended = ReadonlyMap<string, number>

export interface EndSessionsParts {
  index: SessionsTable
  sessionStores: SessionStores
  logger: Logger
  sessionValidity: SessionValidity
}

/**
 * The index first: without its row a session is worth nothing, on any instance, in any store, whatever writes it back. Then the
 * store, which is not asked for leave: one that is away, or that nobody here knows, keeps a session that lets nobody in, until it
 * runs out.
 */
export function createEndSessions(parts: EndSessionsParts): EndSessions {
  const { index, sessionStores, logger, sessionValidity } = parts

  async function destroyAll(sessionIds: readonly string[]): Promise<void> {
    const destroyed = sessionIds.flatMap((sessionId) =>
      sessionStores.all().map((store) => destroy(store, sessionId)),
    )
    const failed = (await Promise.allSettled(destroyed)).find(({ status }) => status === 'rejected')
    if (failed)
      logger.warn(
        { cause: describeError((failed as PromiseRejectedResult).reason) },
        'sessions that have ended could not be taken out of their store: they let nobody in',
      )
  }

  return async (match) => {
    const ended = new Map<string, number>()
    for await (const sessions of index.remove(match)) {
      for (const { userId, ran } of sessions) if (ran) ended.set(userId, (ended.get(userId) ?? 0) + 1)
      const sessionIds = sessions.flatMap(({ sessionId }) => sessionId ?? [])
      for (const sessionId of sessionIds) sessionValidity.forget(sessionId)
      await destroyAll(sessionIds)
    }
    return ended
  }
}

async function destroy(store: Store, sessionId: string): Promise<void> {
  await inTime(promisify(store.destroy.bind(store))(sessionId))
}
