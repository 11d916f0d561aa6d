import { randomUUID } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Knex } from 'knex'
import { inTransaction, isUniqueViolation } from '../database/connect.ts'
import { likePattern, selectRows } from '../database/statement.ts'
import { ConfigurationError, issueAt, ManagementError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
import { SecretBox } from '../shared/seal.ts'
import { type ClientKey, promoteKey } from './client-key.ts'
import { type Check, type Provider, type ProviderHealth, slugPattern } from './provider.ts'
import { type SecretReferenceOptions, SecretReferences } from './secret-references.ts'
import {
  changedSettings,
  columnOf,
  type DetectedSetting,
  domainsColumn,
  needsRetest,
  readStoredSettings,
  type StoredSettings,
  storedSettingNames,
  toColumns,
} from './settings.ts'

/** Omitted: unchanged. `null`: removed. */
export interface SecretChanges {
  clientSecret?: string | null | undefined
  clientKeys?: readonly ClientKey[] | undefined
}

export type NewProvider = StoredSettings & Pick<Provider, 'portal' | 'slug' | 'preset' | 'enabled'>

interface PassedTestSignIn extends Pick<Provider, 'reauthentication'> {
  /** Id of the active user as whom it would have signed in. */
  userId: string | undefined
  /** The client authentication that the provider accepted in place of the configured one; it is used from now on. */
  method: (Pick<StoredSettings, DetectedSetting> & { kid?: string | undefined }) | undefined
}

const stateNames = [
  'id',
  'portal',
  'slug',
  'preset',
  'enabled',
  'recommended',
  'position',
  'logoHash',
  'testSignInAt',
  'testSignInUserId',
  'reauthentication',
  'retireAt',
  'relinkSince',
  'lastTest',
  'version',
] as const satisfies (keyof Provider)[]

/** A row without secrets, by the names of `providerColumns`. */
export type ProviderRow = Readonly<Record<string, unknown>>

export const providerColumns = (): Record<string, string> =>
  Object.fromEntries([...stateNames, ...storedSettingNames()].map((name) => [name, columnOf(name)]))

/** Columns of `sso_provider_health`, for reads of both tables. */
export const healthColumns = ['failing_since', 'endpoint', 'fault', 'checked_at'] as const
type HealthRow = Readonly<Record<(typeof healthColumns)[number], unknown>>

const healthJoin = ['sso_provider_health', 'provider_id', 'id'] as const

/** Selects providers of a portal. Omitted: all. */
export interface ProviderSelection {
  /** only those that users can sign in with now */
  enabled?: boolean | undefined
  /** text in the display name or the slug; ASCII letters match in either case */
  search?: string | undefined
  /** these come first, before the hidden ones that other domains find */
  emailDomain?: string | undefined
  /** only those that the login page lists */
  shown?: boolean | undefined
  slugs?: readonly string[] | undefined
  ids?: readonly string[] | undefined
  issuers?: readonly string[] | undefined
  /** the last one of the previous page */
  after?: Provider | undefined
  limit?: number | undefined
}

/** Pages with providers show at most so many, and a search field if there are more. */
export const providersPerPage = 50

/** A statement names no more: the order of the login page, for example, has one condition for each. */
const maxNamed = 1000

/** Decides whether a connection was built from the row as it is now. */
export type ConnectedState = Pick<Provider, 'id' | 'version' | 'enabled' | 'reauthentication' | 'health'>
type StateRow = Pick<Provider, 'id' | 'version'> &
  HealthRow & {
    enabled: unknown
    reauthentication: Provider['reauthentication'] | null
    retire_at: string | null
  }

const connectedState = `select id, version, enabled, reauthentication, retire_at, failing_since, endpoint, fault, checked_at
  from sso_providers left join sso_provider_health on provider_id = id
  where portal = ? and slug = ? and removed_at is null`

/** The members of an enabled provider that the login page needs. */
export type PickerProvider = Pick<
  Provider,
  | 'slug'
  | 'displayName'
  | 'labels'
  | 'note'
  | 'notes'
  | 'logoHash'
  | 'preset'
  | 'recommended'
  | 'position'
  | 'reauthentication'
  | 'retireAt'
  | 'health'
  | 'showOnPicker'
>

// Written out, because this statement runs for each login page, and knex's builder costs more CPU than the driver.
const enabledForPicker = `select slug, display_name, labels, note, notes, logo_hash, preset, recommended, position, reauthentication,
    retire_at, show_on_picker, failing_since, endpoint, fault, checked_at
  from sso_providers left join sso_provider_health on provider_id = id
  where portal = ? and enabled = ? and removed_at is null and (retire_at is null or retire_at > ?)
  order by show_on_picker desc, recommended desc, position, display_name, slug limit ${providersPerPage + 1}`

const pickerOrder = [
  { column: 'recommended', order: 'desc' },
  { column: 'position' },
  { column: 'display_name' },
  { column: 'slug' },
]

/** Rows of `sso_providers` that are not removed. */
export class ProvidersTable {
  readonly #knex: Knex
  readonly secretBox: SecretBox
  readonly #secretReferences: SecretReferences
  readonly #columns = providerColumns()
  /** of this turn, by portal */
  readonly #pickerReads = new Map<string, Promise<readonly PickerProvider[]>>()
  /** of this turn, by portal and slug */
  readonly #stateReads = new Map<string, Promise<StateRow[]>>()

  /** @param options.secrets at least one, newest first */
  constructor(
    { knex }: { knex: Knex },
    options: { secrets: readonly string[]; secretReferences: SecretReferenceOptions },
  ) {
    this.#knex = knex
    this.secretBox = new SecretBox(options.secrets)
    this.#secretReferences = new SecretReferences(options.secretReferences)
  }

  /** In the order of the login page. */
  async list(portal: string, selection: ProviderSelection = {}): Promise<Provider[]> {
    const rows: ProviderRow[] = await this.#selected(portal, selection)
      .leftJoin(...healthJoin)
      .select(this.#columns, ...healthColumns)
    return rows.map(providerFromRow)
  }

  /** Enabled ones, in the order of the login page. */
  async listEnabled(portal: string, selection: ProviderSelection = {}): Promise<Provider[]> {
    return await this.list(portal, { ...selection, enabled: true })
  }

  /**
   * The first page and one more, hidden ones last, with fewer columns than `listEnabled`. Requests of one turn of the event loop share
   * a statement, which is sent after they have arrived, so that each of them sees every earlier change.
   */
  async listForPicker(portal: string): Promise<readonly PickerProvider[]> {
    const joined = this.#pickerReads.get(portal)
    if (joined !== undefined) return await joined
    const read = nextTurn().then(async () => {
      this.#pickerReads.delete(portal)
      const bindings = [portal, true, new Date().toISOString()]
      const rows = await selectRows<PickerRow>(this.#knex, { sql: enabledForPicker, bindings })
      return rows.map(pickerProvider)
    })
    this.#pickerReads.set(portal, read)
    return await read
  }

  async anyEnabled(portal: string): Promise<boolean> {
    return (await this.#selected(portal, { enabled: true, limit: 1 }).select('id')).length > 0
  }

  #selected(portal: string, selection: ProviderSelection): Knex.QueryBuilder {
    const { enabled, search, emailDomain, ids, issuers, shown, slugs, after, limit } = selection
    const query = this.#rows().where({ portal })
    if (enabled)
      query.where({ enabled: true }).where((now) => {
        // After its retirement date a provider is disabled, even if the row is still enabled.
        now.whereNull('retire_at').orWhere('retire_at', '>', new Date().toISOString())
      })
    if (shown) query.where({ show_on_picker: true })
    for (const [column, values] of Object.entries({ id: ids, issuer: issuers, slug: slugs }))
      if (values) query.whereIn(column, values)
    if (search !== undefined) {
      const pattern = likePattern(search)
      // In JSON, a name follows `:"`.
      query.whereRaw(
        "(lower(display_name) like ? escape '!' or slug like ? escape '!' or lower(labels) like ? escape '!')",
        [pattern, pattern, `%:"${pattern}`],
      )
    }
    if (after) {
      query.where({ recommended: false })
      const { position, displayName, slug } = after
      if (!after.recommended)
        query.whereRaw('(position, display_name, slug) > (?, ?, ?)', [position, displayName, slug])
    }
    if (emailDomain !== undefined)
      query.orderByRaw("case when replace(??, ?, '') = ?? then 1 else 0 end, show_on_picker desc", [
        domainsColumn,
        `"${emailDomain}`,
        domainsColumn,
      ])
    query.orderBy(pickerOrder)
    return limit === undefined ? query : query.limit(limit)
  }

  /** @param slug untrusted: text that cannot be a slug never reaches the database (PostgreSQL fails on a NUL) */
  async find(portal: string, slug: unknown): Promise<Provider | undefined> {
    if (typeof slug !== 'string' || !slugPattern.test(slug)) return undefined
    const row = await this.#rows()
      .leftJoin(...healthJoin)
      .select(this.#columns, ...healthColumns)
      .where({ portal, slug })
      .first()
    return row && providerFromRow(row)
  }

  /** As `find`, but reads only what a current connection of the provider needs. Requests of one turn share a statement, as above. */
  async findState(portal: string, slug: unknown): Promise<ConnectedState | undefined> {
    if (typeof slug !== 'string' || !slugPattern.test(slug)) return undefined
    // A slug contains no space, so no other pair has this key.
    const key = `${portal} ${slug}`
    const read =
      this.#stateReads.get(key) ??
      nextTurn().then(async () => {
        this.#stateReads.delete(key)
        return await selectRows<StateRow>(this.#knex, { sql: connectedState, bindings: [portal, slug] })
      })
    this.#stateReads.set(key, read)
    const [row] = await read
    if (!row) return undefined
    const { id, version, reauthentication, enabled, retire_at: retireAt } = row
    return {
      id,
      version,
      reauthentication: reauthentication ?? undefined,
      enabled: isEnabled({ enabled, retireAt }),
      health: row.failing_since ? healthFromRow(row) : undefined,
    }
  }

  async get(portal: string, slug: string): Promise<Provider> {
    const provider = await this.find(portal, slug)
    if (!provider) throw notFound(portal, slug)
    return provider
  }

  /** In the order of the login page. @throws ManagementError `not_found` that names the first missing one */
  async getAll(portal: string, slugs: readonly string[]): Promise<Provider[]> {
    if (slugs.length > maxNamed)
      throw new ManagementError(
        'invalid',
        phrase('name at most {{number}} providers at once', { number: maxNamed }),
      )
    const valid = slugs.filter((slug) => slugPattern.test(slug))
    const found = await this.list(portal, { slugs: valid })
    for (const slug of slugs) if (!found.some((each) => each.slug === slug)) throw notFound(portal, slug)
    return found
  }

  /**
   * The client secret of the version that was read: a newer secret must not be sent to the older row's endpoints.
   *
   * @throws ManagementError where the reference is not allowed or cannot be read
   */
  async clientSecret({ id, version, clientSecretReference }: Provider): Promise<string | undefined> {
    if (clientSecretReference !== undefined) return await this.readSecretReference(clientSecretReference)
    const row = await this.#rows().select('client_secret').where({ id, version }).first()
    return row?.client_secret ? this.#open(row.client_secret, id) : undefined
  }

  /** @throws ManagementError where the reference is not allowed or cannot be read */
  async readSecretReference(reference: string): Promise<string> {
    return await this.#secretReferences.read(reference)
  }

  /** Keys of the current row: a new key needs no new version. */
  async clientKeys({ id }: Pick<Provider, 'id'>): Promise<ClientKey[]> {
    const row = await this.#rows().select('client_keys').where({ id }).first()
    return this.#openKeys(row?.client_keys, id)
  }

  /** @throws ManagementError `conflict` when they were changed at the same time */
  async changeClientKeys(
    { id, slug }: Provider,
    change: (keys: ClientKey[]) => readonly ClientKey[],
  ): Promise<void> {
    const row = await this.#rows().select('client_keys').where({ id }).first()
    const sealed: string | null = row?.client_keys ?? null
    const client_keys = this.#closeKeys(change(this.#openKeys(sealed, id)), id)
    const changed = await this.#rows().where({ id, client_keys: sealed }).update({ client_keys })
    // Otherwise two concurrent changes would lose one key, which the provider may already have fetched.
    if (changed === 0)
      throw new ManagementError(
        'conflict',
        phrase('the keys of "{{slug}}" were changed at the same time: try again', { slug }),
      )
  }

  /** @throws ManagementError `conflict` when the slug is taken */
  async insert(provider: NewProvider, secrets: SecretChanges = {}): Promise<Provider> {
    const id = randomUUID()
    const now = new Date().toISOString()
    const { portal, slug, preset, enabled } = provider
    const last = await this.#rows().where({ portal }).max({ position: 'position' }).first()
    const row = {
      ...toColumns(provider),
      relink_since: provider.relinkUntil ? now : null,
      ...this.#seal(secrets, id),
      id,
      portal,
      slug,
      preset,
      enabled,
      recommended: false,
      position: Number(last?.position ?? 0) + 1,
      version: 1,
      created_at: now,
      updated_at: now,
    }
    try {
      await inTransaction(this.#knex, async (transaction) => {
        // A new provider takes over the slug of a removed one, which can then no longer be restored.
        await transaction('sso_providers').where({ portal, slug }).whereNotNull('removed_at').delete()
        await transaction('sso_providers').insert(row)
      })
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      throw slugTaken(slug, error)
    }
    return await this.get(portal, slug)
  }

  /** @throws ManagementError `conflict` when the row has changed since it was read */
  async update(
    provider: Provider,
    changes: Partial<StoredSettings>,
    secrets: SecretChanges = {},
  ): Promise<Provider> {
    const sealed = this.#seal(secrets, provider.id)
    const retest = Object.keys(sealed).length > 0 || needsRetest(changedSettings(provider, changes))
    const updated = await this.#rows()
      .where({ id: provider.id, version: provider.version })
      .update({
        ...toColumns(changes),
        ...sealed,
        ...(retest && { test_sign_in_at: null, test_sign_in_user_id: null, reauthentication: null }),
        ...(opensRelinking(provider, changes) && { relink_since: new Date().toISOString() }),
        ...this.#newVersion(),
      })
    // Settings that were tested together must be saved together.
    if (updated === 0) throw changedMeanwhile(provider)
    if (retest) await this.#clearHealth(provider.id)
    return await this.get(provider.portal, provider.slug)
  }

  /** @throws ManagementError `conflict` when the provider has changed */
  async enable(provider: Provider): Promise<void> {
    const { id, version } = provider
    const now = new Date().toISOString()
    // Enabling cancels a retirement date that has passed; a future one stays.
    const retire_at = this.#knex.raw('case when retire_at > ? then retire_at end', [now])
    const changes = { enabled: true, retire_at, ...this.#newVersion(now) }
    // Enable only the settings that were tested.
    if ((await this.#rows().where({ id, version }).update(changes)) === 0) throw changedMeanwhile(provider)
  }

  /**
   * @param how.endsSessions sessions that started with the provider must end, also those that are just starting
   * @param how.removes hides it everywhere; it is kept for a while, so that it can be restored
   */
  async disable({ id }: Provider, how: { endsSessions?: boolean; removes?: boolean } = {}): Promise<void> {
    const now = new Date().toISOString()
    const removed = how.removes && { recommended: false, removed_at: now }
    const retired = how.endsSessions && { retire_at: now }
    const changes = { enabled: false, ...removed, ...retired, ...this.#newVersion(now) }
    await this.#rows().where({ id }).update(changes)
    await this.#clearHealth(id)
  }

  /** @param slug omitted: no provider is recommended */
  async recommend(portal: string, slug?: string): Promise<void> {
    const recommended =
      slug === undefined ? false : this.#knex.raw('case when slug = ? then true else false end', [slug])
    // All rows: a condition on `recommended` would miss the row that a concurrent statement has just recommended.
    await this.#rows().where({ portal }).update({ recommended })
  }

  /** @param slugs in their new order; the others follow */
  async reorder(portal: string, slugs: readonly string[]): Promise<void> {
    // One statement: two concurrent orders do not mix.
    const cases = slugs.map((_, at) => `when ? then ${at + 1}`)
    const position = this.#knex.raw(`case slug ${cases.join(' ')} else position + ${slugs.length} end`, [
      ...slugs,
    ])
    await this.#rows().where({ portal }).update({ position })
  }

  /** Exchanges a provider with its neighbour in the order of the login page. The recommended one stays first. */
  async move({ id, portal, position, displayName, slug }: Provider, direction: 'up' | 'down'): Promise<void> {
    const isUp = direction === 'up'
    const others = () => this.#rows().where({ portal }).whereNot({ id })
    const neighbour = await others()
      .select('id', 'position')
      .where({ recommended: false })
      .whereRaw(`(position, display_name, slug) ${isUp ? '<' : '>'} (?, ?, ?)`, [position, displayName, slug])
      .orderBy(
        ['position', 'display_name', 'slug'].map((column) => ({ column, order: isUp ? 'desc' : 'asc' })),
      )
      .first()
    if (!neighbour) return
    const positions = [position, Number(neighbour.position)]
    if (positions[0] !== positions[1])
      await this.#rows()
        .whereIn('id', [id, neighbour.id])
        // Unless another administrator has just moved one of them.
        .whereIn('position', positions)
        .update({ position: this.#knex.raw('? - position', [position + Number(neighbour.position)]) })
    // Two were connected at once. The one that comes first now keeps the position.
    else
      await this.#rows()
        .where({ portal })
        .where('position', '>=', position)
        .whereNot({ id: isUp ? id : neighbour.id })
        .update({ position: this.#knex.raw('position + 1') })
  }

  /** Moves a provider to a place on the login page, 1 at the top. The recommended one stays first. Reads the providers before it. */
  async moveTo({ id, portal }: Provider, place: number): Promise<void> {
    const others = () => this.#rows().where({ portal, recommended: false }).whereNot({ id })
    const first = await this.#rows().where({ portal, recommended: true }).first('id')
    const next = await others()
      .select('position', 'display_name', 'slug')
      .orderBy(pickerOrder)
      .offset(Math.max(place - (first ? 2 : 1), 0))
      .first()
    if (!next) {
      const last = await others().max({ position: 'position' }).first()
      await this.#rows()
        .where({ id })
        .update({ position: Number(last?.position ?? 0) + 1 })
      return
    }
    const position = Number(next.position)
    // By two, so that the provider has a position of its own, also if others share one.
    const moved = this.#knex.raw('case when id = ? then ? else position + 2 end', [id, position + 1])
    await this.#rows()
      .where({ portal })
      .where((rows) =>
        rows
          .where({ id })
          .orWhereRaw('(position, display_name, slug) >= (?, ?, ?)', [
            position,
            next.display_name,
            next.slug,
          ]),
      )
      .update({ position: moved })
  }

  /** Stores the result of a connection test. Not a change of the provider: it disturbs no sign-in. */
  async recordConnectionTest({ id, version }: Provider, checks: readonly Check[]): Promise<void> {
    const last_test = JSON.stringify({ at: new Date().toISOString(), checks })
    await this.#rows().where({ id, version }).update({ last_test })
  }

  /** @returns false when the row has changed since the test sign-in started */
  async recordTestSignIn(provider: Provider, passed: PassedTestSignIn): Promise<boolean> {
    const { id, version } = provider
    const { kid, ...method } = passed.method ?? {}
    const recorded = await this.#rows()
      .where({ id, version })
      .update({
        test_sign_in_at: new Date().toISOString(),
        test_sign_in_user_id: passed.userId ?? null,
        reauthentication: passed.reauthentication ?? null,
        ...(passed.method && { ...toColumns(method), version: this.#knex.raw('version + 1') }),
      })
    if (recorded === 1 && kid !== undefined)
      await this.changeClientKeys(provider, (keys) => promoteKey(keys, kid, Date.now()))
    return recorded === 1
  }

  /** Not a change of the provider: it disturbs no sign-in. */
  async recordReauthentication(provider: Provider, found: Provider['reauthentication']): Promise<void> {
    const { id, version } = provider
    await this.#rows().where({ id, version }).update({ reauthentication: found })
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_providers').whereNull('removed_at')
  }

  /** The fault of earlier settings says nothing about the new ones. A disabled provider is not probed. */
  async #clearHealth(id: string): Promise<void> {
    await this.#knex('sso_provider_health').where({ provider_id: id }).delete()
  }

  /** Other instances read a row again, and drop its connection, when its version changes. */
  #newVersion(now = new Date().toISOString()): object {
    return { version: this.#knex.raw('version + 1'), updated_at: now }
  }

  #seal(secrets: SecretChanges, id: string): Record<string, string | null> {
    const { clientSecret, clientKeys } = secrets
    return {
      ...(clientSecret !== undefined && {
        client_secret: clientSecret && this.secretBox.close(clientSecret, id),
      }),
      ...(clientKeys !== undefined && { client_keys: this.#closeKeys(clientKeys, id) }),
    }
  }

  #open(sealed: string, context: string): string {
    try {
      return this.secretBox.open(sealed, context)
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      throw new ManagementError('conflict', error.message)
    }
  }

  #closeKeys(keys: readonly ClientKey[], id: string): string {
    return this.secretBox.close(JSON.stringify(keys), clientKeysContext(id))
  }

  #openKeys(sealed: string | null | undefined, id: string): ClientKey[] {
    return sealed ? (JSON.parse(this.#open(sealed, clientKeysContext(id))) as ClientKey[]) : []
  }
}

/** Binds encrypted keys to their column: copied into the client secret's column, they cannot be decrypted and sent. */
export function clientKeysContext(id: string): string {
  return `${id} client-keys`
}

export function slugTaken(slug: string, cause?: unknown): ManagementError {
  const text = phrase(
    'a provider called "{{slug}}" is already connected: choose another slug, or update that one',
    { slug },
  )
  return new ManagementError('conflict', [issueAt('slug', text)], { cause })
}

function notFound(portal: string, slug: string): ManagementError {
  const text = phrase('no provider is called "{{slug}}" in the portal "{{portal}}"', { slug, portal })
  return new ManagementError('not_found', text)
}

export function changedMeanwhile({ slug }: Provider): ManagementError {
  const text = phrase('"{{slug}}" was changed by someone else: review it and try again', { slug })
  return new ManagementError('conflict', text)
}

type PickerRow = Pick<Provider, 'slug' | 'preset' | 'position'> &
  HealthRow & {
    display_name: string
    labels: string | null
    note: string | null
    notes: string | null
    logo_hash: string | null
    recommended: unknown
    reauthentication: Provider['reauthentication'] | null
    retire_at: string | null
    show_on_picker: unknown
  }

const noTexts = {}

function pickerProvider(row: PickerRow): PickerProvider {
  const { slug, preset, position, display_name: displayName, labels, notes, reauthentication } = row
  return {
    slug,
    displayName,
    labels: labels ? (JSON.parse(labels) as Provider['labels']) : noTexts,
    note: row.note ?? undefined,
    notes: notes ? (JSON.parse(notes) as Provider['notes']) : noTexts,
    logoHash: row.logo_hash ?? undefined,
    preset,
    position,
    recommended: Boolean(row.recommended),
    reauthentication: reauthentication ?? undefined,
    retireAt: row.retire_at ?? undefined,
    health: row.failing_since ? healthFromRow(row) : undefined,
    showOnPicker: Boolean(row.show_on_picker),
  }
}

export function providerFromRow(row: ProviderRow): Provider {
  const state: Record<string, unknown> = {}
  for (const name of stateNames) state[name] = row[name] ?? undefined
  const { lastTest } = state
  return {
    ...readStoredSettings(row),
    ...(state as Pick<Provider, (typeof stateNames)[number]>),
    enabled: isEnabled(state),
    recommended: Boolean(row.recommended),
    health: row.failing_since ? healthFromRow(row) : undefined,
    lastTest: lastTest === undefined ? undefined : (JSON.parse(String(lastTest)) as Provider['lastTest']),
  }
}

function healthFromRow({ failing_since: since, endpoint, fault, checked_at: checkedAt }: Partial<HealthRow>) {
  return { since, endpoint, fault, checkedAt } as ProviderHealth
}

/** After its retirement date a provider is disabled for every caller, even if the row is still enabled. */
function isEnabled({ enabled, retireAt }: { enabled?: unknown; retireAt?: unknown }): boolean {
  return Boolean(enabled) && (retireAt == null || String(retireAt) > new Date().toISOString())
}

/** A window that is extended keeps the time at which it opened. */
function opensRelinking(provider: Provider, { relinkUntil }: Partial<StoredSettings>): boolean {
  const { relinkUntil: before } = provider
  const isOpen = before !== undefined && before > new Date().toISOString()
  return relinkUntil !== undefined && !isOpen
}
