import type { Knex } from 'knex'
import { addColumns } from '../tables.ts'

/** Settings of a provider: the audience of client assertions, and the URL of its metadata. */
export async function up(knex: Knex): Promise<void> {
  await addColumns(knex, 'sso_providers', 'assertion_audience', (table) => {
    table.string('assertion_audience', 20).comment('issuer (null) or token_endpoint')
    table.string('metadata_url', 255).comment('null: the well-known URL of the issuer')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) =>
    table.dropColumns('assertion_audience', 'metadata_url'),
  )
}
