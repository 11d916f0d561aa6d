import { expect } from '@jest/globals'
import type { Knex } from 'knex'

/**
 * Expects that other requests have their turn between any two deletions, however fast the machine is.
 *
 * @returns the number of rows of each statement that deleted rows of the table by their ids
 */
export async function recordDeletions(
  knex: Knex,
  table: string,
  act: () => Promise<unknown>,
): Promise<number[]> {
  const deletions: { turn: number; rows: number }[] = []
  let turn = 0
  let next = setImmediate(countTurn)
  function countTurn(): void {
    turn += 1
    next = setImmediate(countTurn)
  }
  const record = ({ sql, bindings }: { sql: string; bindings: unknown[] }) => {
    if (sql.startsWith('delete') && sql.includes(table)) deletions.push({ turn, rows: bindings.length })
  }
  knex.on('query', record)
  try {
    await act()
  } finally {
    knex.removeListener('query', record)
    clearImmediate(next)
  }
  expect(new Set(deletions.map((deletion) => deletion.turn)).size).toBe(deletions.length)
  return deletions.map(({ rows }) => rows)
}
