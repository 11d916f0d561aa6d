import type { Knex } from 'knex'
import { addColumns } from '../tables.ts'

/** Whether a provider can prove that a user authenticated again. */
export async function up(knex: Knex): Promise<void> {
  await addColumns(knex, 'sso_providers', 'reauthentication', (table) => {
    table.string('reauthentication', 20).comment('proven, ignored or unreported; null: not tested')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumns('reauthentication')
  })
}
