import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { LRUCache } from 'lru-cache'

type Value = string | number | boolean | null

/** A part of a statement, with the values of its placeholders `?`. */
export interface Sql {
  sql: string
  bindings: readonly Value[]
}

/** The part of knex's client that its own builders use. */
interface Client {
  readonly driverName: string
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

interface PgConnection {
  query(text: string, values: unknown, done: (error: unknown, response: unknown) => void): void
}

/** Clients of knex whose queries cost less, by the client that they share everything else with. */
const directClients = new WeakMap<Client, Client>()

/** knex makes an object of text and values, whose properties pg copies one by one, and numbers the placeholders each time. */
function directClient(client: Client): Client {
  const known = directClients.get(client)
  if (known) return known
  const numbered = new LRUCache<string, string>({
    max: 500,
    memoMethod: (sql) => (client as Client & { positionBindings(sql: string): string }).positionBindings(sql),
  })
  const direct = Object.assign(Object.create(client) as Client, {
    positionBindings: (sql: string) => numbered.memo(sql),
    _query: (connection: PgConnection, query: { sql: string; bindings: unknown; response?: unknown }) =>
      new Promise((resolve, reject) => {
        connection.query(query.sql, query.bindings, (error, response) => {
          query.response = response
          if (error) reject(error)
          else resolve(query)
        })
      }),
  })
  directClients.set(client, direct)
  return direct
}

async function run(knex: Knex, method: string, { sql, bindings }: Sql): Promise<unknown> {
  const shared = knex.client as Client
  const client = shared.driverName === 'pg' ? directClient(shared) : shared
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

/** @param rows with the same columns; values by column */
export function insertInto(table: string, ...rows: Readonly<Record<string, Value>>[]): Sql {
  const columns = Object.keys(rows[0] ?? {})
  const placeholders = `(${Array(columns.length).fill('?').join(', ')})`
  const sql = `insert into ${table} (${columns.join(', ')}) values ${Array(rows.length).fill(placeholders).join(', ')}`
  return { sql, bindings: rows.flatMap(Object.values) }
}

/** Matches text that contains the given one, which is no pattern itself. `!`, because MySQL gives a backslash its own meaning. */
export function likePattern(text: string): string {
  return `%${text.toLowerCase().replaceAll('\0', '').replace(/[!%_]/g, '!$&')}%`
}
