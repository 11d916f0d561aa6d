import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { ConfigurationError } from '../errors.ts'
import type { Provider } from './provider.ts'
import type { SecretBox } from './secret-box.ts'

export type NewProvider = Omit<Provider, 'id' | 'position' | 'version' | 'recommended'>

export interface ProvidersTable {
  /** in the order of the picker */
  list(portal: string): Promise<Provider[]>
  /** enabled ones, in the order of the picker */
  listEnabled(portal: string): Promise<Provider[]>
  anyEnabled(portal: string): Promise<boolean>
  find(portal: string, slug: string): Promise<Provider | undefined>
  /** of the row as the provider was read: a newer one's secret is not for the older one's endpoints */
  clientSecret(provider: Provider): Promise<string | undefined>
  insert(provider: NewProvider, clientSecret: string | undefined): Promise<Provider>
  /** @param clientSecret left out: stays as it is; `null`: none any more */
  update(provider: Provider, changes: Partial<NewProvider>, clientSecret?: string | null): Promise<Provider>
  setEnabled(provider: Provider, enabled: boolean): Promise<void>
  /** @param slug left out: nobody is recommended any more */
  recommend(portal: string, slug?: string): Promise<void>
  remove(provider: Provider): Promise<void>
}

interface Row {
  id: string
  portal: string
  slug: string
  display_name: string
  preset: string
  issuer: string
  client_id: string
  client_authentication: string
  signing_algorithm: string
  response_mode: string | null
  prompt: string | null
  authorization_parameters: string
  email_claim: string
  trusts_email: boolean | number
  email_domains: string
  enabled: boolean | number
  recommended: boolean | number
  position: number
  version: number
}

const columns: (keyof Row)[] = [
  'id',
  'portal',
  'slug',
  'display_name',
  'preset',
  'issuer',
  'client_id',
  'client_authentication',
  'signing_algorithm',
  'response_mode',
  'prompt',
  'authorization_parameters',
  'email_claim',
  'trusts_email',
  'email_domains',
  'enabled',
  'recommended',
  'position',
  'version',
]

export function createProvidersTable(knex: Knex, secretBox: SecretBox): ProvidersTable {
  const rows = () => knex('sso_providers')
  const inOrder = [
    { column: 'recommended', order: 'desc' },
    { column: 'position' },
    { column: 'display_name' },
    { column: 'slug' },
  ]

  async function find(portal: string, slug: string): Promise<Provider | undefined> {
    const row: Row | undefined = await rows().select(columns).where({ portal, slug }).first()
    return row && fromRow(row)
  }

  async function existing(portal: string, slug: string): Promise<Provider> {
    const provider = await find(portal, slug)
    if (!provider) throw new ConfigurationError(`no provider is called "${slug}" in the portal "${portal}"`)
    return provider
  }

  return {
    async list(portal) {
      const all: Row[] = await rows().select(columns).where({ portal }).orderBy(inOrder)
      return all.map(fromRow)
    },
    async listEnabled(portal) {
      const enabled: Row[] = await rows().select(columns).where({ portal, enabled: true }).orderBy(inOrder)
      return enabled.map(fromRow)
    },
    async anyEnabled(portal) {
      return (await rows().select('id').where({ portal, enabled: true }).first()) !== undefined
    },
    find,
    async clientSecret(provider) {
      const { id, version } = provider
      const row = await rows().select('client_secret').where({ id, version }).first()
      return row?.client_secret ? await secretBox.open(row.client_secret, provider.id) : undefined
    },
    async insert(provider, clientSecret) {
      const id = randomUUID()
      const now = new Date().toISOString()
      const last = await rows().where({ portal: provider.portal }).max({ position: 'position' }).first()
      try {
        await rows().insert({
          ...toColumns(provider),
          id,
          client_secret: clientSecret === undefined ? null : await secretBox.close(clientSecret, id),
          recommended: false,
          position: Number(last?.position ?? 0) + 1,
          version: 1,
          created_at: now,
          updated_at: now,
        })
      } catch (error) {
        if (!isUniqueViolation(error)) throw error
        throw new ConfigurationError(
          `a provider called "${provider.slug}" is connected already: choose another slug, or update that one`,
          { cause: error },
        )
      }
      return await existing(provider.portal, provider.slug)
    },
    async update(provider, changes, clientSecret) {
      const secret =
        clientSecret === undefined
          ? {}
          : { client_secret: clientSecret === null ? null : await secretBox.close(clientSecret, provider.id) }
      const updated = await rows()
        .where({ id: provider.id, version: provider.version })
        .update({
          ...toColumns(changes),
          ...secret,
          version: knex.raw('version + 1'),
          updated_at: new Date().toISOString(),
        })
      // What was tested together must be saved together.
      if (updated === 0)
        throw new ConfigurationError(`"${provider.slug}" was changed by somebody else meanwhile: try again`)
      return await existing(provider.portal, changes.slug ?? provider.slug)
    },
    async setEnabled(provider, enabled) {
      await rows()
        .where({ id: provider.id })
        .update({ enabled, version: knex.raw('version + 1'), updated_at: new Date().toISOString() })
    },
    async recommend(portal, slug) {
      // One statement, so that two administrators at once cannot leave two recommended ones.
      await rows()
        .where({ portal })
        .update({
          recommended:
            slug === undefined ? false : knex.raw('case when slug = ? then true else false end', [slug]),
        })
    },
    async remove(provider) {
      await rows().where({ id: provider.id }).delete()
    },
  }
}

function fromRow(row: Row): Provider {
  return {
    id: row.id,
    portal: row.portal,
    slug: row.slug,
    displayName: row.display_name,
    preset: row.preset,
    issuer: row.issuer,
    clientId: row.client_id,
    clientAuthentication: row.client_authentication as Provider['clientAuthentication'],
    signingAlgorithm: row.signing_algorithm as Provider['signingAlgorithm'],
    responseMode: row.response_mode === 'form_post' ? 'form_post' : undefined,
    prompt: (row.prompt as Provider['prompt'] | null) ?? undefined,
    authorizationParameters: JSON.parse(row.authorization_parameters) as Record<string, string>,
    emailClaim: row.email_claim,
    trustsEmail: Boolean(row.trusts_email),
    emailDomains: JSON.parse(row.email_domains) as string[],
    enabled: Boolean(row.enabled),
    recommended: Boolean(row.recommended),
    position: row.position,
    version: row.version,
  }
}

function toColumns(provider: Partial<NewProvider>): Record<string, unknown> {
  const all = {
    portal: provider.portal,
    slug: provider.slug,
    display_name: provider.displayName,
    preset: provider.preset,
    issuer: provider.issuer,
    client_id: provider.clientId,
    client_authentication: provider.clientAuthentication,
    signing_algorithm: provider.signingAlgorithm,
    response_mode: 'responseMode' in provider ? (provider.responseMode ?? null) : undefined,
    prompt: 'prompt' in provider ? (provider.prompt ?? null) : undefined,
    authorization_parameters:
      provider.authorizationParameters && JSON.stringify(provider.authorizationParameters),
    email_claim: provider.emailClaim,
    trusts_email: provider.trustsEmail,
    email_domains: provider.emailDomains && JSON.stringify(provider.emailDomains),
    enabled: provider.enabled,
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}
