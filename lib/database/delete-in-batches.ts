import type { Knex } from 'knex'
import { SECOND } from '../shared/time.ts'

/** Deleting millions of rows in one statement would hold its locks for minutes. */
const batchSize = 1000
/** The next run deletes the rest. */
const maxRowsPerRun = 20_000
const maxRunMs = 10 * SECOND

export type AgingTable =
  | 'sso_events'
  | 'sso_logout_tokens'
  | 'sso_email_verifications'
  | 'sso_sessions'
  | 'sso_one_time_links'
  | 'sso_redeemed_codes'

/**
 * Deletes rows whose `column` is older than `retentionMs`, oldest first, up to the limits of one run. Several instances may do
 * so at the same time.
 *
 * @param column an ISO 8601 date with an index
 */
export async function deleteInBatches(
  knex: Knex,
  table: AgingTable,
  column: string,
  retentionMs: number,
): Promise<void> {
  const startedAt = Date.now()
  const until = new Date(startedAt - retentionMs).toISOString()
  for (let done = 0; done < maxRowsPerRun && Date.now() - startedAt < maxRunMs; done += batchSize) {
    // Two statements: not every database can delete with a limit, or from a table that the same statement reads.
    const ids: string[] = await knex(table)
      .where(column, '<', until)
      .orderBy(column)
      .limit(batchSize)
      .pluck('id')
    if (ids.length > 0) await knex(table).whereIn('id', ids).delete()
    if (ids.length < batchSize) return
  }
}
