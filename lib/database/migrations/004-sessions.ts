import type { Knex } from 'knex'

export async function up(knex: Knex): Promise<void> {
  await knex.schema.createTable('sso_sessions', (table) => {
    table.string('id', 43).primary().comment('SHA-256 of the session id, base64url')
    table.string('portal', 100).notNullable()
    table.string('user_id', 255).notNullable()
    table.string('provider_id', 36).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('subject', 255).notNullable()
    table.string('provider_session', 255).comment('the `sid` claim')
    table
      .text('session')
      .notNullable()
      .comment('the session id, sealed: who reads the table holds no session')
    table.string('created_at', 24).notNullable()
    table.string('expires_at', 24).notNullable()
    table.index(['portal', 'user_id'], 'sso_sessions_user')
    table.index(['portal', 'issuer', 'subject'], 'sso_sessions_subject')
    table.index(['portal', 'issuer', 'provider_session'], 'sso_sessions_provider_session')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_sessions')
}
