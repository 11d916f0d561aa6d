import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_sessions', (table) => {
    // Finds the rows whose time is over, of all portals.
    table.index(['expires_at'], 'sso_sessions_age')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_sessions', (table) => {
    table.dropIndex(['expires_at'], 'sso_sessions_age')
  })
}
