import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { ConfigurationError } from '../errors.ts'
import type { ClientKey } from './client-key.ts'
import type { Check, Provider } from './provider.ts'
import { columns, fromRow, type NewProvider, type Row, toColumns } from './provider-row.ts'
import type { SecretBox } from './secret-box.ts'

/** Left out: stays as it is; `null`: none any more. */
export interface SecretChanges {
  clientSecret?: string | null | undefined
  secondClientSecret?: string | null | undefined
  /** keys of `private_key_jwt` */
  clientKeys?: readonly ClientKey[] | undefined
}

export interface ClientSecrets {
  clientSecret: string | undefined
  secondClientSecret: string | undefined
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
  /** both of them, likewise; @param unread not opened, as it is to be replaced: nobody may be able to any more */
  clientSecrets(provider: Provider, unread?: readonly (keyof ClientSecrets)[]): Promise<ClientSecrets>
  /** of the row as it is now: a new key counts without a new version */
  clientKeys(provider: Pick<Provider, 'id'>): Promise<ClientKey[]>
  /** @throws ConfigurationError when somebody else changed them meanwhile */
  changeClientKeys(provider: Provider, change: (keys: ClientKey[]) => readonly ClientKey[]): Promise<void>
  insert(provider: NewProvider, secrets?: SecretChanges): Promise<Provider>
  /** Settings that were changed have to be rehearsed anew. @throws ConfigurationError when the row is another one by now */
  update(provider: Provider, changes: Partial<NewProvider>, secrets?: SecretChanges): Promise<Provider>
  setEnabled(provider: Provider, enabled: boolean): Promise<void>
  /** @param slug left out: nobody is recommended any more */
  recommend(portal: string, slug?: string): Promise<void>
  /** @param slugs in their new order; the others come after them */
  reorder(portal: string, slugs: readonly string[]): Promise<void>
  /** Which client secret the provider took last; no change, so nobody's sign-in is disturbed. */
  noteSecretInUse(provider: Provider, secret: Provider['secretInUse']): Promise<void>
  /** What a test found; no change, so nobody's sign-in is disturbed. */
  noteTest(provider: Provider, checks: readonly Check[]): Promise<void>
  remove(provider: Provider): Promise<void>
}

/** What keys are bound to: one that was copied to where a client secret belongs does not open, and is not sent anywhere. */
export function keysOf(id: string): string {
  return `${id} client-keys`
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
    { clientSecret, secondClientSecret, clientKeys }: SecretChanges,
    id: string,
  ): Promise<Record<string, string | null>> {
    const closed = async (secret: string | null) =>
      secret === null ? null : await secretBox.close(secret, id)
    return {
      ...(clientSecret !== undefined && { client_secret: await closed(clientSecret) }),
      ...(secondClientSecret !== undefined && { second_client_secret: await closed(secondClientSecret) }),
      ...(clientKeys !== undefined && { client_keys: await closeKeys(clientKeys, id) }),
    }
  }

  const closeKeys = (keys: readonly ClientKey[], id: string) =>
    secretBox.close(JSON.stringify(keys), keysOf(id))

  async function openKeys(sealed: string | null | undefined, id: string): Promise<ClientKey[]> {
    return sealed ? (JSON.parse(await secretBox.open(sealed, keysOf(id))) as ClientKey[]) : []
  }

  async function clientSecrets(
    { id, version }: Provider,
    unread: readonly (keyof ClientSecrets)[] = [],
  ): Promise<ClientSecrets> {
    const row = await rows().select('client_secret', 'second_client_secret').where({ id, version }).first()
    const opened = async (name: keyof ClientSecrets, sealed?: string | null) =>
      sealed && !unread.includes(name) ? await secretBox.open(sealed, id) : undefined
    return {
      clientSecret: await opened('clientSecret', row?.client_secret),
      secondClientSecret: await opened('secondClientSecret', row?.second_client_secret),
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
    clientSecret: async (provider) => (await clientSecrets(provider, ['secondClientSecret'])).clientSecret,
    clientSecrets,
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
    async noteSecretInUse({ id, version }, secret) {
      await rows().where({ id, version }).update({ secret_in_use: secret })
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
