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
    table.string('rebinding_since', 24)
    table.text('tested').comment('JSON: when it was tested last, and what was found')
    table
      .integer('expiry_warned')
      .comment('days before the end of the client secret that were warned of already')
  })
  await knex.schema.alterTable('sso_identities', (table) => {
    // What stays the same when a provider gives its people new subjects (Entra: tid and oid).
    table.string('tenant_id', 64)
    table.string('object_id', 64)
    table.string('rebound_at', 24)
    table.index(['portal', 'tenant_id', 'object_id'], 'sso_identities_object')
  })
  await knex.schema.alterTable('sso_events', (table) => {
    table.string('actor', 255).comment('who did it: a user, the CLI, code')
    table.index(['portal', 'provider', 'kind', 'at'], 'sso_events_provider')
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
    table.dropColumn('actor')
  })
  await knex.schema.alterTable('sso_identities', (table) => {
    table.dropIndex(['portal', 'tenant_id', 'object_id'], 'sso_identities_object')
    table.dropColumns('tenant_id', 'object_id', 'rebound_at')
  })
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumns(...ofProviders)
  })
}
