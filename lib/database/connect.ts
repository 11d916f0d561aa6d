import knexModule, { type Knex } from 'knex'
import { ConfigurationError } from '../shared/errors.ts'
import { sqliteConfig } from './sqlite.ts'

export interface Database {
  knex: Knex
  /** Closes only what was opened here: a host's own Knex stays open. */
  close(): Promise<void>
}

// What knex would write to the console, with stack traces, comes to the caller as an error anyway.
const quiet: Knex.Logger = { warn: () => {}, error: () => {} }

/** @param source a Knex instance of the host's, a Knex configuration, or a URL (`postgres://…`, `sqlite:file`) */
export function connectDatabase(source: Knex | Knex.Config | string): Database {
  const database = open(source)
  refuseLoose(database.knex)
  return database
}

function open(source: Knex | Knex.Config | string): Database {
  if (typeof source === 'function') return { knex: source, close: async () => {} }
  const knex = knexModule({ log: quiet, ...(typeof source === 'string' ? configFromUrl(source) : source) })
  return { knex, close: () => knex.destroy() }
}

/**
 * MySQL and SQL Server compare text by a collation that takes `AbC` for `abc`: two subjects of one provider would be one user.
 */
function refuseLoose(knex: Knex): void {
  const { dialect } = knex.client as { dialect: string }
  if (dialect === 'postgresql' || dialect === 'sqlite3') return
  throw new ConfigurationError(`database: ${dialect} is not supported yet; give PostgreSQL or SQLite`)
}

/**
 * @param url `postgres://user:password@host:5432/name` or `sqlite:path/to/file`
 * @throws ConfigurationError when it is neither
 */
export function configFromUrl(url: string): Knex.Config {
  if (url.startsWith('sqlite:')) {
    const filename = url.slice('sqlite:'.length).replace(/^\/\//, '')
    if (filename === '') throw new ConfigurationError('DATABASE_URL: write a file after `sqlite:`')
    return sqliteConfig(filename)
  }
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) {
    // A database that is away must fail a request soon, not after knex's minute.
    return {
      client: 'pg',
      connection: { connectionString: url, connectionTimeoutMillis: 3000, query_timeout: 10_000 },
      pool: { min: 0, max: 10 },
      acquireConnectionTimeout: 3000,
    }
  }
  throw new ConfigurationError(
    'DATABASE_URL: write `postgres://user:password@host:5432/name` or `sqlite:path/to/file`',
  )
}

/** Whether the database refused a row because a unique index has its like already. */
export function isUniqueViolation(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === '23505' || code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY'
}
