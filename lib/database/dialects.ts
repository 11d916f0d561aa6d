import knexModule, { type Knex } from 'knex'
import Libsql from 'libsql'
import { ConfigurationError } from '../shared/errors.ts'

/** knex's better-sqlite3 dialect with `libsql`, which has the same API and needs no install script. */
const BetterSqlite3Client = knexModule({ client: 'better-sqlite3', useNullAsDefault: true }).client
  .constructor as typeof Knex.Client

class LibsqlClient extends BetterSqlite3Client {
  _driver(): unknown {
    return Libsql
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

export function isSqlite({ client }: Knex): boolean {
  return (client as { dialect: string }).dialect === 'sqlite3'
}

export function isMysql({ client }: Knex): boolean {
  return (client as { dialect: string }).dialect === 'mysql'
}

/** MariaDB and MySQL 8. @param timeoutMs for a connection */
export function mysqlConfig(url: string, timeoutMs: number): Knex.Config {
  const { hostname: host, password, pathname, port, username } = new URL(url)
  return {
    client: 'mysql2',
    connection: {
      host,
      port: Number(port || 3306),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)),
      charset: 'utf8mb4',
      connectTimeout: timeoutMs,
    },
    pool: { min: 0, max: 10 },
    acquireConnectionTimeout: timeoutMs,
  }
}

/** Client flag of the protocol: an update reports the rows that it matched, not only those that it changed. */
const foundRows = 2

/**
 * Refuses settings that break checks silently. If an update reports changed rows in place of matched ones, two sign-ins in the same
 * millisecond end each other. Without the strict mode, values are truncated.
 *
 * @throws ConfigurationError with the setting to change
 */
export async function assertMysqlSettings(knex: Knex): Promise<void> {
  const client = knex.client as {
    driverName: string
    acquireConnection(): Promise<{ config: { clientFlags?: number } }>
    releaseConnection(connection: unknown): Promise<void>
  }
  if (client.driverName !== 'mysql2')
    throw new ConfigurationError('database: give a Knex instance with `client: "mysql2"`')
  const connection = await client.acquireConnection()
  await client.releaseConnection(connection)
  if (!((connection.config.clientFlags ?? 0) & foundRows))
    throw new ConfigurationError('database: remove `-FOUND_ROWS` from the flags of the connection')
  const [[{ mode }]] = (await knex.raw('select @@sql_mode as mode')) as [[{ mode: string }]]
  if (!/\bSTRICT_(?:ALL|TRANS)_TABLES\b/.test(mode))
    throw new ConfigurationError('database: add STRICT_TRANS_TABLES to `sql_mode`')
}

/** Compares byte by byte. Other collations, even `utf8mb4_bin`, ignore trailing spaces: two subjects would share a user. */
export async function binaryCollation(knex: Knex): Promise<string> {
  const [[{ version }]] = (await knex.raw('select version() as version')) as [[{ version: string }]]
  return /mariadb/i.test(version) ? 'utf8mb4_nopad_bin' : 'utf8mb4_0900_bin'
}
