import type { Knex } from 'knex'

const ofProviders = [
  'tenants',
  'second_client_secret',
  'client_secret_expires_at',
  'second_client_secret_expires_at',
  'secret_in_use',
  'secret_encoding',
  'client_keys',
  'logout',
  'proxy',
  'certificate_authority',
  'rehearsed_at',
  'rehearsed_as',
  'retiring_at',
  'removed_at',
  'rebinding_since',
  'rebinding_until',
  'tested',
  'expiry_warned',
]

export async function up(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => {
    table.text('tenants').comment('JSON array of text')
    table.text('second_client_secret').comment('sealed; live beside the first while secrets are exchanged')
    table.string('client_secret_expires_at', 24)
    table.string('second_client_secret_expires_at', 24)
    table.string('secret_in_use', 10).comment('first (null) or second')
    table.string('secret_encoding', 10).comment('form (null) or raw')
    table.text('client_keys').comment('sealed; JSON of the private keys for private_key_jwt')
    table.string('logout', 10).comment('provider (null) or portal')
    table.string('proxy', 255)
    table.text('certificate_authority').comment('PEM')
    table.string('rehearsed_at', 24).comment('null as soon as something changed that matters to a sign-in')
    table
      .string('rehearsed_as', 255)
      .comment('id of the user that this sign-in would have been; null: nobody yet')
    table.string('retiring_at', 24).comment('from then on it is disabled')
    table.string('removed_at', 24).comment('can be restored until it is forgotten')
    table.string('rebinding_since', 24).comment('of the last one, also when it is over')
    table.string('rebinding_until', 24)
    table.text('tested').comment('JSON: when it was tested last, and what was found')
    table.text('expiry_warned').comment('JSON: secret → the end that was warned of, and how many days before')
  })
  await knex.schema.alterTable('sso_identities', (table) => {
    // What stays the same when a provider gives its people new subjects (Entra: tid and oid).
    table.string('tenant_id', 64)
    table.string('object_id', 64)
    table.string('rebound_at', 24)
    table.index(['portal', 'tenant_id', 'object_id'], 'sso_identities_object')
    table.index(['portal', 'provider_id'], 'sso_identities_provider')
  })
  await knex.schema.alterTable('sso_sessions', (table) => {
    table.string('ending_at', 24).comment('since when it is to be ended, by an instance that knows the store')
    table.index(['portal', 'provider_id'], 'sso_sessions_provider')
    table.index(['ending_at'], 'sso_sessions_ending')
  })
  await knex.schema.alterTable('sso_events', (table) => {
    table.string('actor', 255).comment('who did it: a user, the CLI, code')
    table.index(['portal', 'provider', 'kind', 'at'], 'sso_events_provider')
    // What an administrator looks for among millions.
    table.index(['portal', 'kind', 'at'], 'sso_events_kind')
    table.index(['portal', 'user_id', 'at'], 'sso_events_user')
    table.index(['portal', 'reference'], 'sso_events_reference')
  })
  await knex.schema.createTable('sso_tickets', (table) => {
    table.string('id', 43).primary().comment('digest of what stands in the link')
    table.string('portal', 100).notNullable()
    table.string('kind', 20).notNullable()
    table.text('detail').notNullable().comment('JSON object')
    table.string('made_at', 24).notNullable()
    table.string('expires_at', 24).notNullable()
    table.string('used_at', 24)
    table.index(['expires_at'], 'sso_tickets_age')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.dropTable('sso_tickets')
  await knex.schema.alterTable('sso_events', (table) => {
    table.dropIndex(['portal', 'provider', 'kind', 'at'], 'sso_events_provider')
    table.dropIndex(['portal', 'kind', 'at'], 'sso_events_kind')
    table.dropIndex(['portal', 'user_id', 'at'], 'sso_events_user')
    table.dropIndex(['portal', 'reference'], 'sso_events_reference')
    table.dropColumn('actor')
  })
  await knex.schema.alterTable('sso_sessions', (table) => {
    table.dropIndex(['portal', 'provider_id'], 'sso_sessions_provider')
    table.dropIndex(['ending_at'], 'sso_sessions_ending')
    table.dropColumn('ending_at')
  })
  await knex.schema.alterTable('sso_identities', (table) => {
    table.dropIndex(['portal', 'provider_id'], 'sso_identities_provider')
    table.dropIndex(['portal', 'tenant_id', 'object_id'], 'sso_identities_object')
    table.dropColumns('tenant_id', 'object_id', 'rebound_at')
  })
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumns(...ofProviders)
  })
}
