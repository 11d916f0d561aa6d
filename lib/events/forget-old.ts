import type { Knex } from 'knex'
import { explain } from '../errors.ts'
import type { Logger } from '../logger.ts'

const day = 24 * 3_600_000
const hour = 3_600_000
/** rows of one batch: a delete of millions would hold its locks for minutes */
const batch = 1000

/**
 * Deletes events whose time is over; called after each write, it looks once an hour, the first time a minute after the start.
 * So no cron is needed, and a command that runs for a moment deletes nothing. Instances that do it at once delete the same
 * rows, which harms nobody.
 *
 * @param keepDays days
 */
export function createForgetOld(knex: Knex, keepDays: number, logger: Logger): () => void {
  let due = Date.now() + 60_000

  async function forget(): Promise<void> {
    const until = new Date(Date.now() - keepDays * day).toISOString()
    for (let found = batch; found === batch; ) {
      // In two steps: not every database deletes with a limit, or from a table that it reads in the same statement.
      const ids: string[] = await knex('sso_events')
        .where('at', '<', until)
        .orderBy('at')
        .limit(batch)
        .pluck('id')
      await knex('sso_events').whereIn('id', ids).delete()
      found = ids.length
    }
  }

  return () => {
    if (Date.now() < due) return
    due = Date.now() + hour
    forget().catch((error: unknown) =>
      logger.error({ cause: explain(error) }, 'events whose time is over could not be deleted'),
    )
  }
}
