import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { ConfigurationError } from '../shared/errors.ts'
import type { SecretBox } from '../shared/seal.ts'
import type { ClientKey } from './client-key.ts'
import { type Check, type Provider, type SecretEncoding, slugSchema } from './provider.ts'
import { columns, fromRow, type NewProvider, needsRetest, type Row, toColumns } from './settings.ts'

/** Left out: stays as it is; `null`: none any more. */
export interface SecretChanges {
  clientSecret?: string | null | undefined
  /** keys of `private_key_jwt` */
  clientKeys?: readonly ClientKey[] | undefined
}

export interface PassedTestSignIn {
  /** of the active user that it ended with, if it did */
  userId: string | undefined
  /** how the provider takes the client secret: from now on it is spelled so */
  secretEncoding: SecretEncoding | undefined
}

export interface ProvidersTable {
  /** in the order of the picker */
  list(portal: string): Promise<Provider[]>
  /** enabled ones, in the order of the picker */
  listEnabled(portal: string): Promise<Provider[]>
  anyEnabled(portal: string): Promise<boolean>
  /** @param slug whatever somebody wrote: what can be none is not for the database, which may choke on it (PostgreSQL on a NUL) */
  find(portal: string, slug: unknown): Promise<Provider | undefined>
  /** @throws ConfigurationError when there is none of that name */
  existing(portal: string, slug: string): Promise<Provider>
  /** The secret of exactly this version: a newer row's secret must not be sent to an older row's endpoints. */
  clientSecret(provider: Provider): Promise<string | undefined>
  /** of the row as it is now: a new key counts without a new version */
  clientKeys(provider: Pick<Provider, 'id'>): Promise<ClientKey[]>
  /** @throws ConfigurationError when somebody else changed them meanwhile */
  changeClientKeys(provider: Provider, change: (keys: ClientKey[]) => readonly ClientKey[]): Promise<void>
  insert(provider: NewProvider, secrets?: SecretChanges): Promise<Provider>
  /** Changes that matter to a sign-in have to be rehearsed anew. @throws ConfigurationError when the row is another one by now */
  update(provider: Provider, changes: Partial<NewProvider>, secrets?: SecretChanges): Promise<Provider>
  /**
   * @param ends left out: sessions that were begun with it go on
   * @throws ConfigurationError when one to enable is another by now; disabled is whatever it has become
   */
  setEnabled(provider: Provider, enabled: boolean, ends?: 'sessions'): Promise<void>
  /** @param slug left out: nobody is recommended any more */
  recommend(portal: string, slug?: string): Promise<void>
  /** @param slugs in their new order; the others come after them */
  reorder(portal: string, slugs: readonly string[]): Promise<void>
  /** What a test found; no change, so nobody's sign-in is disturbed. */
  recordConnectionTest(provider: Provider, checks: readonly Check[]): Promise<void>
  /**
   * A rehearsal sign-in passed.
   *
   * @returns false when the row is another one by now
   */
  recordTestSignIn(provider: Provider, passed: PassedTestSignIn): Promise<boolean>
  /** It is seen nowhere any more, but kept for a while, so that it can be restored. */
  remove(provider: Provider, ends?: 'sessions'): Promise<void>
}

/** What keys are bound to: one that was copied to where a client secret belongs does not open, and is not sent anywhere. */
export function keysOf(id: string): string {
  return `${id} client-keys`
}

