import type { Knex } from 'knex'
import { createTable } from '../tables.ts'

/** Providers that fail, or that are suspected to. A working provider has no row. */
export async function up(knex: Knex): Promise<void> {
  await createTable(knex, 'sso_provider_health', (table) => {
    table.string('provider_id', 36).primary()
    table.string('failing_since', 24).comment('null: only suspected')
    table.string('endpoint', 20).comment('metadata, keys or token')
    table.string('fault', 20).comment('unreachable, server-error or unusable')
    table.string('checked_at', 24).comment('end of the last probe')
    table.string('claimed_at', 24).notNullable().comment('start of the last probe')
    table.string('due_at', 24).notNullable().comment('when any instance may probe again')
    table.index(['due_at'], 'sso_provider_health_due')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_provider_health')
}
