import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import knexModule, { type Knex } from 'knex'
import { SECOND } from '../shared/time.ts'

// Loaded on use: portals with another database do not install it.
const requireHere = createRequire(import.meta.url)

/** How long the driver itself waits for a lock: it blocks this process meanwhile. */
const busyTimeoutMs = 5
/** How long a statement waits for another process that writes. */
const lockTimeoutMs = 5 * SECOND

interface Connection {
  pragma(statement: string): unknown
  exec(sql: string): unknown
  readonly inTransaction: boolean
}

export interface SqliteClient extends Knex.Client {
  readonly waitsWithTimers?: true
  _query(connection: Connection, query: { sql: string }): Promise<unknown>
}

type ClientClass = new (config: Knex.Config) => SqliteClient

const ownConnections = new WeakSet<Connection>()
const needsNoLock = /^\s*(?:select|with|pragma|explain|commit|rollback|savepoint|release)\b/i

/** A client that waits for locks with timers, so that this process serves other requests meanwhile. */
export function waitingClient(Base: ClientClass): ClientClass {
  return class extends Base {
    override get waitsWithTimers(): true {
      return true
    }

    override async _query(connection: Connection, query: { sql: string }): Promise<unknown> {
      const run = () => super._query(connection, query)
      // It waits in a thread of its own.
      if (this.driverName === 'sqlite3') return await whenFree(run)
      if (connection.inTransaction || needsNoLock.test(query.sql))
        return await whenFree(() => withShortTimeout(connection, run))
      // libsql does not reset a statement that found a lock: later writes would not be committed. So no statement may find one.
      await whenFree(() => withShortTimeout(connection, () => connection.exec('BEGIN IMMEDIATE')))
      // knex's own transaction continues with its statements.
      if (query.sql === 'BEGIN;') return query
      try {
        const result = await run()
        await whenFree(() => withShortTimeout(connection, () => connection.exec('COMMIT')))
        return result
      } catch (error) {
        if (connection.inTransaction) connection.exec('ROLLBACK')
        throw error
      }
    }
  }
}

/** @throws Error of `act`: "database is locked" after the time limit */
async function whenFree<T>(act: () => T | Promise<T>): Promise<T> {
  const startedAt = performance.now()
  for (;;)
    try {
      return await act()
    } catch (error) {
      const isBusy = String((error as { code?: unknown }).code).startsWith('SQLITE_BUSY')
      if (!isBusy || performance.now() - startedAt > lockTimeoutMs) throw error
      await sleep(busyTimeoutMs + Math.random() * 20)
    }
}

/** The host's own statements keep the time limit of the connection. @param act synchronous, or up to its first `await` */
function withShortTimeout<T>(connection: Connection, act: () => T): T {
  if (ownConnections.has(connection)) return act()
  const [{ timeout }] = connection.pragma('busy_timeout') as [{ timeout: number }]
  connection.pragma(`busy_timeout = ${Math.min(timeout, busyTimeoutMs)}`)
  try {
    return act()
  } finally {
    connection.pragma(`busy_timeout = ${timeout}`)
  }
}

let LibsqlClient: ClientClass | undefined

/** knex's better-sqlite3 dialect with `libsql`, which has the same API and needs no install script. Only SQLite loads the dialect. */
function libsqlClient(): ClientClass {
  const { client } = knexModule({ client: 'better-sqlite3', useNullAsDefault: true })
  LibsqlClient ??= class extends waitingClient((client as object).constructor as ClientClass) {
    /** For knex's error without the driver. */
    get _packageName(): string {
      return 'libsql'
    }

    _driver(): unknown {
      return requireHere('libsql')
    }
  }
  return LibsqlClient
}

/** @param filename path of the database file; it is created if it does not exist */
export function sqliteConfig(filename: string): Knex.Config {
  return {
    client: libsqlClient() as unknown as typeof Knex.Client,
    connection: { filename },
    useNullAsDefault: true,
    pool: {
      min: 1,
      max: 1,
      afterCreate(connection: Connection, done: (error: unknown, connection: Connection) => void) {
        connection.pragma(`busy_timeout = ${busyTimeoutMs}`)
        ownConnections.add(connection)
        // Switching to WAL needs a lock that another process may hold.
        whenFree(() => connection.exec('PRAGMA journal_mode = WAL')).then(
          () => {
            connection.exec('PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL')
            done(null, connection)
          },
          (error: unknown) => done(error, connection),
        )
      },
    },
  }
}
