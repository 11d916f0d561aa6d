import type { Knex } from 'knex'
import { addColumns } from '../tables.ts'

/** Settings of a provider: pushed authorization requests (RFC 9126) and tokens that are bound to a key (RFC 9449). */
export async function up(knex: Knex): Promise<void> {
  await addColumns(knex, 'sso_providers', 'pushed_requests', (table) => {
    table.boolean('pushed_requests').comment('null: false')
    table.boolean('dpop').comment('null: false')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumns('pushed_requests', 'dpop')
  })
}
