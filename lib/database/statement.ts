import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'

type Value = string | number | boolean | null

/** A part of a statement, with the values of its placeholders `?`. */
export interface Sql {
  sql: string
  bindings: readonly Value[]
}

/** The part of knex's client that its own builders use. */
interface Client {
  acquireConnection(): Promise<{ __knexUid?: string }>
  releaseConnection(connection: unknown): Promise<void>
  query(connection: unknown, query: object): Promise<object>
  processResponse(query: object): unknown
  emit(event: string, ...values: unknown[]): void
}

/**
 * Runs a statement of a sign-in on the pool of a Knex instance, and emits its events. knex's builder would cost more CPU than the
 * driver. The statements have no names, because PgBouncer does not keep them, and run in the connection's schema.
 */
export async function selectRows<Row>(knex: Knex, statement: Sql): Promise<Row[]> {
  return (await run(knex, 'select', statement)) as Row[]
}

/** For `insert` and `update`. @returns the number of changed rows (update) */
export async function changeRows(knex: Knex, statement: Sql): Promise<unknown> {
  return await run(knex, 'update', statement)
}

async function run(knex: Knex, method: string, { sql, bindings }: Sql): Promise<unknown> {
  const client = knex.client as Client
  const connection = await client.acquireConnection()
  try {
    const query = { method, sql, bindings, __knexQueryUid: randomUUID() }
    const executed = await client.query(connection, query)
    const response = client.processResponse(executed)
    const { __knexUid } = connection
    // Listeners of the host find the event `query` by these ids, and may read the builder.
    client.emit('query-response', response, { __knexUid, ...executed }, knex.raw(sql, bindings))
    return response
  } finally {
    await client.releaseConnection(connection)
  }
}

/** @param values by column */
export function insertInto(table: string, values: Readonly<Record<string, Value>>): Sql {
  const columns = Object.keys(values)
  const sql = `insert into ${table} (${columns.join(', ')}) values (${Array(columns.length).fill('?').join(', ')})`
  return { sql, bindings: Object.values(values) }
}

/** Matches text that contains the given one, which is no pattern itself. `!`, because MySQL gives a backslash its own meaning. */
export function likePattern(text: string): string {
  return `%${text.toLowerCase().replaceAll('\0', '').replace(/[!%_]/g, '!$&')}%`
}
