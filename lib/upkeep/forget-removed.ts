import type { Knex } from 'knex'
import type { EventLog } from '../events/events.ts'
import { createRetirementRows } from '../moving/retirement-rows.ts'
import type { Task } from './upkeep.ts'

const kept = 30 * 24 * 3_600_000

/** Providers that were removed 30 days ago go for good, their sealed secrets with them. */
export function createForgetRemoved({ events, knex }: { events: EventLog; knex: Knex }): Task {
  const rows = createRetirementRows(knex)
  return async () => {
    for (const { portal, slug } of await rows.forgetRemoved(new Date(Date.now() - kept).toISOString()))
      await events.record({ kind: 'provider-forgotten', portal, provider: slug, by: 'upkeep' })
  }
}
