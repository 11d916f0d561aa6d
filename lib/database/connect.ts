import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import knexModule, { type Knex } from 'knex'
import { ConfigurationError, describeError } from '../shared/errors.ts'
import { SECOND } from '../shared/time.ts'
import { mysqlConfig } from './mysql.ts'
import { type SqliteClient, sqliteConfig, waitingClient } from './sqlite.ts'

export interface Database {
  knex: Knex
  /** Closes the connections, unless the host opened them itself. */
  close(): Promise<void>
}

// Callers receive these failures as errors: knex must not print them as well.
const silentLogger: Knex.Logger = { warn: () => {}, error: () => {} }

const connectTimeoutMs = 3 * SECOND
const queryTimeoutMs = 10 * SECOND

/**
 * @param source a Knex instance of the host, a Knex configuration, or a URL (`postgres://…`, `sqlite:file`)
 * @throws ConfigurationError for an unsupported database, and without its driver
 */
export function connectDatabase(source: Knex | Knex.Config | string): Database {
  const given = typeof source === 'function' ? source : createKnex(source)
  const { dialect } = given.client as { dialect: string }
  if (!['postgresql', 'mysql', 'sqlite3'].includes(dialect)) throw new ConfigurationError(clientAdvice)
  const close = async () => {
    if (given !== source) await given.destroy()
  }
  return { knex: withOwnClient(given), close }
}

const clientAdvice = 'database: set `client` to `pg`, `mysql2` or `better-sqlite3`'

function createKnex(source: Knex.Config | string): Knex {
  const config = typeof source === 'string' ? configFromUrl(source) : source
  const { connectionString = config.connection } = Object(config.connection) as Knex.PgConnectionConfig
  assertWellEncoded(connectionString)
  try {
    return knexModule({ log: silentLogger, ...config })
  } catch (cause) {
    // knex's message has several lines: a command, and the reason of Node.
    const message = describeError(cause)
    const [, driver = '', reason] = /npm install (\S+).*\n(.*)/.exec(message) ?? []
    if (['pg', 'mysql2', 'libsql', 'better-sqlite3', 'sqlite3'].includes(driver))
      throw new ConfigurationError(
        `database: install its driver with \`npm install ${driver}\` (${reason})`,
        { cause },
      )
    const isClientWrong = driver !== '' || message.includes("'client'")
    throw new ConfigurationError(isClientWrong ? clientAdvice : `database: ${message}`, { cause })
  }
}

/**
 * The host may map names, such as `user_id` to `userId`, and its driver of SQLite may block the process while it waits. The clone has
 * its own client, and shares the pool and the listeners of the host's instance. knex's migrator does the same for its own tables.
 */
function withOwnClient(knex: Knex): Knex {
  const client = knex.client as SqliteClient & { config: Knex.Config }
  const hasMappers = 'wrapIdentifier' in client.config || 'postProcessResponse' in client.config
  const blocks = isSqlite(knex) && !client.waitsWithTimers
  if (!hasMappers && !blocks) return knex
  const clone = knex.withUserParams({})
  Object.assign(clone.client.config, { wrapIdentifier: undefined, postProcessResponse: undefined })
  if (blocks) {
    const Client = client.constructor as Parameters<typeof waitingClient>[0]
    Object.setPrototypeOf(clone.client, waitingClient(Client).prototype as object)
  }
  // The host may close its pool and open another one.
  Object.defineProperty(clone.client, 'pool', { enumerable: true, get: () => knex.client.pool })
  return clone
}

/**
 * @param url `postgres://user:password@host:5432/name`, `mysql://…`, `mariadb://…` or `sqlite:path/to/file`
 * @throws ConfigurationError for any other URL
 */
export function configFromUrl(url: string): Knex.Config {
  const filename = sqliteFile(url)
  if (filename !== undefined) {
    if (filename === '') throw new ConfigurationError('database (DATABASE_URL): write a file after `sqlite:`')
    return sqliteConfig(filename)
  }
  if (!serverUrl.test(url))
    throw new ConfigurationError(
      'database (DATABASE_URL): write `postgres://user:password@host:5432/name`, `mysql://…` or `sqlite:path/to/file`',
    )
  assertWellEncoded(url, 'database (DATABASE_URL)')
  if (!url.startsWith('postgres')) return mysqlConfig(url, connectTimeoutMs)
  // If the database is down, requests must fail soon, not after knex's default of a minute.
  return {
    client: 'pg',
    connection: {
      connectionString: url,
      connectionTimeoutMillis: connectTimeoutMs,
      query_timeout: queryTimeoutMs,
    },
    pool: { min: 0, max: 10 },
    acquireConnectionTimeout: connectTimeoutMs,
  }
}

/** @returns the file of a URL `sqlite:path/to/file` */
export function sqliteFile(url: string): string | undefined {
  return url.startsWith('sqlite:') ? url.slice('sqlite:'.length).replace(/^\/\//, '') : undefined
}

const serverUrl = /^(?:postgres(?:ql)?|mysql|mariadb):\/\//

/** If a password contains `/`, `?`, `#` or a bare `%`, a part of it would be read, and printed, as the host or the path. */
function assertWellEncoded(url: unknown, name = 'database'): void {
  if (typeof url !== 'string' || !serverUrl.test(url)) return
  try {
    const { hash, password, pathname, search, username } = new URL(url)
    decodeURIComponent(username + password)
    if (!`${pathname}${search}${hash}`.includes('@')) return
  } catch {
    // Its message may contain the password.
  }
  throw new ConfigurationError(
    `${name}: percent-encode the special characters in the user name and the password, such as \`%23\` for \`#\` and \`%2F\` for \`/\``,
  )
}

/** True if a row violates a unique index. */
export function isUniqueViolation(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  // The driver `sqlite3` has one code for all constraints.
  if (code === 'SQLITE_CONSTRAINT') return String(message).includes('UNIQUE constraint failed')
  return ['23505', 'ER_DUP_ENTRY', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_PRIMARYKEY'].includes(
    String(code),
  )
}

/** True if a statement names a table that does not exist. */
export function isMissingTable(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown }
  return code === '42P01' || code === 'ER_NO_SUCH_TABLE' || /no such table: \S+$/.test(String(message))
}

