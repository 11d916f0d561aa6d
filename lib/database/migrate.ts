import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { ConfigurationError, describeError } from '../shared/errors.ts'
import { MINUTE } from '../shared/time.ts'
import { connectDatabase, type Database } from './connect.ts'
import * as initial from './migrations/001-initial.ts'
import * as provenLinks from './migrations/002-proven-links.ts'
import * as blockedIdentities from './migrations/003-blocked-identities.ts'
import * as providerTrust from './migrations/004-provider-trust.ts'
import * as redeemedCodes from './migrations/005-redeemed-codes.ts'
import * as pushedRequests from './migrations/009-pushed-requests.ts'

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
  { name: '009-pushed-requests', ...pushedRequests },
]

const migrationSource: Knex.MigrationSource<Migration> = {
  getMigrations: async () => migrations,
  getMigrationName: (migration) => migration.name,
  getMigration: async (migration) => migration,
}

/** A table and a lock of our own, because the host may run its own migrations in the same database. */
export const migratorConfig: Knex.MigratorConfig = { migrationSource, tableName: 'sso_migrations' }

// knex derives this name from the table's.
const lockTable = 'sso_migrations_lock'
const lockTimeoutMs = MINUTE

/**
 * Runs the pending migrations. Waits for a minute at most while another instance runs them.
 *
 * @returns the names of the migrations that this call ran
 */
export async function migrate(knex: Knex): Promise<string[]> {
  const deadline = Date.now() + lockTimeoutMs
  for (;;) {
    try {
      await createLock(knex)
      const [, ran] = (await knex.migrate.latest(migratorConfig)) as [number, string[]]
      return ran
    } catch (error) {
      if (!isRace(error)) throw error
      if (Date.now() > deadline)
        throw new ConfigurationError(
          'the migrations have been locked for more than a minute: another instance is running them, or one has crashed; ' +
            'if none is running, unlock them with `portal-sso migrate --unlock`',
          { cause: error },
        )
      await sleep(50 + Math.random() * 150)
    }
  }
}

/** Releases the lock of a crashed migration. */
export async function unlockMigrations(knex: Knex): Promise<void> {
  await createLock(knex)
  // knex's own function deletes the row and inserts another one; a waiting instance could insert a second one in between.
  await knex(lockTable).update({ is_locked: 0 })
}

/** @returns the names of the pending migrations */
export async function pendingMigrations(knex: Knex): Promise<string[]> {
  await createLock(knex)
  const [, pending] = (await knex.migrate.list(migratorConfig)) as [unknown, Migration[]]
  return pending.map((migration) => migration.name)
}

/**
 * knex creates the lock's table and then its single row. Instances that race on an empty database would create two rows, and
 * no instance could ever get the lock. Here, all of them insert the same row.
 */
async function createLock(knex: Knex): Promise<void> {
  try {
    if (!(await knex.schema.hasTable(lockTable)))
      await knex.schema.createTable(lockTable, (table) => {
        table.increments('index').primary()
        table.integer('is_locked')
      })
  } catch (error) {
    if (!isRace(error)) throw error
  }
  if (!(await knex(lockTable).first()))
    await knex(lockTable).insert({ index: 1, is_locked: 0 }).onConflict('index').ignore()
}

// Another instance holds the lock, or both create the migration tables of an empty database.
function isRace(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name
  return (
    name === 'MigrationLocked' ||
    /already exists|no such table: sso_migrations_lock|migration table is already locked|UNIQUE constraint failed: sso_migrations|pg_type_typname_nsp_index|pg_class_relname_nsp_index|database is locked/i.test(
      describeError(error),
    )
  )
}

/**
 * Connects and brings the tables up to date.
 *
 * @throws ConfigurationError when `migrate` is false and the tables are not up to date
 */
export async function openDatabase(options: {
  database: Knex | Knex.Config | string
  migrate: boolean
}): Promise<Database> {
  const database = connectDatabase(options.database)
  try {
    await (options.migrate ? migrate(database.knex) : assertUpToDate(database.knex))
  } catch (error) {
    await database.close()
    throw error
  }
  return database
}

async function assertUpToDate(knex: Knex): Promise<void> {
  const pending = await pendingMigrations(knex)
  if (pending.length > 0)
    throw new ConfigurationError(
      `the tables are not up to date (${pending.join(', ')}): run \`portal-sso migrate\``,
    )
}
