import type { Knex } from 'knex'

/** A provider may pin no signing algorithm. Existing rows keep theirs, which an administrator may have chosen. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => table.setNullable('signing_algorithm'))
}

export async function down(knex: Knex): Promise<void> {
  await knex('sso_providers').whereNull('signing_algorithm').update({ signing_algorithm: 'RS256' })
  await knex.schema.alterTable('sso_providers', (table) => table.dropNullable('signing_algorithm'))
}
