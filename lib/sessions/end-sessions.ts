import { promisify } from 'node:util'
import type { Store } from 'express-session'
import type { PortalSsoError } from '../errors.ts'
import type { SessionIndex, SessionMatch } from './session-index.ts'
import { inTime } from './session-store.ts'

export interface EndedSessions {
  /** whose sessions ended, one entry for each session */
  userIds: string[]
  /** why others did not: to be asked for once more */
  failure?: PortalSsoError | undefined
}

/** Ends sessions wherever they run. */
export type EndSessions = (store: Store, match: SessionMatch) => Promise<EndedSessions>

/**
 * Ends them in the store first, the host's own or ours, and only then in the index: one that the store would not let go is
 * still found by the next try. A request that runs meanwhile renews a session at its end; our stores renew and write over
 * only what is still there.
 */
export function createEndSessions(index: SessionIndex): EndSessions {
  return async (store, match) => {
    const found = await index.find(match)
    const outcomes = await Promise.allSettled(found.map(({ sessionId }) => destroy(store, sessionId)))
    const ended = found.filter((_, at) => outcomes[at]?.status === 'fulfilled')
    await index.remove(...ended.map(({ sessionId }) => sessionId))
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    return {
      userIds: ended.map(({ userId }) => userId),
      failure: failed?.reason as PortalSsoError | undefined,
    }
  }
}

async function destroy(store: Store, sessionId: string): Promise<void> {
  await inTime(promisify(store.destroy.bind(store))(sessionId))
}
