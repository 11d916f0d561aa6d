import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { ConfigurationError } from '../errors.ts'
import type { Check, Provider } from './provider.ts'
import { columns, fromRow, type NewProvider, type Row, toColumns } from './provider-row.ts'
import type { SecretBox } from './secret-box.ts'
import { mattersToSignIn } from './settled.ts'

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
  insert(provider: NewProvider, secrets?: SecretChanges): Promise<Provider>
  /** Changes that matter to a sign-in have to be rehearsed anew. @throws ConfigurationError when the row is another one by now */
  update(provider: Provider, changes: Partial<NewProvider>, secrets?: SecretChanges): Promise<Provider>
  /** @throws ConfigurationError when one to enable is another by now; disabled is whatever it has become */
  setEnabled(provider: Provider, enabled: boolean): Promise<void>
  /** @param slug left out: nobody is recommended any more */
  recommend(portal: string, slug?: string): Promise<void>
  /** @param slugs in their new order; the others come after them */
  reorder(portal: string, slugs: readonly string[]): Promise<void>
  /** What a test found; no change, so nobody's sign-in is disturbed. */
  noteTest(provider: Provider, checks: readonly Check[]): Promise<void>
  /**
   * A rehearsal sign-in passed.
   *
   * @param userId of the active user that it ended with, if it did
   * @returns false when the row is another one by now
   */
  noteRehearsal(provider: Provider, userId: string | undefined): Promise<boolean>
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
    async clientSecret(provider) {
      const { id, version } = provider
      const row = await rows().select('client_secret').where({ id, version }).first()
      return row?.client_secret ? await secretBox.open(row.client_secret, provider.id) : undefined
    },
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
      const replaced = await sealed(secrets, provider.id)
      const anew = Object.keys(replaced).length > 0 || mattersToSignIn(provider, changes)
      const updated = await rows()
        .where({ id: provider.id, version: provider.version })
        .update({
          ...toColumns(changes),
          ...replaced,
          ...(anew && { rehearsed_at: null, rehearsed_as: null }),
          version: knex.raw('version + 1'),
          updated_at: new Date().toISOString(),
        })
      // What was tested together must be saved together.
      if (updated === 0) throw changedMeanwhile(provider)
      return await existing(provider.portal, changes.slug ?? provider.slug)
    },
    async setEnabled(provider, enabled) {
      const { id, version } = provider
      const updated = await rows()
        .where({ id, ...(enabled && { version }) })
        .update({ enabled, version: knex.raw('version + 1'), updated_at: new Date().toISOString() })
      // What was rehearsed is what people are to meet.
      if (enabled && updated === 0) throw changedMeanwhile(provider)
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
    async noteRehearsal({ id, version }, userId) {
      const rehearsed = { rehearsed_at: new Date().toISOString(), rehearsed_as: userId ?? null }
      return (await rows().where({ id, version }).update(rehearsed)) === 1
    },
    async remove(provider) {
      await rows().where({ id: provider.id }).delete()
    },
  }
}

function changedMeanwhile({ slug }: Provider): ConfigurationError {
  return new ConfigurationError(`"${slug}" was changed by somebody else meanwhile: try again`)
}
