import type { Knex } from 'knex'
import { addColumns, addIndexes, dropIndexes } from '../tables.ts'

const index = 'sso_providers_shown'

/** Providers that the login page does not list. Its statement reads the listed ones first, in the order of the index. */
export async function up(knex: Knex): Promise<void> {
  await addColumns(knex, 'sso_providers', 'show_on_picker', (table) => {
    table.boolean('show_on_picker').notNullable().defaultTo(true)
  })
  const order = 'show_on_picker desc, recommended desc, position, display_name, slug'
  await addIndexes(knex, 'sso_providers', { [index]: `portal, enabled, ${order}` })
}

export async function down(knex: Knex): Promise<void> {
  await dropIndexes(knex, 'sso_providers', [index])
  await knex.schema.alterTable('sso_providers', (table) => table.dropColumn('show_on_picker'))
}
