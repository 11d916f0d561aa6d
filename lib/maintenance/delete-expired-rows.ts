import type { Knex } from 'knex'
import { type Aging, deleteInBatches } from '../database/delete-in-batches.ts'
import type { EventLog } from '../events/event-log.ts'
import { createRetirementRows } from '../management/retire-provider.ts'
import type { Task } from './scheduler.ts'

export interface ForgetOverParts {
  /** days that an event is kept */
  retentionDays: number
  knex: Knex
}

const hour = 3_600_000
const day = 24 * hour

/** Rows that nobody asks for any more, each after as long as its rules still count it, or a slow clock may take it for good. */
export function createDeleteExpiredRows({
  retentionDays,
  knex,
}: ForgetOverParts): Readonly<Record<string, Task>> {
  const forget = (aging: Aging) => () => deleteInBatches(knex, aging)
  return {
    'forget sessions': forget({ table: 'sso_sessions', column: 'expires_at', keep: hour }),
    // A mail counts for an hour, and its code is good for less.
    'forget codes': forget({ table: 'sso_email_verifications', column: 'sent_at', keep: 2 * hour }),
    'forget logout tokens': forget({ table: 'sso_logout_tokens', column: 'expires_at', keep: hour }),
    'forget tickets': forget({ table: 'sso_one_time_links', column: 'expires_at', keep: day }),
    'forget events': forget({ table: 'sso_events', column: 'at', keep: retentionDays * day }),
  }
}

const kept = 30 * 24 * 3_600_000

/** Providers that were removed 30 days ago go for good, their sealed secrets with them. */
export function createPurgeRemovedProviders({ events, knex }: { events: EventLog; knex: Knex }): Task {
  const rows = createRetirementRows(knex)
  return async () => {
    for (const { portal, slug } of await rows.forgetRemoved(new Date(Date.now() - kept).toISOString()))
      await events.record({ kind: 'provider-purged', portal, provider: slug, actor: 'upkeep' })
  }
}
