import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { ConfigurationError, describeError } from '../shared/errors.ts'
import { type Logger, sanitizingLogger } from '../shared/logger.ts'
import { MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import { DatabaseClock } from './clock.ts'
import { connectDatabase, type Database, explainDatabaseError, isMissingTable, isSqlite } from './connect.ts'
import * as initial from './migrations/001-initial.ts'
import * as provenLinks from './migrations/002-proven-links.ts'
import * as blockedIdentities from './migrations/003-blocked-identities.ts'
import * as providerTrust from './migrations/004-provider-trust.ts'
import * as redeemedCodes from './migrations/005-redeemed-codes.ts'
import * as anySigningAlgorithm from './migrations/006-any-signing-algorithm.ts'
import * as reauthentication from './migrations/007-reauthentication.ts'
import * as clientDetection from './migrations/008-client-detection.ts'
import * as pushedRequests from './migrations/009-pushed-requests.ts'
import * as indexesForLargeTables from './migrations/010-indexes-for-large-tables.ts'
import * as sessionEndings from './migrations/011-session-endings.ts'
import * as providerHealth from './migrations/012-provider-health.ts'
import * as providerMarks from './migrations/013-provider-marks.ts'
import * as showOnPicker from './migrations/014-show-on-picker.ts'
import * as adminPages from './migrations/015-admin-pages.ts'
import { assertMysqlSettings, isMysql } from './mysql.ts'

interface Migration {
  name: string
  up(knex: Knex): Promise<void>
  down(knex: Knex): Promise<void>
}

// Imported, not read from a folder, so that the names are the same in TypeScript and in the built package.
const migrations: Migration[] = [
  { name: '001-initial', ...initial },
  { name: '002-proven-links', ...provenLinks },
  { name: '003-blocked-identities', ...blockedIdentities },
  { name: '004-provider-trust', ...providerTrust },
  { name: '005-redeemed-codes', ...redeemedCodes },
  { name: '006-any-signing-algorithm', ...anySigningAlgorithm },
  { name: '007-reauthentication', ...reauthentication },
  { name: '008-client-detection', ...clientDetection },
  { name: '009-pushed-requests', ...pushedRequests },
  { name: '010-indexes-for-large-tables', ...indexesForLargeTables },
  { name: '011-session-endings', ...sessionEndings },
  { name: '012-provider-health', ...providerHealth },
  { name: '013-provider-marks', ...providerMarks },
  { name: '014-show-on-picker', ...showOnPicker },
  { name: '015-admin-pages', ...adminPages },
]

const migrationSource: Knex.MigrationSource<Migration> = {
  getMigrations: async () => migrations,
  getMigrationName: (migration) => migration.name,
  getMigration: async (migration) => migration,
}

const tableName = 'sso_migrations'
// knex derives this name from the table's.
const lockTableName = `${tableName}_lock`
const lockTimeoutMs = MINUTE

/**
 * A table and a lock of our own, because the host may run its own migrations in the same database. During a rolling deployment, and
 * after a rollback, an older process runs on tables with migrations of a newer version, which it does not know.
 */
export const migratorConfig: Knex.MigratorConfig = {
  migrationSource,
  tableName,
  disableMigrationsListValidation: true,
}

/**
 * Runs the pending migrations, or waits up to a minute while another instance runs them. If none is pending, it only reads, so the
 * database user needs no right to change tables.
 *
 * @returns the names of the migrations that this call ran
 */
export async function migrate(knex: Knex): Promise<string[]> {
  const deadline = Date.now() + lockTimeoutMs
  while ((await pendingMigrations(knex)).length > 0) {
    try {
      await createLock(knex)
      const [, ran] = (await knex.migrate.latest(migratorConfig)) as [number, string[]]
      return ran
    } catch (error) {
      if (!isRace(error)) throw error
      if (Date.now() > deadline)
        throw new ConfigurationError(
          `the migrations have been locked for more than a minute (${describeError(error)}): another instance is running them, ` +
            'or one has crashed; if none is running, unlock them with `portal-sso migrate --unlock`',
          { cause: error },
        )
      await sleep(50 + Math.random() * 150)
    }
  }
  return []
}

/**
 * Releases the lock of a crashed migration.
 *
 * @throws ConfigurationError while a migration is running: its lock ends with it
 */
export async function unlockMigrations(knex: Knex): Promise<void> {
  try {
    await knex.transaction(async (transaction) => {
      const rows = () => migrationTable(transaction, lockTableName)
      // A running migration holds the row. Waiting for it would release the lock of the next one.
      const free = isSqlite(knex) ? rows() : rows().forUpdate().skipLocked()
      if (!(await free.first()) && (await rows().first()))
        throw new ConfigurationError('another process is running the migrations: wait until it has finished')
      // knex's own function deletes the row and inserts another one; a waiting instance could insert a second one in between.
      await rows().update({ is_locked: 0 })
    })
  } catch (error) {
    // Without the table there is no lock.
    if (!isMissingTable(error)) throw error
  }
}

/** Returns the names of the pending migrations. It writes nothing. */
export async function pendingMigrations(knex: Knex): Promise<string[]> {
  const applied = await appliedMigrations(knex)
  return migrations.map(({ name }) => name).filter((name) => !applied.includes(name))
}

async function appliedMigrations(knex: Knex): Promise<string[]> {
  try {
    return await migrationTable(knex, tableName).pluck('name')
  } catch (error) {
    if (isMissingTable(error)) return []
    throw error
  }
}

/** A table of the migrator, in the schema of `migrations.schemaName` of the host's Knex configuration, if it has one. */
function migrationTable(knex: Knex, name: string): Knex.QueryBuilder {
  const schema = schemaOf(knex)
  return schema === undefined ? knex(name) : knex(name).withSchema(schema)
}

function schemaOf({ client }: Knex): string | undefined {
  return (client as { config: Knex.Config }).config.migrations?.schemaName
}

/**
 * knex creates the lock's table and then its single row. Instances that race on an empty database would create two rows, and
 * no instance could ever get the lock. Here, all of them insert the same row.
 */
async function createLock(knex: Knex): Promise<void> {
  const schema = schemaOf(knex)
  const builder = schema === undefined ? knex.schema : knex.schema.withSchema(schema)
  try {
    if (!(await builder.hasTable(lockTableName)))
      await builder.createTable(lockTableName, (table) => {
        table.increments('index').primary()
        table.integer('is_locked')
      })
  } catch (error) {
    if (!isRace(error)) throw error
  }
  // Not `ignore()`: in MySQL that is INSERT IGNORE, which also truncates values.
  if (!(await migrationTable(knex, lockTableName).first()))
    await migrationTable(knex, lockTableName)
      .insert({ index: 1, is_locked: 0 })
      .onConflict('index')
      .merge(['index'])
}

/** True if another instance holds the lock, or creates the two tables of the migrator at the same time. */
function isRace(error: unknown): boolean {
  const { name, detail = '' } = (error ?? {}) as { name?: unknown; detail?: unknown }
  const message = describeError(error)
  if (name === 'MigrationLocked' || /database is locked/i.test(message)) return true
  const isConflict =
    /already exists|no such table|UNIQUE constraint failed|duplicate (?:key value|entry)|deadlock/i.test(
      message,
    )
  return isConflict && /\bsso_migrations(?:_lock)?\b/.test(`${message} ${String(detail)}`)
}

/**
 * Connects and brings the tables up to date.
 *
 * @throws ConfigurationError when `migrate` is false and the tables are not up to date
 */
export async function openDatabase(options: {
  database: Knex | Knex.Config | string
  migrate: boolean
  logger: Logger
}): Promise<Database & { clock: DatabaseClock }> {
  const database = connectDatabase(options.database)
  const clock = new DatabaseClock(database.knex, sanitizingLogger(options.logger))
  try {
    if (isMysql(database.knex)) await assertMysqlSettings(database.knex)
    await (options.migrate ? migrate(database.knex) : assertUpToDate(database.knex))
    await clock.measure()
  } catch (error) {
    // knex would wait half a minute for a server that does not respond.
    await withTimeout(SECOND, database.close()).catch(() => {})
    throw explainDatabaseError(error, database.knex)
  }
  return { ...database, clock }
}

async function assertUpToDate(knex: Knex): Promise<void> {
  const pending = await pendingMigrations(knex)
  if (pending.length > 0)
    throw new ConfigurationError(
      `the tables are not up to date (${pending.join(', ')}): run \`portal-sso migrate\``,
    )
}
