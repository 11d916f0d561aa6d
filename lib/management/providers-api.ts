import type { EventOf } from '../events/event-types.ts'
import { keysWithState, promoteKey } from '../providers/client-key.ts'
import { readLogo } from '../providers/logo-image.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProviderChanges } from '../providers/settings.ts'
import { type ActOptions, type ResolvedActOptions, resolveActOptions } from '../shared/act-options.ts'
import { issueAt, ManagementError } from '../shared/errors.ts'
import { type AdminText, phrase } from '../shared/phrase.ts'
import { DAY } from '../shared/time.ts'
import { type PublishedKey, rotateClientKey } from './client-keys.ts'
import type { ManagementContext } from './context.ts'
import { type ImportOptions, type ImportResult, importProviders } from './import-providers.ts'
import { exportProviders, type ProviderFile } from './provider-file.ts'
import { type ProviderInput, readSlug } from './provider-input.ts'
import {
  assertTestedSignIn,
  type DisableOptions,
  type EnableOptions,
  type ProviderUsage,
  providerUsage,
  type RemovedProvider,
  type UsageOptions,
} from './provider-lifecycle.ts'
import { setProviderLogo } from './provider-logos.ts'
import {
  connectProvider,
  describeChanges,
  readNewProvider,
  testCandidate,
  type UpdateOptions,
  updateProvider,
} from './save-provider.ts'
import type { ProviderTest } from './test-provider.ts'
import { type Progress, startTestRun, testRunProgress } from './test-run.ts'

/** Selects connected providers. Omitted: all. */
export interface ProviderFilter {
  /** Only those with this text in their display name or slug. ASCII letters match in either case. */
  search?: string | undefined
  /** Only these. */
  slugs?: readonly string[] | undefined
  /** Only these, by the ids of their rows. */
  ids?: readonly string[] | undefined
  /** Only those behind this slug. For the next page: the last slug of the previous one. */
  after?: string | undefined
  /** At most so many. */
  most?: number | undefined
}

const maxRetirementDelayMs = 366 * DAY
const maxPlace = 100_000

const now = () => new Date().toISOString()

const conflict = (text: AdminText) => new ManagementError('conflict', text)

/**
 * The providers of a portal. Admin pages and command line call the same methods. Each takes `{ portal, actor }` as its last
 * argument and throws `ManagementError` with a `code` and, for wrong input, `issues` by setting.
 */
export class ProvidersApi {
  readonly #context: ManagementContext
  readonly #portal: string

  /** @internal */
  constructor(context: ManagementContext, portal = 'default') {
    this.#context = context
    this.#portal = portal
  }

  /**
   * The connected providers, or those that the filter selects, in the order of the login page.
   *
   * @throws ManagementError `not_found` if `after` is no longer connected
   */
  async list(options: ActOptions & ProviderFilter = {}): Promise<Provider[]> {
    const { providersTable } = this.#context
    const { portal } = this.#resolve(options)
    const { after, ids, most: limit, search, slugs } = options
    const last = after === undefined ? undefined : await providersTable.get(portal, after)
    return await providersTable.list(portal, { after: last, ids, limit, search, slugs })
  }

  /** Returns a connected provider. @throws ManagementError `not_found` */
  async get(slug: string, options: ActOptions = {}): Promise<Provider> {
    return await this.#context.providersTable.get(this.#resolve(options).portal, slug)
  }

  /** Returns a connected provider, or `undefined`. */
  async find(slug: string, options: ActOptions = {}): Promise<Provider | undefined> {
    return await this.#context.providersTable.find(this.#resolve(options).portal, slug)
  }

