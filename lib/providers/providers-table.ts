import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { ConfigurationError } from '../errors.ts'
import type { Check, Provider } from './provider.ts'
import { columns, fromRow, type NewProvider, type Row, toColumns } from './provider-row.ts'
import type { SecretBox } from './secret-box.ts'

/** Left out: stays as it is; `null`: none any more. */
export interface SecretChanges {
  clientSecret?: string | null | undefined
  secondClientSecret?: string | null | undefined
}

export interface ProvidersTable {
  /** in the order of the picker */
  list(portal: string): Promise<Provider[]>
  /** enabled ones, in the order of the picker */
  listEnabled(portal: string): Promise<Provider[]>
  anyEnabled(portal: string): Promise<boolean>
  find(portal: string, slug: string): Promise<Provider | undefined>
  /** @throws ConfigurationError when there is none of that name */
  existing(portal: string, slug: string): Promise<Provider>
  /** of the row as the provider was read: a newer one's secret is not for the older one's endpoints */
  clientSecret(provider: Provider): Promise<string | undefined>
  /** the other one, live while secrets are exchanged */
  secondClientSecret(provider: Provider): Promise<string | undefined>
  insert(provider: NewProvider, secrets?: SecretChanges): Promise<Provider>
  /** Settings that were changed have to be rehearsed anew. @throws ConfigurationError when the row is another one by now */
  update(provider: Provider, changes: Partial<NewProvider>, secrets?: SecretChanges): Promise<Provider>
  setEnabled(provider: Provider, enabled: boolean): Promise<void>
  /** @param slug left out: nobody is recommended any more */
  recommend(portal: string, slug?: string): Promise<void>
  /** @param slugs in their new order; the others come after them */
  reorder(portal: string, slugs: readonly string[]): Promise<void>
  /** What a test found; no change, so nobody's sign-in is disturbed. */
  noteTest(provider: Provider, checks: readonly Check[]): Promise<void>
  remove(provider: Provider): Promise<void>
}

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

  async function sealed(
    { clientSecret, secondClientSecret }: SecretChanges,
    id: string,
  ): Promise<Record<string, string | null>> {
    const closed = async (secret: string | null) =>
      secret === null ? null : await secretBox.close(secret, id)
    return {
      ...(clientSecret !== undefined && { client_secret: await closed(clientSecret) }),
      ...(secondClientSecret !== undefined && { second_client_secret: await closed(secondClientSecret) }),
    }
  }

  async function opened({ id, version }: Provider, column: string): Promise<string | undefined> {
    const row = await rows().select(column).where({ id, version }).first()
    return row?.[column] ? await secretBox.open(row[column], id) : undefined
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
    existing,
    clientSecret: (provider) => opened(provider, 'client_secret'),
    secondClientSecret: (provider) => opened(provider, 'second_client_secret'),
    async insert(provider, secrets = {}) {
      const id = randomUUID()
      const now = new Date().toISOString()
      const last = await rows().where({ portal: provider.portal }).max({ position: 'position' }).first()
      try {
        await rows().insert({
          ...toColumns(provider),
          ...(await sealed(secrets, id)),
          id,
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
    async update(provider, changes, secrets = {}) {
      const updated = await rows()
        .where({ id: provider.id, version: provider.version })
        .update({
          ...toColumns(changes),
          ...(await sealed(secrets, provider.id)),
          rehearsed_at: null,
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
    async reorder(portal, slugs) {
      await knex.transaction(async (transaction) => {
        const all: string[] = await transaction('sso_providers')
          .where({ portal })
          .orderBy(inOrder)
          .pluck('slug')
        const ordered = [...slugs, ...all.filter((slug) => !slugs.includes(slug))]
        for (const [at, slug] of ordered.entries())
          await transaction('sso_providers')
            .where({ portal, slug })
            .update({ position: at + 1 })
      })
    },
    async noteTest(provider, checks) {
      await rows()
        .where({ id: provider.id, version: provider.version })
        .update({ tested: JSON.stringify({ at: new Date().toISOString(), checks }) })
    },
    async remove(provider) {
      await rows().where({ id: provider.id }).delete()
    },
  }
}
