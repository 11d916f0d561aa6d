import type { Knex } from 'knex'

const shown = ['provider', 'browser', 'system', 'place', 'last_seen_at']

export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_sessions', (table) => {
    // Somebody whom the host signed in itself came by no provider.
    table.setNullable('provider_id')
    table.setNullable('issuer')
    table.setNullable('subject')
  })
  await knex.schema.alterTable('sso_sessions', (table) => {
    table.string('provider', 40).comment('slug')
    table.string('browser', 60)
    table.string('system', 60)
    table.string('place', 100).comment('where the request came from, as far as the portal keeps that')
    table.string('last_seen_at', 24).comment('renewed when a tenth of the idle time has passed')
    table.index(['portal', 'provider'], 'sso_sessions_by_provider')
    table.dropIndex(['portal', 'provider_id'], 'sso_sessions_provider')
    table.dropIndex(['ending_at'], 'sso_sessions_ending')
  })
  await knex('sso_sessions').whereNotNull('ending_at').delete()
  await knex.schema.alterTable('sso_sessions', (table) => {
    // A session whose row is gone is over: there is nothing to mark any more.
    table.dropColumn('ending_at')
  })
  await knex('sso_sessions').update({
    last_seen_at: knex.ref('created_at'),
    provider: knex('sso_providers').select('slug').whereRaw('sso_providers.id = sso_sessions.provider_id'),
  })
  await knex.schema.createTable('sso_logout_tokens', (table) => {
    table.string('id', 43).primary().comment('digest of portal, issuer and jti, or sid')
    table.string('portal', 100).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('subject', 255)
    table.string('provider_session', 255).comment('the `sid` claim')
    table.string('came_at', 24).notNullable().comment('by our own clock')
    table.string('obeyed_at', 24).comment('null: to be sent again')
    table.string('expires_at', 24).notNullable()
    table.index(['portal', 'issuer', 'provider_session'], 'sso_logout_tokens_session')
    table.index(['portal', 'issuer', 'subject'], 'sso_logout_tokens_subject')
    table.index(['expires_at'], 'sso_logout_tokens_age')
  })
  await knex.schema.alterTable('sso_providers', (table) => {
    table.boolean('front_channel_logout').comment('null: false')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumn('front_channel_logout')
  })
  await knex.schema.dropTable('sso_logout_tokens')
  await knex('sso_sessions').whereNull('provider_id').delete()
  await knex.schema.alterTable('sso_sessions', (table) => {
    table.string('ending_at', 24)
    table.index(['ending_at'], 'sso_sessions_ending')
    table.index(['portal', 'provider_id'], 'sso_sessions_provider')
    table.dropIndex(['portal', 'provider'], 'sso_sessions_by_provider')
    table.dropColumns(...shown)
  })
  await knex.schema.alterTable('sso_sessions', (table) => {
    table.dropNullable('provider_id')
    table.dropNullable('issuer')
    table.dropNullable('subject')
  })
}
