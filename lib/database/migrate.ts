import { setTimeout as sleep } from 'node:timers/promises'
import type { Knex } from 'knex'
import { ConfigurationError, describeError } from '../shared/errors.ts'
import * as initial from './migrations/001-initial.ts'

interface Migration {
  name: string
  up(knex: Knex): Promise<void>
  down(knex: Knex): Promise<void>
}

// Listed by import, never scanned from a folder: the names stay the same from TypeScript and from the built package.
const migrations: Migration[] = [{ name: '001-initial', ...initial }]

const migrationSource: Knex.MigrationSource<Migration> = {
  getMigrations: async () => migrations,
  getMigrationName: (migration) => migration.name,
  getMigration: async (migration) => migration,
}

/** Our own table (and with it our own lock), so that they live beside the host's migrations. */
export const migratorConfig: Knex.MigratorConfig = { migrationSource, tableName: 'sso_migrations' }

const lockTable = 'sso_migrations_lock' // knex's name for the lock of that table
const lockedFor = 60_000

/**
 * Brings the tables up to date. When another instance is at it, waits for it (60 s at most).
 *
 * @returns the names of the migrations that this call ran
 */
export async function migrate(knex: Knex): Promise<string[]> {
  const deadline = Date.now() + lockedFor
  for (;;) {
    try {
      await makeLock(knex)
      const [, ran] = (await knex.migrate.latest(migratorConfig)) as [number, string[]]
      return ran
    } catch (error) {
      if (!isRace(error)) throw error
      if (Date.now() > deadline)
        throw new ConfigurationError(
          'the migrations are locked since more than a minute: another instance is at it, or one died in the middle; ' +
            'when none runs, free them with `portal-sso migrate --unlock`',
          { cause: error },
        )
      await sleep(50 + Math.random() * 150)
    }
  }
}

/** Frees the lock that a died migration left behind. */
export async function unlockMigrations(knex: Knex): Promise<void> {
  await makeLock(knex)
  // Not knex's own: it deletes the row and inserts another, and an instance that waits may make a second one in between.
  await knex(lockTable).update({ is_locked: 0 })
}

/** @returns the names of the migrations that are still to run */
export async function pendingMigrations(knex: Knex): Promise<string[]> {
  await makeLock(knex)
  const [, pending] = (await knex.migrate.list(migratorConfig)) as [unknown, Migration[]]
  return pending.map((migration) => migration.name)
}

/**
 * knex makes the lock's table and then its one row, if it sees none: instances that race on a fresh database make two rows,
 * and with two nobody ever gets the lock. Here every one of them makes the same row.
 */
async function makeLock(knex: Knex): Promise<void> {
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

// Two instances on a fresh database: the lock is taken, or both try to make the migration tables themselves.
function isRace(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name
  return (
    name === 'MigrationLocked' ||
    /already exists|no such table: sso_migrations_lock|migration table is already locked|UNIQUE constraint failed: sso_migrations|pg_type_typname_nsp_index|pg_class_relname_nsp_index|database is locked/i.test(
      describeError(error),
    )
  )
}