export function createProvidersTable(knex: Knex, secretBox: SecretBox): ProvidersTable {
  const rows = () => knex('sso_providers').whereNull('removed_at')
  const inOrder = [
    { column: 'recommended', order: 'desc' },
    { column: 'position' },
    { column: 'display_name' },
    { column: 'slug' },
  ]

  async function find(portal: string, given: unknown): Promise<Provider | undefined> {
    const slug = slugSchema.safeParse(given).data
    if (slug === undefined) return undefined
    const row: Row | undefined = await rows().select(columns).where({ portal, slug }).first()
    return row && fromRow(row)
  }

  async function existing(portal: string, slug: string): Promise<Provider> {
    const provider = await find(portal, slug)
    if (!provider) throw new ConfigurationError(`no provider is called "${slug}" in the portal "${portal}"`)
    return provider
  }

  async function listEnabled(portal: string): Promise<Provider[]> {
    const switchedOn: Row[] = await rows().select(columns).where({ portal, enabled: true }).orderBy(inOrder)
    return switchedOn.map(fromRow).filter(({ enabled }) => enabled)
  }

  async function sealed(
    { clientSecret, clientKeys }: SecretChanges,
    id: string,
  ): Promise<Record<string, string | null>> {
    return {
      ...(clientSecret !== undefined && {
        client_secret: clientSecret === null ? null : await secretBox.close(clientSecret, id),
      }),
      ...(clientKeys !== undefined && { client_keys: await closeKeys(clientKeys, id) }),
    }
  }

  const closeKeys = (keys: readonly ClientKey[], id: string) =>
    secretBox.close(JSON.stringify(keys), keysOf(id))

  async function openKeys(sealed: string | null | undefined, id: string): Promise<ClientKey[]> {
    return sealed ? (JSON.parse(await secretBox.open(sealed, keysOf(id))) as ClientKey[]) : []
  }

  return {
    async list(portal) {
      const all: Row[] = await rows().select(columns).where({ portal }).orderBy(inOrder)
      return all.map(fromRow)
    },
    listEnabled,
    async anyEnabled(portal) {
      return (await listEnabled(portal)).length > 0
    },
    find,
    existing,
    async clientSecret({ id, version }) {
      const row = await rows().select('client_secret').where({ id, version }).first()
      return row?.client_secret ? await secretBox.open(row.client_secret, id) : undefined
    },
    async clientKeys({ id }) {
      const row = await rows().select('client_keys').where({ id }).first()
      return await openKeys(row?.client_keys, id)
    },
    async changeClientKeys({ id, slug }, change) {
      const row = await rows().select('client_keys').where({ id }).first()
      const sealed: string | null = row?.client_keys ?? null
      const client_keys = await closeKeys(change(await openKeys(sealed, id)), id)
      const changed = await rows().where({ id, client_keys: sealed }).update({ client_keys })
      // Of two at once one would be lost, though the provider has perhaps read it.
      if (changed === 0)
        throw new ConfigurationError(
          `the keys of "${slug}" were changed by somebody else meanwhile: try again`,
        )
    },
    async insert(provider, secrets = {}) {
      const id = randomUUID()
      const now = new Date().toISOString()
      const { portal, slug } = provider
      const last = await rows().where({ portal }).max({ position: 'position' }).first()
      const row = {
        ...toColumns(provider),
        ...(await sealed(secrets, id)),
        id,
        recommended: false,
        position: Number(last?.position ?? 0) + 1,
        version: 1,
        created_at: now,
        updated_at: now,
      }
      try {
        await knex.transaction(async (transaction) => {
          // A removed one gives its name away, and with it the way back.
          await transaction('sso_providers').where({ portal, slug }).whereNotNull('removed_at').delete()
          await transaction('sso_providers').insert(row)
        })
      } catch (error) {
        if (!isUniqueViolation(error)) throw error
        throw new ConfigurationError(
          `slug: a provider called "${provider.slug}" is connected already: choose another slug, or update that one`,
          { cause: error },
        )
      }
      return await existing(provider.portal, provider.slug)
    },
    async update(provider, changes, secrets = {}) {
      const replaced = await sealed(secrets, provider.id)
      const anew = Object.keys(replaced).length > 0 || needsRetest(provider, changes)
      const updated = await rows()
        .where({ id: provider.id, version: provider.version })
        .update({
          ...toColumns(changes),
          ...replaced,
          ...(anew && { test_sign_in_at: null, test_sign_in_user_id: null }),
          version: knex.raw('version + 1'),
          updated_at: new Date().toISOString(),
        })
      // What was tested together must be saved together.
      if (updated === 0) throw changedMeanwhile(provider)
      return await existing(provider.portal, changes.slug ?? provider.slug)
    },
    async setEnabled(provider, enabled, ends) {
      const { id, version } = provider
      const now = new Date().toISOString()
      const updated = await rows()
        .where({ id, ...(enabled && { version }) })
        .update({
          enabled,
          // Enabled after its last day, it has none any more; one that is still to come stays.
          ...(enabled && { retire_at: knex.raw('case when retire_at > ? then retire_at end', [now]) }),
          ...(ends && { retire_at: now }),
          version: knex.raw('version + 1'),
          updated_at: now,
        })
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
          .whereNull('removed_at')
          .orderBy(inOrder)
          .pluck('slug')
        const ordered = [...slugs, ...all.filter((slug) => !slugs.includes(slug))]
        for (const [at, slug] of ordered.entries())
          await transaction('sso_providers')
            .where({ portal, slug })
            .update({ position: at + 1 })
      })
    },
    async recordConnectionTest(provider, checks) {
      await rows()
        .where({ id: provider.id, version: provider.version })
        .update({ last_test: JSON.stringify({ at: new Date().toISOString(), checks }) })
    },
    async recordTestSignIn({ id, version, secretEncoding: spelled }, { userId, secretEncoding = spelled }) {
      const noted = await rows()
        .where({ id, version })
        .update({
          test_sign_in_at: new Date().toISOString(),
          test_sign_in_user_id: userId ?? null,
          ...(secretEncoding !== spelled && {
            secret_encoding: secretEncoding,
            version: knex.raw('version + 1'),
          }),
        })
      return noted === 1
    },
    async remove(provider, ends) {
      const now = new Date().toISOString()
      await rows()
        .where({ id: provider.id })
        .update({
          enabled: false,
          recommended: false,
          removed_at: now,
          ...(ends && { retire_at: now }),
          version: knex.raw('version + 1'),
          updated_at: now,
        })
    },
  }
}

function changedMeanwhile({ slug }: Provider): ConfigurationError {
  return new ConfigurationError(`"${slug}" was changed by somebody else meanwhile: try again`)
}
