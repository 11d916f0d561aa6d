import type { Knex } from 'knex'
import { type NewProvider, ProvidersTable } from '../../lib/providers/providers-table.ts'
import { testSecret } from './portal.ts'

/** The table as a portal with these secrets reads it. */
export function openProvidersTable(knex: Knex, ...secrets: string[]): ProvidersTable {
  const options = { secrets: secrets.length > 0 ? secrets : [testSecret], secretReferences: {} }
  return new ProvidersTable({ knex }, options)
}

/** A row of a provider to which no request is sent. */
export function newProvider(more: Partial<NewProvider> = {}): NewProvider {
  return {
    portal: 'default',
    slug: 'acme',
    displayName: 'Acme',
    labels: {},
    note: undefined,
    notes: {},
    preset: 'generic',
    issuer: 'https://id.acme.example',
    clientId: 'portal-at-acme',
    clientAuthentication: 'client_secret_basic',
    signingAlgorithm: 'RS256',
    responseMode: undefined,
    pushedRequests: false,
    dpop: false,
    prompt: undefined,
    relinkUntil: undefined,
    authorizationParameters: {},
    emailClaim: 'email',
    trustsEmail: false,
    showOnPicker: true,
    emailDomains: [],
    tenants: [],
    organizationClaim: undefined,
    organizationValues: [],
    maxAge: undefined,
    acr: [],
    logout: 'provider',
    frontChannelLogout: false,
    secretEncoding: 'form',
    assertionAudience: 'issuer',
    metadataUrl: undefined,
    clientSecretReference: undefined,
    clientSecretExpiresAt: undefined,
    proxy: undefined,
    certificateAuthority: undefined,
    enabled: true,
    ...more,
  }
}

/** Adds copies of a provider as `p1` ("Company 1"), `p2` and so on, for SQLite and PostgreSQL. Their secrets cannot be unsealed. */
export async function copyProvider(knex: Knex, slug: string, copies: number): Promise<void> {
  const columns = Object.keys(await knex('sso_providers').columnInfo())
  const copied: Record<string, string> = {
    id: "slug || '-' || n",
    slug: "'p' || n",
    display_name: "'Company ' || n",
    position: 'position + n',
    recommended: 'false',
  }
  await knex.raw(
    `insert into sso_providers (${columns.join(', ')})
     with recursive copies(n) as (select 1 union all select n + 1 from copies where n < ${copies})
     select ${columns.map((column) => copied[column] ?? column).join(', ')}
     from sso_providers cross join copies where slug = ?`,
    [slug],
  )
}
