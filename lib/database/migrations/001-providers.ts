import type { Knex } from 'knex'

/** Moments are ISO 8601 text in UTC: the same, and sortable, in every database. */
export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('sso_providers', (table) => {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('slug', 40).notNullable()
    table.string('display_name', 100).notNullable()
    table.string('preset', 20).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('client_id', 255).notNullable()
    table.text('client_secret').comment('sealed, see secret-box.ts; null for public clients')
    table.string('client_authentication', 30).notNullable()
    table.string('signing_algorithm', 10).notNullable()
    table.string('response_mode', 20)
    table.string('prompt', 40)
    table.text('authorization_parameters').notNullable().comment('JSON object of text')
    table.string('email_claim', 40).notNullable()
    table.boolean('trusts_email').notNullable()
    table.text('email_domains').notNullable().comment('JSON array of text; empty: any')
    table.boolean('enabled').notNullable()
    table.boolean('recommended').notNullable()
    table.integer('position').notNullable()
    table.integer('version').notNullable()
    table.string('created_at', 24).notNullable()
    table.string('updated_at', 24).notNullable()
    table.unique(['portal', 'slug'], { indexName: 'sso_providers_slug' })
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_providers')
}
