import type { Knex } from 'knex'
import { addColumns } from '../tables.ts'

/** Nothing has been released yet, so there are no links whose proof was not recorded. */
export async function up(knex: Knex): Promise<void> {
  await addColumns(knex, 'sso_identities', 'proven_email', (table) => {
    table
      .string('proven_email', 254)
      .comment('the user’s address: proven by the provider, a code, or an earlier link')
    table.string('proven_at', 24)
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_identities', (table) => table.dropColumns('proven_email', 'proven_at'))
}
