import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('sso_proofs', (table) => {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('registration', 36).notNullable().comment('id of the registration that waits for this proof')
    table
      .string('address_mac', 43)
      .notNullable()
      .comment('keyed, so that nobody reads here who has no account yet')
    table.string('identity_mac', 43).notNullable().comment('keyed, of the identity that the proof is for')
    table.string('code_mac', 43).comment('null once it was used, or another code took its place')
    table.integer('tries').notNullable()
    table.string('sent_at', 24).notNullable()
    table.string('expires_at', 24).notNullable()
    table.index(['registration'], 'sso_proofs_registration')
    table.index(['address_mac'], 'sso_proofs_address')
    table.index(['identity_mac'], 'sso_proofs_identity')
    table.index(['sent_at'], 'sso_proofs_sent_at')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_proofs')
}
