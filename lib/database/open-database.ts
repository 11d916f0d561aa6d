import type { Knex } from 'knex'
import { ConfigurationError } from '../shared/errors.ts'
import { connectDatabase, type Database } from './connect.ts'
import { migrate, pendingMigrations } from './migrate.ts'

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