export function isPostgres({ client }: Knex): boolean {
  return (client as { dialect: string }).dialect === 'postgresql'
}

export function isSqlite({ client }: Knex): boolean {
  return (client as { dialect: string }).dialect === 'sqlite3'
}

/** A batch that took longer has waited for a lock, and blocked nobody. */
const maxPauseMs = 100

/**
 * Lets other requests go on between two batches. SQLite works in this process, so the pause is twice as long as the batch.
 *
 * @param startedAt of the batch, in milliseconds of `performance.now()`
 */
export async function pauseAfterBatch(knex: Knex, startedAt: number): Promise<void> {
  if (isSqlite(knex)) await sleep(Math.min(2 * (performance.now() - startedAt), maxPauseMs))
  else await nextTurn()
}

/** Advice for the operator, by the code or the name of the driver's error. Without a text, the error itself says enough. */
const explanations: [codes: string, advice: string][] = [
  [
    'KnexTimeoutError ETIMEDOUT EHOSTUNREACH ECONNRESET',
    'it does not respond: check its address, and whether the server is running',
  ],
  ['ECONNREFUSED', 'nothing listens at its address: check the address, and whether the server is running'],
  ['ENOTFOUND EAI_AGAIN', 'its host name is unknown: check the address'],
  ['CANTOPEN', 'its file cannot be opened: check the path and the permissions of its folder'],
  ['SQLITE_NOTADB', 'its file contains something else: check the path'],
  ['28P01 ER_ACCESS_DENIED_ERROR', 'it rejects the user name or the password'],
  ['28000 57P03', ''],
  ['3D000 ER_BAD_DB_ERROR', 'it does not exist: create it first'],
  // For a user with rights to some databases only, MariaDB does not tell these cases apart.
  ['ER_DBACCESS_DENIED_ERROR', 'it does not exist, or its user may not use it'],
  [
    '42501 ER_TABLEACCESS_DENIED_ERROR',
    'its user lacks the permission: run `portal-sso migrate` as a user who may change tables',
  ],
  ['25006 SQLITE_READONLY', 'it is read-only: run `portal-sso migrate` on a writable server'],
]

function adviceFor(error: unknown): string | undefined {
  const { code, message, name } = (error ?? {}) as { code?: unknown; message?: unknown; name?: unknown }
  const isFileError = /Unable to open connection|CANTOPEN|^Cannot open database/.test(String(message))
  const key = message === 'timeout expired' ? 'ETIMEDOUT' : String(code ?? name)
  return explanations.find(([codes]) => codes.split(' ').includes(isFileError ? 'CANTOPEN' : key))?.[1]
}

/** True for errors of the connection, or of the database itself. */
export const isDatabaseError = (error: unknown): boolean => adviceFor(error) !== undefined

/** @returns an error whose message names the database, without its password, and what to do */
export function explainDatabaseError(error: unknown, knex: Knex): Error {
  if (error instanceof ConfigurationError) return error
  const message = describeError(error).replace(/^(?:create|alter) [\s\S]* - /, '')
  const reason = adviceFor(error) || message
  const database = `database ${databaseName(knex)}`.trim()
  return new ConfigurationError(`${database}: ${reason}`, { cause: error })
}

/** @returns the address of the database, without the password */
export function databaseName(knex: Knex): string {
  const { connection = {} } = (knex.client as { config: Knex.Config }).config
  if (typeof connection !== 'object') return typeof connection === 'string' ? withoutPassword(connection) : ''
  const { connectionString, filename, database, host, port } = connection as Record<string, unknown>
  if (typeof connectionString === 'string') return withoutPassword(connectionString)
  // knex takes a URL that it cannot parse for a file.
  if (typeof filename === 'string') return isSqlite(knex) ? filename : ''
  const address = [host, port].filter(Boolean).join(':')
  return [database, address].filter(Boolean).join(' at ')
}

function withoutPassword(url: string): string {
  if (!URL.canParse(url)) return ''
  const { host, pathname, protocol, username } = new URL(url)
  return `${protocol}//${username && `${username}@`}${host}${pathname}`
}

const maxDeadlocks = 5

/**
 * Runs a transaction, and repeats it after a deadlock: `act` must change nothing outside of the database. Ten concurrent ones can meet
 * a second time, so each waits for a random time.
 */
export async function inTransaction<T>(
  knex: Knex,
  act: (transaction: Knex.Transaction) => Promise<T>,
): Promise<T> {
  for (let deadlocks = 0; ; deadlocks++)
    try {
      return await knex.transaction(act)
    } catch (error) {
      if (!isDeadlock(error) || deadlocks === maxDeadlocks) throw error
      await sleep(Math.random() * 20)
    }
}

function isDeadlock(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === 'ER_LOCK_DEADLOCK' || code === '40001' || code === '40P01'
}
