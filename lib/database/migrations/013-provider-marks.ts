import type { Knex } from 'knex'
import { addColumns, createTable } from '../tables.ts'

/** The names of a provider by language, the sentence below its button, and its logo. */
export async function up(knex: Knex): Promise<void> {
  await addColumns(knex, 'sso_providers', 'labels', (table) => {
    table.text('labels').comment('JSON: display names by language')
    table.string('note', 160)
    table.text('notes').comment('JSON: notes by language')
    table.string('logo_hash', 22).comment('null: no logo of its own')
  })
  // A table of its own, because every login page reads the rows of sso_providers.
  await createTable(knex, 'sso_provider_logos', (table) => {
    table.string('provider_id', 36).primary()
    table.string('hash', 22).notNullable()
    table.string('type', 40).notNullable().comment('image/png or image/webp')
    table.text('image').notNullable().comment('base64')
    table.index(['hash'], 'sso_provider_logos_hash')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_provider_logos')
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumns('labels', 'note', 'notes', 'logo_hash')
  })
}
