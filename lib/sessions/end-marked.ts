import type { Knex } from 'knex'
import { explain } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { EndSessions } from './end-sessions.ts'
import type { KnownStore } from './known-store.ts'
import type { SessionIndex, SessionMatch } from './session-index.ts'

export interface MarkedSessionsParts {
  endSessions: EndSessions
  index: SessionIndex
  knownStore: KnownStore
  logger: Logger
}

/**
 * Sessions that somebody here decided to end. Who decides may not know the store (a command, an instance that has had no
 * request yet), or the store may be away: so they are marked first, which outlives us, and ended by whoever can.
 */
export interface MarkedSessions {
  /** @param on a transaction. @returns how many */
  mark(match: SessionMatch, on?: Knex): Promise<number>
  /** Ends what is marked, on any instance. Does nothing where the store is not known. @throws PortalSsoError when it does not let go */
  endMarked(): Promise<void>
  /** The same, at once as far as it goes: what is left is ended within minutes. */
  endNow(): Promise<void>
}

export function createMarkedSessions(parts: MarkedSessionsParts): MarkedSessions {
  const { endSessions, index, knownStore, logger } = parts

  async function endMarked(): Promise<void> {
    const store = knownStore.get()
    if (!store) return
    for (let ended = 1; ended > 0; ) {
      const { userIds, failure } = await endSessions(store, 'marked')
      if (failure) throw failure
      ended = userIds.length
    }
  }

  return {
    mark: (match, on) => index.mark(match, on),
    endMarked,
    async endNow() {
      try {
        await endMarked()
      } catch (error) {
        logger.warn(
          { cause: explain(error) },
          'sessions could not be ended yet: they are tried again each minute',
        )
      }
    },
  }
}
