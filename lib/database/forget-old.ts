import type { Knex } from 'knex'
import { explain } from '../errors.ts'
import type { Logger } from '../logger.ts'

const hour = 3_600_000
/** rows of one batch: a delete of millions would hold its locks for minutes */
const batch = 1000

/** Rows whose time is over `keep` milliseconds after the moment in `column`; an index has to find them. */
export interface Aging {
  table: 'sso_events' | 'sso_sessions' | 'sso_tickets'
  column: string
  keep: number
}

/** Deletes all of them, batch by batch. */
export async function forgetOld(knex: Knex, { table, column, keep }: Aging): Promise<void> {
  const until = new Date(Date.now() - keep).toISOString()
  for (let found = batch; found === batch; ) {
    // In two steps: not every database deletes with a limit, or from a table that it reads in the same statement.
    const ids: string[] = await knex(table).where(column, '<', until).orderBy(column).limit(batch).pluck('id')
    await knex(table).whereIn('id', ids).delete()
    found = ids.length
  }
}

/**
 * Deletes rows whose time is over; called after each write, it looks once an hour, the first time a minute after the start.
 * So no cron is needed, and a command that runs for a moment deletes nothing. Instances that do it at once delete the same
 * rows, which harms nobody.
 */
export function createForgetOld(knex: Knex, aging: Aging, logger: Logger): () => void {
  let due = Date.now() + 60_000

  return () => {
    if (Date.now() < due) return
    due = Date.now() + hour
    forgetOld(knex, aging).catch((error: unknown) =>
      logger.error(
        { table: aging.table, cause: explain(error) },
        'rows whose time is over could not be deleted',
      ),
    )
  }
}
