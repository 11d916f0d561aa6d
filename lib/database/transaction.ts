import type { Knex } from 'knex'

/**
 * Runs a transaction. If the database ends it because of a deadlock with another one, it runs once more, so `act` must not change
 * anything outside of the database.
 */
export async function inTransaction<T>(
  knex: Knex,
  act: (transaction: Knex.Transaction) => Promise<T>,
): Promise<T> {
  try {
    return await knex.transaction(act)
  } catch (error) {
    if (!isDeadlock(error)) throw error
    return await knex.transaction(act)
  }
}

function isDeadlock(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === 'ER_LOCK_DEADLOCK' || code === '40001' || code === '40P01'
}
