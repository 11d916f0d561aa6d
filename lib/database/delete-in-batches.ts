import type { Knex } from 'knex'

/** rows of one batch: a delete of millions would hold its locks for minutes */
const batch = 1000
/** rows of one run: what is left waits a minute, and no instance does only this */
const most = 20_000
/** milliseconds of one run */
const patience = 10_000

/** Rows whose time is over `keep` milliseconds after the moment in `column`; an index has to find them. */
export interface Aging {
  table:
    | 'sso_events'
    | 'sso_logout_tokens'
    | 'sso_email_verifications'
    | 'sso_sessions'
    | 'sso_one_time_links'
  column: string
  keep: number
}

/**
 * Deletes them batch by batch, the oldest first, as far as one run goes. Instances that do it at once delete the same rows, which
 * harms nobody.
 */
export async function deleteInBatches(knex: Knex, { table, column, keep }: Aging): Promise<void> {
  const began = Date.now()
  const until = new Date(began - keep).toISOString()
  for (let done = 0; done < most && Date.now() - began < patience; done += batch) {
    // In two steps: not every database deletes with a limit, or from a table that it reads in the same statement.
    const ids: string[] = await knex(table).where(column, '<', until).orderBy(column).limit(batch).pluck('id')
    if (ids.length > 0) await knex(table).whereIn('id', ids).delete()
    if (ids.length < batch) return
  }
}
