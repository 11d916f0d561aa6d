import type { Knex } from 'knex'
import { createTable } from '../tables.ts'

/** Markers of redeemed codes, for portals without Redis. */
export async function up(knex: Knex): Promise<void> {
  await createTable(knex, 'sso_redeemed_codes', (table) => {
    table.string('id', 43).primary().comment('digest of the state of the attempt')
    table.string('expires_at', 24).notNullable()
    table.index(['expires_at'], 'sso_redeemed_codes_age')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_redeemed_codes')
}
