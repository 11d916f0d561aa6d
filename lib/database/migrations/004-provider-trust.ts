import type { Knex } from 'knex'
import { addColumns } from '../tables.ts'

/** Settings of a provider: the organisation that it vouches for, and the authentication that it must prove. */
export async function up(knex: Knex): Promise<void> {
  await addColumns(knex, 'sso_providers', 'organization_claim', (table) => {
    table.string('organization_claim', 40)
    table.text('organization_values').comment('JSON array of text; null: none')
    table.integer('max_age').comment('seconds; null: any')
    table.text('acr').comment('JSON array of text; null: any')
  })
  for (const row of await knex('sso_providers').select('id', 'authorization_parameters'))
    await moveParameters(knex, row)
}

export async function down(knex: Knex): Promise<void> {
  await knex.schema.alterTable('sso_providers', (table) => {
    table.dropColumns('organization_claim', 'organization_values', 'max_age', 'acr')
  })
}

interface Row {
  id: string
  authorization_parameters: string
}

/** The parameters were sent, but not enforced. Dropping them would silently weaken the sign-ins of the provider. */
async function moveParameters(knex: Knex, { id, authorization_parameters }: Row): Promise<void> {
  const { max_age, acr_values, ...others } = JSON.parse(authorization_parameters) as Record<string, string>
  if (max_age === undefined && acr_values === undefined) return
  const acr = (acr_values ?? '').split(/\s+/).filter(Boolean)
  await knex('sso_providers')
    .where({ id })
    .update({
      authorization_parameters: JSON.stringify(others),
      max_age: /^\d{1,8}$/.test(max_age ?? '') ? Number(max_age) : null,
      acr: JSON.stringify(acr),
      // A test sign-in that passed without them proves nothing.
      test_sign_in_at: null,
      version: knex.raw('version + 1'),
    })
}
