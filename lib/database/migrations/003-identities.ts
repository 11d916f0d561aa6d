import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('sso_identities', (table) => {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    // No foreign key: users may live in the host's own table, and an identity outlives its provider's row.
    table.string('user_id', 255).notNullable()
    table.string('provider_id', 36).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('subject', 255).notNullable()
    table.string('email', 254)
    table.string('linked_at', 24).notNullable()
    table.string('last_used_at', 24).notNullable()
    // OpenID Connect Core 5.7: issuer and subject together are the only stable name of a person.
    table.unique(['portal', 'issuer', 'subject'], { indexName: 'sso_identities_subject' })
    table.index(['portal', 'user_id'], 'sso_identities_user')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_identities')
}
