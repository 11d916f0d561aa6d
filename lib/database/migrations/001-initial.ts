import type { Knex } from 'knex'
import { createTable } from '../tables.ts'

/**
 * The whole schema. Nothing has been released yet; from the first release on, every change is a new migration.
 * Timestamps are ISO 8601 text in UTC: the same, and sortable, in every database.
 */
const tables: Readonly<Record<string, (table: Knex.CreateTableBuilder) => void>> = {
  sso_providers(table) {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('slug', 40).notNullable()
    table.string('preset', 20).notNullable()
    table.string('display_name', 100).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('client_id', 255).notNullable()
    table.text('client_secret').comment('sealed; null for public clients')
    table.string('client_secret_reference', 510).comment('env:NAME or file:/path, in place of client_secret')
    table.string('client_secret_expires_at', 24)
    table.string('secret_encoding', 10).comment('form (null) or raw')
    table.text('client_keys').comment('sealed; JSON of the private keys for private_key_jwt')
    table.string('client_authentication', 30).notNullable()
    table.string('signing_algorithm', 10).notNullable()
    table.string('response_mode', 20)
    table.string('prompt', 40)
    table.text('authorization_parameters').notNullable().comment('JSON object of text')
    table.string('email_claim', 40).notNullable()
    table.boolean('trusts_email').notNullable()
    table.text('email_domains').notNullable().comment('JSON array of text; empty: any')
    table.text('tenants').comment('JSON array of text; empty: any')
    table.string('logout', 10).comment('provider (null), portal or ask')
    table.boolean('front_channel_logout').comment('null: false')
    table.string('proxy', 255)
    table.text('certificate_authority').comment('PEM')
    table.boolean('enabled').notNullable()
    table.boolean('recommended').notNullable()
    table.integer('position').notNullable()
    table.string('test_sign_in_at', 24).comment('null after a change that affects sign-in')
    table.string('test_sign_in_user_id', 255).comment('null: it would have registered a new user')
    table.text('last_test').comment('JSON: time and checks of the last connection test')
    table.text('expiry_warned').comment('JSON: expiry date and threshold of the last warning')
    table.string('retire_at', 24).comment('disabled from then on')
    table.string('removed_at', 24).comment('can be restored until it is purged')
    table.integer('version').notNullable()
    table.string('created_at', 24).notNullable()
    table.string('updated_at', 24).notNullable()
    table.unique(['portal', 'slug'], { indexName: 'sso_providers_slug' })
  },

  sso_users(table) {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('email', 254).notNullable().comment('normalised, see email-address.ts')
    table.string('name', 200).notNullable()
    table.boolean('active').notNullable()
    table.text('fields').notNullable().comment('JSON object: extra fields of the registration form')
    table.string('created_at', 24).notNullable()
    // Decides between two concurrent registrations of one address.
    table.unique(['portal', 'email'], { indexName: 'sso_users_email' })
  },

  sso_identities(table) {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    // No foreign key: users may live in the host's own table, and an identity outlives its provider's row.
    table.string('user_id', 255).notNullable()
    table.string('provider_id', 36).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('subject', 255).notNullable()
    table.string('email', 254)
    // Entra: `tid` and `oid` stay the same across app registrations, where `sub` differs.
    table.string('tenant_id', 64)
    table.string('object_id', 64)
    table.string('linked_at', 24).notNullable()
    table.string('last_used_at', 24).notNullable()
    table.string('relinked_at', 24).comment('set if it was linked by the Entra account of another link')
    // OpenID Connect Core 5.7: only issuer and subject together identify a person.
    table.unique(['portal', 'issuer', 'subject'], { indexName: 'sso_identities_subject' })
    table.index(['portal', 'user_id'], 'sso_identities_user')
    table.index(['portal', 'tenant_id', 'object_id'], 'sso_identities_object')
    table.index(['portal', 'provider_id'], 'sso_identities_provider')
  },

  sso_sessions(table) {
    table.string('id', 43).primary().comment('SHA-256 of the session id, base64url')
    table.string('portal', 100).notNullable()
    table.string('user_id', 255).notNullable()
    // Null for a user whom the host signed in by `req.login`.
    table.string('provider_id', 36)
    table.string('provider', 40).comment('slug')
    table.string('issuer', 255)
    table.string('subject', 255)
    table.string('sid', 255).comment('the `sid` claim')
    table.text('session').notNullable().comment('sealed session id: reading the table hijacks no session')
    table.string('browser', 60)
    table.string('os', 60)
    table.string('location', 100).comment('where the request came from, as far as the portal stores that')
    table.string('created_at', 24).notNullable()
    table.string('last_seen_at', 24).notNullable().comment('renewed after a tenth of the idle time')
    table.string('expires_at', 24).notNullable()
    table.index(['portal', 'user_id'], 'sso_sessions_user')
    table.index(['portal', 'provider'], 'sso_sessions_by_provider')
    table.index(['portal', 'issuer', 'subject'], 'sso_sessions_subject')
    table.index(['portal', 'issuer', 'sid'], 'sso_sessions_sid')
    // Finds expired rows of all portals.
    table.index(['expires_at'], 'sso_sessions_age')
  },

  sso_events(table) {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('at', 24).notNullable()
    table.string('kind', 40).notNullable()
    table.string('user_id', 255)
    table.string('provider', 40).comment('slug: still readable after the provider is gone')
    table.string('reference', 20).comment('shown on the error page')
    table.string('actor', 255).comment('a user id, `cli` or `code`')
    table.string('client_address', 50).comment('as the operator chose; a network as `address/bits`')
    table.text('detail').notNullable().comment('JSON object; never a token, code or secret')
    table.index(['portal', 'at'], 'sso_events_at')
    table.index(['portal', 'kind', 'at'], 'sso_events_kind')
    table.index(['portal', 'provider', 'kind', 'at'], 'sso_events_provider')
    table.index(['portal', 'user_id', 'at'], 'sso_events_user')
    table.index(['portal', 'reference'], 'sso_events_reference')
    // Finds expired rows of all portals.
    table.index(['at'], 'sso_events_age')
  },

  sso_email_verifications(table) {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('registration', 36).notNullable().comment('id of the pending registration')
    table.string('email_mac', 43).notNullable().comment('keyed: does not reveal who has no account yet')
    table.string('identity_mac', 43).notNullable().comment('keyed')
    table.string('code_mac', 43).comment('null once used or replaced')
    table.integer('attempts').notNullable()
    table.string('sent_at', 24).notNullable()
    table.string('expires_at', 24).notNullable()
    table.index(['registration'], 'sso_email_verifications_registration')
    table.index(['email_mac'], 'sso_email_verifications_email')
    table.index(['identity_mac'], 'sso_email_verifications_identity')
    table.index(['sent_at'], 'sso_email_verifications_age')
  },

  sso_one_time_links(table) {
    table.string('id', 43).primary().comment('digest of the token in the link')
    table.string('portal', 100).notNullable()
    table.string('kind', 20).notNullable()
    table.text('detail').notNullable().comment('JSON object')
    table.string('created_at', 24).notNullable()
    table.string('expires_at', 24).notNullable()
    table.string('used_at', 24)
    table.index(['expires_at'], 'sso_one_time_links_age')
  },

  sso_logout_tokens(table) {
    table.string('id', 43).primary().comment('digest of portal, issuer and jti, or sid')
    table.string('portal', 100).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('subject', 255)
    table.string('sid', 255)
    table.string('received_at', 24).notNullable().comment('by our own clock')
    table.string('processed_at', 24).comment('null: the provider may send it again')
    table.string('expires_at', 24).notNullable()
    table.index(['portal', 'issuer', 'sid'], 'sso_logout_tokens_sid')
    table.index(['portal', 'issuer', 'subject'], 'sso_logout_tokens_subject')
    table.index(['expires_at'], 'sso_logout_tokens_age')
  },
}

export async function up(knex: Knex): Promise<void> {
  for (const [name, define] of Object.entries(tables)) await createTable(knex, name, define)
}

export async function down(knex: Knex): Promise<void> {
  for (const name of Object.keys(tables).reverse()) await knex.schema.dropTable(name)
}
