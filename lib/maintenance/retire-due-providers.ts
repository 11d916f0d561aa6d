import type { Knex } from 'knex'
import type { EventLog } from '../events/event-log.ts'
import { createRetirementRows } from '../management/retire-provider.ts'
import type { SessionsTable } from '../sessions/sessions-table.ts'
import type { Task } from './scheduler.ts'

export interface RetireDueParts {
  events: EventLog
  knex: Knex
  index: SessionsTable
}

/**
 * milliseconds after the last moment of a provider. A sign-in that was let through just before is judged within seconds, and
 * its session is then there to be found.
 */
const grace = 15_000

/** Disables providers whose last day is over, and ends their sessions. */
export function createRetireDue({ events, index, knex }: RetireDueParts): Task {
  const rows = createRetirementRows(knex)
  return async () => {
    for (const provider of await rows.due(new Date(Date.now() - grace).toISOString())) {
      const { portal, slug } = provider
      // Together: an instance that dies in between must not leave sessions behind that nobody ends.
      const sessions = await knex.transaction(async (transaction) =>
        (await rows.retire(provider, transaction))
          ? await index.removeQuietly({ portal, provider: slug }, transaction)
          : undefined,
      )
      if (sessions === undefined) continue
      await events.record({
        kind: 'provider-retired',
        portal,
        provider: slug,
        actor: 'upkeep',
        detail: { sessions },
      })
    }
  }
}
