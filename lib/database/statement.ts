import type { Knex } from 'knex'

type Value = string | number | boolean | null

/** A part of a statement, with the values of its placeholders `?`. */
export interface Sql {
  sql: string
  bindings: readonly Value[]
}

/** The part of knex's client that its own builders use. */
interface Client {
  acquireConnection(): Promise<unknown>
  releaseConnection(connection: unknown): Promise<void>
  query(connection: unknown, query: object): Promise<object>
  processResponse(query: object): unknown
  emit(event: string, ...values: unknown[]): void
}

/**
 * Runs a statement of a sign-in on the pool of a Knex instance, and emits its events. knex's builder would cost more CPU than the
 * driver. The statements have no names, because PgBouncer does not keep them, and run in the connection's schema.
 */
export async function selectRows<Row>(knex: Knex, { sql, bindings }: Sql): Promise<Row[]> {
  return (await run(knex, { method: 'select', sql, bindings })) as Row[]
}

/** For `insert` and `update`. @returns the number of changed rows (update) */
export async function changeRows(knex: Knex, { sql, bindings }: Sql): Promise<unknown> {
  return await run(knex, { method: 'update', sql, bindings })
}

async function run({ client }: { client: Client }, query: object): Promise<unknown> {
  const connection = await client.acquireConnection()
  try {
    const executed = await client.query(connection, query)
    const response = client.processResponse(executed)
    client.emit('query-response', response, executed)
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
