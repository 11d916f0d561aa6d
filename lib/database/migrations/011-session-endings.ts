import type { Knex } from 'knex'
import { addIndexes, createTable, dropIndexes } from '../tables.ts'

/** Without them, the maintenance would read all providers every minute. */
const indexes = {
  sso_providers_retire: 'retire_at',
  sso_providers_removed: 'removed_at',
  sso_providers_secret_expiry: 'client_secret_expires_at, id',
}

/** Sessions that an administrator ends, until the last of their rows is deleted. */
export async function up(knex: Knex): Promise<void> {
  await createTable(knex, 'sso_session_endings', (table) => {
    table.string('id', 36).primary()
    table.text('selection').notNullable().comment('JSON: which sessions')
    table.string('requested_at', 24).notNullable().comment("by the database's clock")
  })
  await addIndexes(knex, 'sso_providers', indexes)
}

export async function down(knex: Knex): Promise<void> {
  await dropIndexes(knex, 'sso_providers', Object.keys(indexes))
  await knex.schema.dropTable('sso_session_endings')
}
