import knexModule, { type Knex } from 'knex'
import { ConfigurationError } from '../shared/errors.ts'
import { SECOND } from '../shared/time.ts'
import { sqliteConfig } from './sqlite.ts'

export interface Database {
  knex: Knex
  /** Closes the connections, unless the host opened them itself. */
  close(): Promise<void>
}

// Callers receive these failures as errors: knex must not print them as well.
const silentLogger: Knex.Logger = { warn: () => {}, error: () => {} }

const connectTimeoutMs = 3 * SECOND
const queryTimeoutMs = 10 * SECOND

/** @param source a Knex instance of the host, a Knex configuration, or a URL (`postgres://…`, `sqlite:file`) */
export function connectDatabase(source: Knex | Knex.Config | string): Database {
  const config = typeof source === 'string' ? configFromUrl(source) : source
  const knex = typeof config === 'function' ? config : knexModule({ log: silentLogger, ...config })
  // The collations of MySQL and SQL Server treat `AbC` and `abc` as equal: two subjects of a provider would share a user.
  const { dialect } = knex.client as { dialect: string }
  if (dialect !== 'postgresql' && dialect !== 'sqlite3')
    throw new ConfigurationError(`database: ${dialect} is not supported yet; give PostgreSQL or SQLite`)
  const close = async () => {
    if (knex !== source) await knex.destroy()
  }
  return { knex, close }
}

/**
 * @param url `postgres://user:password@host:5432/name` or `sqlite:path/to/file`
 * @throws ConfigurationError for any other URL
 */
export function configFromUrl(url: string): Knex.Config {
  if (url.startsWith('sqlite:')) {
    const filename = url.slice('sqlite:'.length).replace(/^\/\//, '')
    if (filename === '') throw new ConfigurationError('DATABASE_URL: write a file after `sqlite:`')
    return sqliteConfig(filename)
  }
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) {
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
  throw new ConfigurationError(
    'DATABASE_URL: write `postgres://user:password@host:5432/name` or `sqlite:path/to/file`',
  )
}

/** True if a row violates a unique index. */
export function isUniqueViolation(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === '23505' || code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY'
}
