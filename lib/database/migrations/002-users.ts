import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('sso_users', (table) => {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('email', 254).notNullable().comment('normal form, see email-address.ts')
    table.string('name', 200).notNullable()
    table.boolean('active').notNullable()
    table
      .text('fields')
      .notNullable()
      .comment('JSON object: the fields that the host added to the registration')
    table.string('created_at', 24).notNullable()
    // The last word when two registrations race for one address.
    table.unique(['portal', 'email'], { indexName: 'sso_users_email' })
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_users')
}
