import type { Knex } from 'knex'

/** Links made before have no proof: the next one ends what was there before it, see `sign-in/reclaim-account.ts`. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_identities', (table) => {
    table
      .string('proven_at', 24)
      .comment(
        'when the user’s address was proven for this link: by the provider, a code, or an earlier link',
      )
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_identities', (table) => table.dropColumn('proven_at'))
}
