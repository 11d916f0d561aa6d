import { createRequire } from 'node:module'
import knexModule, { type Knex } from 'knex'

// Loaded on use: portals with another database do not install it.
const requireHere = createRequire(import.meta.url)

/** knex's better-sqlite3 dialect with `libsql`, which has the same API and needs no install script. */
const BetterSqlite3Client = knexModule({ client: 'better-sqlite3', useNullAsDefault: true }).client
  .constructor as typeof Knex.Client

class LibsqlClient extends BetterSqlite3Client {
  /** For knex's error without the driver. */
  get _packageName(): string {
    return 'libsql'
  }

  _driver(): unknown {
    return requireHere('libsql')
  }
}

interface Connection {
  pragma(statement: string): unknown
}

/** @param filename path of the database file; it is created if it does not exist */
export function sqliteConfig(filename: string): Knex.Config {
  return {
    client: LibsqlClient,
    connection: { filename },
    useNullAsDefault: true,
    pool: {
      min: 1,
      max: 1,
      afterCreate(connection: Connection, done: (error: Error | null, connection: Connection) => void) {
        // busy_timeout comes first, because switching to WAL needs a lock that another process may hold.
        for (const statement of [
          'busy_timeout = 5000',
          'journal_mode = WAL',
          'foreign_keys = ON',
          'synchronous = NORMAL',
        ])
          connection.pragma(statement)
        done(null, connection)
      },
    },
  }
}