  /**
   * Checks the input, discovers the provider, tests the connection and saves. Users can sign in with it at once,
   * unless `enabled: false`.
   *
   * @throws ManagementError `invalid`, `conflict`, `test_failed` (with `checks`), `not_allowed`; nothing is saved then
   */
  async connect(input: ProviderInput, options: ActOptions = {}): Promise<Provider> {
    return await connectProvider(this.#context, input, this.#resolve(options))
  }

  /**
   * Tests the connection again. The provider page shows the result; a detected client authentication is saved.
   *
   * @param options.save false to change nothing; default true
   */
  async test(slug: string, options: ActOptions & { save?: boolean } = {}): Promise<ProviderTest> {
    const { portal } = this.#resolve(options)
    const { outbound, providersTable, urls } = this.#context
    const provider = await providersTable.get(portal, slug)
    const clientSecret = await providersTable.clientSecret(provider)
    const keys = await providersTable.clientKeys(provider)
    const clientKeys = keys.length > 0 ? async () => keys : undefined
    const redirectUri = urls.callback(slug, portal)
    const saved = { ...provider, clientSecret, clientKeys, redirectUri, isIssuerKnown: true }
    const test = await testCandidate(saved, outbound)
    if (options.save === false) return test
    const updated = await this.#saveDetected(provider, test)
    await providersTable.recordConnectionTest(updated, test.checks)
    return test
  }

  /** Tests the connection of all providers, after the response if need be. @internal */
  async testAll(options: ActOptions = {}): Promise<{ finished: Promise<void> }> {
    const { portal } = this.#resolve(options)
    return await startTestRun(this.#context, portal, (slug) => this.test(slug, options))
  }

  /** Progress of `testAll` on any instance. `undefined`: it is not running. @internal */
  async testProgress(options: ActOptions = {}): Promise<Progress | undefined> {
    return await testRunProgress(this.#context, this.#resolve(options).portal)
  }

  /** Tests settings without saving them. @throws ManagementError `invalid`, `not_allowed` */
  async testUnsaved(input: ProviderInput, options: ActOptions = {}): Promise<ProviderTest> {
    const { candidate } = await readNewProvider(this.#context, input, this.#resolve(options))
    return await testCandidate(candidate, this.#context.outbound)
  }

  /**
   * Changes settings, after the same test as `connect` unless the change does not affect sign-ins, such as a name. The change applies immediately, on every instance. A change that sets
   * `clientSecretReference` also names `issuer`, and `certificateAuthority` if the provider has one.
   *
   * @throws ManagementError as `connect`; `conflict` when `version` is no longer current; `not_found`
   */
  async update(slug: string, changes: ProviderChanges, options: UpdateOptions = {}): Promise<Provider> {
    const { version } = options
    return await updateProvider(this.#context, slug, changes, { ...this.#resolve(options), version })
  }

  /**
   * Shows it on the login page immediately.
   *
   * @throws ManagementError `not_allowed` when no test sign-in has passed with the current settings; for the first provider
   *   of a portal it must be at most 12 hours old and have ended with an existing user
   */
  async enable(slug: string, options: EnableOptions = {}): Promise<void> {
    const { withoutTestSignIn = false } = options
    const { providersTable } = this.#context
    const { portal } = this.#resolve(options)
    const provider = await providersTable.get(portal, slug)
    // Enabling an enabled provider reads its metadata again and changes nothing for users.
    if (!provider.enabled && !withoutTestSignIn)
      assertTestedSignIn(provider, !(await providersTable.anyEnabled(portal)))
    await providersTable.enable(provider)
    const testSignIn = withoutTestSignIn ? ('overridden' as const) : ('passed' as const)
    await this.#recordChange(slug, { change: 'enabled', ...(!provider.enabled && { testSignIn }) }, options)
  }

  /** Hides it from the login page immediately. */
  async disable(slug: string, options: DisableOptions = {}): Promise<void> {
    await this.#disable(slug, options, false)
    const change = options.endSessions ? 'disabled, its sessions end' : 'disabled'
    await this.#recordChange(slug, { change }, options)
  }

  /** Removes it. It can be restored for 30 days. */
  async remove(slug: string, options: DisableOptions = {}): Promise<void> {
    await this.#disable(slug, options, true)
    const { portal, actor } = this.#resolve(options)
    await this.#context.events.record({ kind: 'provider-removed', portal, provider: slug, actor })
  }

  /** Shows it first on the login page, with a badge. One per portal; no user is forced to use it. */
  async recommend(slug: string, options: ActOptions = {}): Promise<void> {
    await this.get(slug, options)
    await this.#recommend(slug, options)
  }

  /** No provider is recommended. */
  async clearRecommended(options: ActOptions = {}): Promise<void> {
    await this.#recommend(undefined, options)
  }

  /** Changes the order of the login page. @param slugs in their new order, at most 1,000; the others follow */
  async reorder(slugs: readonly string[], options: ActOptions = {}): Promise<void> {
    const { providersTable } = this.#context
    const { portal } = this.#resolve(options)
    const [first] = slugs
    if (first === undefined) return
    await providersTable.getAll(portal, slugs)
    await providersTable.reorder(portal, slugs)
    await this.#recordChange(first, { change: `order: ${slugs.join(', ')}` }, options)
  }

  /**
   * Moves it in the order of the login page. The recommended provider stays first.
   *
   * @param to one place `up` or `down`, or the place on the login page, 1 at the top
   * @throws ManagementError `invalid` for another place, `conflict` for a place of the recommended provider
   */
  async move(slug: string, to: 'up' | 'down' | number, options: ActOptions = {}): Promise<void> {
    const { providersTable } = this.#context
    const provider = await this.get(slug, options)
    if (typeof to === 'string') await providersTable.move(provider, to)
    else if (!Number.isInteger(to) || to < 1 || to > maxPlace)
      throw new ManagementError('invalid', phrase('enter a position from 1 to {{most}}', { most: maxPlace }))
    else if (provider.recommended)
      throw conflict(phrase('"{{slug}}" is recommended, so it stays first', { slug }))
    else await providersTable.moveTo(provider, to)
    const change = typeof to === 'string' ? `moved ${to}` : `moved to position ${to}`
    await this.#recordChange(slug, { change }, options)
  }

  /** Removed providers that can still be restored, the newest first. @param options.most at most so many; default all */
  async listRemoved(options: ActOptions & { most?: number | undefined } = {}): Promise<RemovedProvider[]> {
    const removed = this.#context
      .knex('sso_providers')
      .select('slug', { displayName: 'display_name', removedAt: 'removed_at' })
      .where({ portal: this.#resolve(options).portal })
      .whereNotNull('removed_at')
      .orderBy('removed_at', 'desc')
    return await (options.most === undefined ? removed : removed.limit(options.most))
  }

  /** Restores a removed provider, disabled. @throws ManagementError `not_found`, `conflict` when its slug is taken */
  async restore(slug: string, options: ActOptions = {}): Promise<void> {
    const { knex } = this.#context
    const { portal } = this.#resolve(options)
    const restored = await knex('sso_providers')
      .where({ portal, slug })
      .whereNotNull('removed_at')
      .update({ removed_at: null, enabled: false, version: knex.raw('version + 1'), updated_at: now() })
    if (restored !== 1 && (await this.find(slug, options)))
      throw conflict(
        phrase('a provider called "{{slug}}" is connected: there is nothing to restore', { slug }),
      )
    if (restored !== 1)
      throw new ManagementError(
        'not_found',
        phrase(
          'no removed provider is called "{{slug}}" in the portal "{{portal}}": after 30 days it is deleted',
          { slug, portal },
        ),
      )
    await this.#recordChange(slug, { change: 'restored, disabled' }, options)
  }

  /** How many users depend on it. Ask before you disable or remove it. */
  async usage(slug: string, options: UsageOptions = {}): Promise<ProviderUsage> {
    return await providerUsage(this.#context, slug, { ...this.#resolve(options), most: options.most })
  }

  /**
   * From `at` on it is disabled and its sessions end; until then the login page announces it.
   *
   * @param at in the future, within a year
   * @throws ManagementError `invalid` for another date, `conflict` when the provider is disabled
   */
  async retire(slug: string, at: Date, options: ActOptions = {}): Promise<void> {
    const { events, knex } = this.#context
    const { portal, actor } = this.#resolve(options)
    const delay = at.getTime() - Date.now()
    if (!(delay > 0 && delay <= maxRetirementDelayMs))
      throw new ManagementError('invalid', [
        issueAt('at', phrase('choose a date in the future, within a year')),
      ])
    const provider = await this.get(slug, options)
    if (!provider.enabled)
      throw conflict(phrase('"{{slug}}" is already disabled: nobody can sign in with it', { slug }))
    const retire_at = at.toISOString()
    // No sign-in changes until then, so the version stays.
    await knex('sso_providers').where({ id: provider.id }).update({ retire_at, updated_at: now() })
    const detail = { at: retire_at }
    await events.record({ kind: 'provider-retiring', portal, provider: slug, actor, detail })
  }

  /** Keeps the provider beyond the date of `retire`. @throws ManagementError `conflict` when the date has passed */
  async cancelRetirement(slug: string, options: ActOptions = {}): Promise<void> {
    const { id } = await this.get(slug, options)
    const cancelled = await this.#context
      .knex('sso_providers')
      .where({ id })
      .where('retire_at', '>', now())
      .update({ retire_at: null, updated_at: now() })
    if (cancelled !== 1)
      throw conflict(
        phrase('"{{slug}}" has no retirement date in the future: if it is disabled, enable it', { slug }),
      )
    await this.#recordChange(slug, { change: 'retirement cancelled' }, options)
  }

  /** Settings as a file for another portal or stage, without secrets. @param slugs empty: all */
  async export(slugs: readonly string[] = [], options: ActOptions = {}): Promise<ProviderFile> {
    return await exportProviders(this.#context, slugs, this.#resolve(options))
  }

  /**
   * Connects the providers of an exported file as drafts.
   *
   * @param text content of the file
   * @throws ManagementError `invalid` for a file with any mistake; nothing is changed then
   */
  async import(text: string, options: ImportOptions = {}): Promise<ImportResult[]> {
    return await importProviders(this.#context, text, { ...options, ...this.#resolve(options) })
  }

  /**
   * Shows its own logo before its name on all pages. Drops everything in the file that does not draw the image.
   *
   * @param image a PNG or WebP file: at most 256 × 256 pixels and 20 KB
   * @throws ManagementError `invalid` for any other content, `not_found`
   */
  async setLogo(slug: string, image: Uint8Array, options: ActOptions = {}): Promise<void> {
    await setProviderLogo(this.#context, slug, readLogo(image), this.#resolve(options))
  }

  /** Shows the logo of its preset, or its initial, again. */
  async removeLogo(slug: string, options: ActOptions = {}): Promise<void> {
    await setProviderLogo(this.#context, slug, undefined, this.#resolve(options))
  }

  /** Public halves of the keys of `private_key_jwt`. */
  async clientKeys(slug: string, options: ActOptions = {}): Promise<PublishedKey[]> {
    const keys = await this.#context.providersTable.clientKeys(await this.get(slug, options))
    return keysWithState(keys, Date.now()).map(({ key: { kid, alg, from }, state }) => {
      return { kid, alg, state, from }
    })
  }

  /** Publishes a new key. It signs an hour later, so that the provider has time to fetch it. */
  async rotateClientKey(slug: string, options: ActOptions = {}): Promise<PublishedKey> {
    return await rotateClientKey(this.#context, slug, this.#resolve(options))
  }

  /** Redirect URI to enter at the provider. */
  redirectUri(slug: string, options: ActOptions = {}): string {
    return this.#context.urls.callback(readSlug(slug), this.#resolve(options).portal)
  }

  /** Redirect URI of the admin consent. `undefined`: the provider has none. */
  async adminConsentUri(slug: string, options: ActOptions = {}): Promise<string | undefined> {
    const { portal, preset } = await this.get(slug, options)
    return presetOf(preset)?.adminConsent && this.#context.urls.adminConsent(slug, portal)
  }

  /** Post-logout redirect URI to enter at the provider, the same for all of a portal. */
  postLogoutRedirectUri(options: ActOptions = {}): string {
    return this.#context.urls.loggedOut(this.#resolve(options).portal)
  }

  /** Back-channel logout URI to enter at the provider. */
  backChannelLogoutUri(slug: string, options: ActOptions = {}): string {
    return this.#context.urls.backChannelLogout(readSlug(slug), this.#resolve(options).portal)
  }

  /** Front-channel logout URI to enter at the provider, for the setting `frontChannelLogout`. */
  frontChannelLogoutUri(slug: string, options: ActOptions = {}): string {
    return this.#context.urls.frontChannelLogout(readSlug(slug), this.#resolve(options).portal)
  }

  /** Where the provider fetches the public keys of `private_key_jwt`. */
  jwksUri(slug: string, options: ActOptions = {}): string {
    return this.#context.urls.clientKeys(readSlug(slug), this.#resolve(options).portal)
  }

  #resolve(options: ActOptions): ResolvedActOptions {
    return resolveActOptions(options, this.#portal)
  }

  async #disable(slug: string, options: DisableOptions, removes: boolean): Promise<void> {
    const { providersTable, sessions } = this.#context
    const endsSessions = options.endSessions === true
    const provider = await this.get(slug, options)
    await providersTable.disable(provider, { endsSessions, removes })
    if (endsSessions) await sessions.endAll({ portal: provider.portal, provider: slug })
  }

  async #recordChange(provider: string, detail: EventOf<'provider-changed'>['detail'], options: ActOptions) {
    const { portal, actor } = this.#resolve(options)
    await this.#context.events.record({ kind: 'provider-changed', portal, provider, actor, detail })
  }

  async #recommend(slug: string | undefined, options: ActOptions): Promise<void> {
    // The recommended one comes first.
    const before = (await this.list({ ...options, most: 1 })).filter(({ recommended }) => recommended)
    await this.#context.providersTable.recommend(this.#resolve(options).portal, slug)
    if (slug !== undefined) await this.#recordChange(slug, { change: 'recommended' }, options)
    for (const other of before)
      if (other.slug !== slug)
        await this.#recordChange(other.slug, { change: 'no longer recommended' }, options)
  }

  /** With the previous method no user could sign in, so the new version interrupts no sign-in. */
  async #saveDetected(provider: Provider, test: ProviderTest): Promise<Provider> {
    const { providersTable } = this.#context
    const { portal, slug } = provider
    const { clientKeyId } = test
    if (clientKeyId !== undefined)
      await providersTable.changeClientKeys(provider, (keys) => promoteKey(keys, clientKeyId, Date.now()))
    // A refused method stays as it is, so only an accepted one differs.
    const names = (['clientAuthentication', 'secretEncoding', 'assertionAudience'] as const).filter(
      (name) => test[name] !== undefined && test[name] !== provider[name],
    )
    if (names.length === 0) return provider
    const accepted = Object.fromEntries(names.map((name) => [name, test[name]]))
    const updated = await providersTable.update(provider, accepted)
    await this.#recordChange(slug, describeChanges(provider, updated), { portal, actor: 'test' })
    return updated
  }
}
