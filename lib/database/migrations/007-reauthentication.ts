import type { Knex } from 'knex'

/** Whether a provider can prove that a user authenticated again. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => {
    table.string('reauthentication', 20).comment('proven, ignored or unreported; null: not tested')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumns('reauthentication')
  })
}
