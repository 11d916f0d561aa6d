import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('sso_events', (table) => {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('at', 24).notNullable()
    table.string('kind', 40).notNullable()
    table.string('user_id', 255)
    table.string('provider', 40).comment('slug, so that it still says something once the provider is gone')
    table.string('reference', 20).comment('the one on the page that the person saw')
    table.text('detail').notNullable().comment('JSON object; never a token, code or secret')
    table.index(['portal', 'at'], 'sso_events_at')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_events')
}
