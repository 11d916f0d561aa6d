import type { Knex } from 'knex'
import { addIndexes, dropIndexes } from '../tables.ts'

type Indexes = Record<string, Record<string, string>>

// The order of the login page. `desc`: otherwise every page would sort all providers of the portal.
const order = 'recommended desc, position, display_name, slug'

const added: Indexes = {
  sso_events: {
    sso_events_of_reference: 'portal, reference, at',
    sso_events_of_provider: 'portal, provider, at',
  },
  sso_providers: {
    sso_providers_order: `portal, ${order}`,
    sso_providers_enabled: `portal, enabled, ${order}`,
    sso_providers_issuer: 'portal, issuer',
    sso_providers_restorable: 'portal, removed_at',
  },
  sso_sessions: {
    sso_sessions_of_user: 'portal, user_id, created_at',
    sso_sessions_of_provider: 'portal, provider, created_at',
  },
}

/** The new indexes begin with the same columns. */
const replaced: Indexes = {
  sso_events: { sso_events_reference: 'portal, reference' },
  sso_sessions: { sso_sessions_user: 'portal, user_id', sso_sessions_by_provider: 'portal, provider' },
}

/** Indexes with which no page reads more rows in a larger portal. */
export async function up(knex: Knex): Promise<void> {
  await replace(knex, added, replaced)
}

export async function down(knex: Knex): Promise<void> {
  await replace(knex, replaced, added)
}

async function replace(knex: Knex, toAdd: Indexes, toDrop: Indexes): Promise<void> {
  for (const [table, indexes] of Object.entries(toAdd)) await addIndexes(knex, table, indexes)
  for (const [table, indexes] of Object.entries(toDrop)) await dropIndexes(knex, table, Object.keys(indexes))
}
