import type { Knex } from 'knex'
import { ConfigurationError } from '../shared/errors.ts'

/** Client flag of the protocol: an update reports the rows that it matched, not only those that it changed. */
const foundRows = 2

export function isMysql({ client }: Knex): boolean {
  return (client as { dialect: string }).dialect === 'mysql'
}

/**
 * MariaDB and MySQL 8. Attacker: someone between portal and database, although the operator asked for TLS. So no parameter of the URL
 * is ignored, and TLS verifies the certificate and its host name, which mysql2 does not do by default.
 *
 * @param timeoutMs for a connection
 * @throws ConfigurationError for any parameter except `ssl=true`
 */
export function mysqlConfig(url: string, timeoutMs: number): Knex.Config {
  const { hostname: host, password, pathname, port, search, username } = new URL(url)
  const isTls = search === '?ssl=true'
  if (search !== '' && !isTls)
    throw new ConfigurationError(
      'database (DATABASE_URL): of the parameters after `?`, only `ssl=true` is supported for MariaDB and MySQL; for others, give the option `database` a Knex configuration',
    )
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
      ...(isTls && { ssl: { verifyIdentity: true } }),
    },
    pool: { min: 0, max: 10 },
    acquireConnectionTimeout: timeoutMs,
  }
}

/**
 * Refuses settings that break checks silently. If an update reports changed rows in place of matched ones, two sign-ins in the same
 * millisecond end each other. Without the strict mode, values are truncated. Attacker: registers with a name whose quote ends the
 * string, because mysql2 escapes it by a backslash that the server would not read.
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
  if (mode.includes('NO_BACKSLASH_ESCAPES'))
    throw new ConfigurationError('database: remove NO_BACKSLASH_ESCAPES from `sql_mode`')
}

/** Compares byte by byte. Other collations, even `utf8mb4_bin`, ignore trailing spaces: two subjects would share a user. */
export async function binaryCollation(knex: Knex): Promise<string> {
  const [[{ version }]] = (await knex.raw('select version() as version')) as [[{ version: string }]]
  return /mariadb/i.test(version) ? 'utf8mb4_nopad_bin' : 'utf8mb4_0900_bin'
}
