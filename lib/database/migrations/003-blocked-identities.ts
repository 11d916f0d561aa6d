import type { Knex } from 'knex'
import { isMysql } from '../mysql.ts'
import { addColumns, createTable } from '../tables.ts'

const identityColumns = ['portal', 'issuer', 'subject', 'user_id']

/** These columns exceed an index of MySQL, 3072 bytes. MariaDB would accept it, but not compare it with locks. */
function addIdentityDigest(table: Knex.CreateTableBuilder): void {
  const digests = identityColumns.map((column) => `sha2(${column}, 256)`)
  table.specificType(
    'identity_digest',
    `binary(32) generated always as (unhex(sha2(concat(${digests}), 256))) stored`,
  )
  table.unique(['identity_digest'], { indexName: 'sso_blocked_identities_subject' })
  table.index(['portal', 'issuer', 'subject'], 'sso_blocked_identities_identity')
}

/** Identities that must not be linked to a user through an e-mail address, and the time from which relinking is allowed. */
export async function up(knex: Knex): Promise<void> {
  await createTable(knex, 'sso_blocked_identities', (table) => {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('user_id', 255).notNullable()
    table.string('provider_id', 36).notNullable()
    table.string('issuer', 255).notNullable()
    table.string('subject', 255).notNullable()
    table.string('email', 254)
    table.string('tenant_id', 64)
    table.string('object_id', 64)
    table.string('reason', 20).notNullable().comment('removed, waiting or separate')
    table.string('blocked_at', 24).notNullable()
    if (isMysql(knex)) addIdentityDigest(table)
    else table.unique(identityColumns, { indexName: 'sso_blocked_identities_subject' })
    table.index(['portal', 'tenant_id', 'object_id'], 'sso_blocked_identities_object')
    table.index(['portal', 'user_id'], 'sso_blocked_identities_user')
  })
  await addColumns(knex, 'sso_providers', 'relink_until', (table) => {
    table.string('relink_until', 24).comment('until then, a trusted address replaces an earlier identity')
    table.string('relink_since', 24).comment('only identities that were linked before are replaced')
  })
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => table.dropColumns('relink_until', 'relink_since'))
  await knex.schema.dropTable('sso_blocked_identities')
}
