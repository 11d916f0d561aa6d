import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_events', (table) => {
    table
      .string('client_address', 50)
      .comment('as much of it as the operator chose; of a network `address/bits`')
    // Finds the rows whose time is over, of all portals.
    table.index(['at'], 'sso_events_age')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_events', (table) => {
    table.dropIndex(['at'], 'sso_events_age')
    table.dropColumn('client_address')
  })
}
