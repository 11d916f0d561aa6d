import { type HttpClients, isUnreachable } from '../oidc/http-client.ts'
import { describeVouching } from '../oidc/vouches.ts'
import { makeClientKeys } from '../providers/client-key.ts'
import { guid, tenantIn } from '../providers/issuer.ts'
import { readDomain } from '../providers/presets/preset.ts'
import type { Check, Provider } from '../providers/provider.ts'
import { changedMeanwhile, slugTaken } from '../providers/providers-table.ts'
import {
  changedSettings,
  isSecret,
  needsConnectionTest,
  type ProviderChanges,
  type ProviderSettings,
  type SettingName,
  type StoredSettings,
  settingNamesWhere,
  settingsOf,
} from '../providers/settings.ts'
import type { ActOptions, ResolvedActOptions } from '../shared/act-options.ts'
import { issueAt, ManagementError } from '../shared/errors.ts'
import { type AdminText, asPhrase, phrase } from '../shared/phrase.ts'
import type { TestInput } from './checks/candidate.ts'
import type { ManagementContext } from './context.ts'
import { assertFits, type ProviderInput, readChanges, readInput } from './provider-input.ts'
import { assertMayReference, assertNamesRecipient } from './secret-reference-rules.ts'
import type { ProviderTest } from './test-provider.ts'

/** Thrown if the connection test failed: such a provider is not saved. The message names each failed check and what to do. */
export class ProviderTestError extends ManagementError {
  /** All results of the test. */
  readonly checks: readonly Check[]

  constructor(checks: readonly Check[]) {
    const failed = checks.filter(({ result }) => result === 'failed')
    super(
      'test_failed',
      failed.map(({ message, hint, phrases }) => {
        const finding = asPhrase(phrases?.message ?? message)
        if (!hint) return issueAt(undefined, finding)
        const advice = asPhrase(phrases?.hint ?? hint)
        return issueAt(undefined, phrase('{{finding}} – {{advice}}', { finding, advice }))
      }),
    )
    this.name = 'ProviderTestError'
    this.checks = checks
  }
}

/** Options of `update`. */
export interface UpdateOptions extends ActOptions {
  /** `Provider.version` that the changes are based on. A newer row is not overwritten. Default: any. */
  version?: number | undefined
}

type SaveContext = Pick<ManagementContext, 'logger' | 'urls' | 'events' | 'outbound' | 'providersTable'>

/** Runs the connection test. Its checks are loaded here, because only administrators need them. */
export async function testCandidate(candidate: TestInput, http: HttpClients): Promise<ProviderTest> {
  const { testProvider } = await import('./test-provider.ts')
  return await testProvider(candidate, http)
}

/**
 * Reads the settings of a new provider and its client secret, which may be a reference.
 *
 * @throws ManagementError `invalid`, `not_allowed`
 */
export async function readNewProvider(
  { outbound, providersTable, urls }: SaveContext,
  given: ProviderInput,
  { portal, source }: ResolvedActOptions,
) {
  const { input, tenantChecks } = await resolveTenants(given, outbound)
  const { slug, preset, enabled, settings } = readInput(input)
  assertMayReference(settings, source)
  const { clientSecretReference: reference } = settings
  const clientSecret =
    reference === undefined ? settings.clientSecret : await providersTable.readSecretReference(reference)
  const candidate = { ...settings, clientSecret, preset, redirectUri: urls.callback(slug, portal) }
  return { slug, enabled, settings, candidate, tenantChecks }
}

const readTenantDomain = readDomain('contoso.com')
/** A form may contain thousands, and each is a request. */
const maxTenantDomains = 10
const tenantIssuer = /^(https?:\/\/[^/?#]+)\/([^/?#]+)\/v2\.0$/

function invalidTenant(problem: AdminText): ManagementError {
  const text = phrase('{{problem}}, or enter the Directory (tenant) ID', { problem: asPhrase(problem) })
  return new ManagementError('invalid', [issueAt('tenant', text)])
}

/** Replaces the domains that an administrator entered for tenants of Entra by their IDs, which the issuer in the tokens contains. */
async function resolveTenants(input: ProviderInput, http: HttpClients) {
  const tenantChecks: Check[] = []
  if (input.preset !== 'entra') return { input, tenantChecks }
  const [, origin = 'https://login.microsoftonline.com', named] =
    tenantIssuer.exec(String(input.issuer ?? '')) ?? []
  async function resolve(entered: string): Promise<string> {
    const domain = readTenantDomain(entered)
    if ('wrong' in domain) return entered
    const id = await findTenant(`${origin}/${domain.answer}/v2.0`, input, http)
    const message = phrase('{{domain}} belongs to the tenant {{id}}', { domain: domain.answer, id })
    tenantChecks.push({ name: 'tenant', result: 'ok', message: String(message), phrases: { message } })
    return id
  }
  const tenants: string[] = []
  const { tenant = input.answers?.tenant } = input
  const words = new Set(String(tenant ?? '').match(/[^\s,;]+/g))
  if ([...words].filter((word) => 'answer' in readTenantDomain(word)).length > maxTenantDomains)
    throw invalidTenant(phrase('enter at most {{number}} domains', { number: maxTenantDomains }))
  for (const word of words) tenants.push(await resolve(word))
  const issuer = named === undefined ? input.issuer : `${origin}/${await resolve(named)}/v2.0`
  const answers = tenants.length > 0 ? { ...input.answers, tenant: tenants.join(' ') } : input.answers
  return { input: { ...input, tenant: undefined, answers, issuer }, tenantChecks }
}

/**
 * Attacker: a discovery document that names another server, which would receive the client secret. So only an ID is taken from it.
 *
 * @throws ManagementError `invalid` if the domain has no tenant
 */
async function findTenant(issuer: string, input: ProviderInput, http: HttpClients): Promise<string> {
  const { proxy, certificateAuthority } = input
  const network = { proxy: proxy ?? undefined, certificateAuthority: certificateAuthority ?? undefined }
  const row = { preset: 'generic', issuer, clientId: '', metadataUrl: undefined }
  // Loaded here, because only administrators need it.
  const { discover } = await import('../oidc/discovery.ts')
  const found = await discover(row, http.clientFor('candidate', network)).catch((error: unknown) => {
    if (isUnreachable(error))
      throw invalidTenant(phrase('{{url}} did not respond: try again', { url: new URL(issuer).origin }))
    return undefined
  })
  const tenant = tenantIn(found?.issuer ?? '') ?? ''
  if (!guid.test(tenant) || found?.issuer !== issuer.replace(tenantIssuer, `$1/${tenant}/v2.0`))
    throw invalidTenant(phrase('Microsoft knows no organisation with this domain: check its spelling'))
  return tenant
}

/** Checks, discovers, tests and saves a new provider: the action behind admin pages, command line and code. */
export async function connectProvider(
  context: SaveContext,
  input: ProviderInput,
  options: ResolvedActOptions,
): Promise<Provider> {
  const { events, logger, outbound, providersTable } = context
  const { portal, actor, source } = options
  const read = await readNewProvider(context, input, options)
  const { slug, enabled, settings: given, candidate, tenantChecks } = read
  if (await providersTable.find(portal, slug)) throw slugTaken(slug)
  const { settings, keyAlgorithms, checks } = await testAndResolve(given, candidate, outbound)
  const signsKeys = settings.clientAuthentication === 'private_key_jwt'
  const clientKeys = signsKeys ? await makeClientKeys(keyAlgorithms) : undefined
  const provider = await providersTable.insert(
    { ...settings, portal, slug, preset: candidate.preset, enabled },
    { clientSecret: given.clientSecret, clientKeys },
  )
  await providersTable.recordConnectionTest(provider, [...tenantChecks, ...checks])
  // The admin pages and the command line show it.
  if (source === 'code' && !actor.startsWith('cli')) {
    const { description, warning } = describeVouching(provider)
    const entry = { portal, provider: slug, vouchesFor: String(description), ...warning }
    logger[warning ? 'warn' : 'info'](entry, 'a provider was connected')
  }
  // An enabled one has had no test sign-in yet.
  const overridden = enabled && { testSignIn: 'overridden' as const }
  const detail = { issuer: provider.issuer, enabled, ...overridden }
  await events.record({ kind: 'provider-connected', portal, provider: slug, actor, detail })
  return provider
}

/** Changes settings, after the same test as when the provider was connected if they affect sign-ins. */
export async function updateProvider(
  context: SaveContext,
  slug: string,
  changes: ProviderChanges,
  { portal, actor, source, version }: ResolvedActOptions & Pick<UpdateOptions, 'version'>,
): Promise<Provider> {
  const { events, providersTable } = context
  const provider = await providersTable.get(portal, slug)
  if (version !== undefined && version !== provider.version) throw changedMeanwhile(provider)
  const entered = readChanges(changes)
  assertMayReference(entered, source, provider)
  assertNamesRecipient(entered, provider)
  const changed = keepOneSecret(entered, provider)
  const asked = { ...settingsOf(provider), ...changed } as ProviderSettings & StoredSettings
  assertFits(provider.preset, asked)
  const secretNames = Object.keys(changed).filter(isSecret)
  const different = [...changedSettings(provider, asked), ...secretNames] as SettingName[]
  // A name can be changed while the provider fails.
  const isTested = needsConnectionTest(
    different.length > 0 ? different : (Object.keys(changed) as SettingName[]),
  )
  const tested = isTested ? await testChanges(context, provider, asked, changed) : undefined
  const secret = 'clientSecret' in changed ? (changed.clientSecret ?? null) : undefined
  const secrets = { clientSecret: secret, clientKeys: tested?.clientKeys }
  const updated = await providersTable.update(provider, tested?.settings ?? asked, secrets)
  if (tested) await providersTable.recordConnectionTest(updated, tested.checks)
  const detail = describeChanges(provider, updated, secretNames)
  await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
  return updated
}

/** @throws ProviderTestError */
async function testChanges(
  context: SaveContext,
  provider: Provider,
  asked: ProviderSettings,
  changed: Partial<ProviderSettings>,
) {
  const { outbound, providersTable, urls } = context
  const candidate = {
    ...asked,
    clientSecret: await resolveSecret(context, provider, changed, asked.clientSecretReference),
    preset: provider.preset,
    redirectUri: urls.callback(provider.slug, provider.portal),
    isIssuerKnown: asked.issuer === provider.issuer && asked.metadataUrl === provider.metadataUrl,
    clientKeys: resolveClientKeys(context, provider, asked),
  }
  const { settings, keyAlgorithms, checks } = await testAndResolve(asked, candidate, outbound)
  const signsKeys = settings.clientAuthentication === 'private_key_jwt'
  // Existing keys stay, because the provider has fetched them.
  const needsKeys = signsKeys && (await providersTable.clientKeys(provider)).length === 0
  return { settings, checks, clientKeys: needsKeys ? await makeClientKeys(keyAlgorithms) : undefined }
}

/**
 * Tests the settings and fills in what they leave open: the issuer as the provider spells it, the client authentication, the
 * secret encoding and the audience of assertions.
 *
 * @throws ProviderTestError
 */
async function testAndResolve(given: ProviderSettings, candidate: TestInput, http: HttpClients) {
  const { clientSecret: _secret, ...settings } = given
  const found = await testCandidate(candidate, http)
  const { issuer, clientAuthentication, checks } = found
  if (!found.ok || !issuer || !clientAuthentication) throw new ProviderTestError(checks)
  const secretEncoding = found.secretEncoding ?? settings.secretEncoding ?? 'form'
  const assertionAudience = found.assertionAudience ?? settings.assertionAudience ?? 'issuer'
  const detected = { issuer, clientAuthentication, secretEncoding, assertionAudience }
  return { settings: { ...settings, ...detected }, keyAlgorithms: found.clientKeyAlgorithms, checks }
}

/** A new secret replaces a reference, and a new reference replaces the secret. */
function keepOneSecret(changed: Partial<ProviderSettings>, before: Provider): Partial<ProviderSettings> {
  const { clientSecret, clientSecretReference: reference } = changed
  if (clientSecret !== undefined && reference === undefined)
    return { ...changed, clientSecretReference: undefined }
  const isNew = reference !== undefined && reference !== before.clientSecretReference
  return isNew && clientSecret === undefined ? { ...changed, clientSecret: undefined } : changed
}

/**
 * Attacker: an administrator, or the author of an imported file, who changes the issuer or the certificates that identify it,
 * to receive the stored secret. The whole issuer counts, not its origin: on shared hosts each issuer names its own endpoints.
 */
async function resolveSecret(
  { providersTable }: SaveContext,
  provider: Provider,
  changed: Partial<ProviderSettings>,
  reference: string | undefined,
): Promise<string | undefined> {
  if (reference !== undefined) return await providersTable.readSecretReference(reference)
  if ('clientSecret' in changed) return changed.clientSecret
  // The reference is removed, and a provider that has one has no stored secret.
  if (provider.clientSecretReference !== undefined) return undefined
  const stored = await providersTable.clientSecret(provider)
  const moved = findNewRecipient(provider, changed)
  if (stored !== undefined && moved !== undefined) {
    throw new ManagementError('invalid', [issueAt('clientSecret', newRecipientTexts[moved] ?? '')])
  }
  return stored
}

const newRecipientTexts: Partial<Record<SettingName, string>> = {
  issuer: phrase('enter the client secret again, because the issuer changes'),
  metadataUrl: phrase('enter the client secret again, because the metadata URL changes'),
  certificateAuthority: phrase('enter the client secret again, because the certificate authority changes'),
}

/** Finds a changed setting that decides which server receives the client secret. A trailing slash makes no difference. */
function findNewRecipient(provider: Provider, changed: Partial<ProviderSettings>): SettingName | undefined {
  const normalized = (name: SettingName, value: unknown) =>
    name === 'issuer' ? new URL(String(value)).href.replace(/\/$/, '') : value
  return settingNamesWhere(({ decidesSecretRecipient }) => decidesSecretRecipient).find(
    (name) =>
      name in changed &&
      normalized(name, changed[name]) !== normalized(name, provider[name as keyof Provider]),
  )
}

/** Signs the test only if its recipient stays the same. A provider that used another method does not know the key yet. */
function resolveClientKeys({ providersTable }: SaveContext, provider: Provider, asked: ProviderSettings) {
  const stays = [provider, asked].every((each) => each.clientAuthentication === 'private_key_jwt')
  if (!stays || findNewRecipient(provider, asked) !== undefined) return undefined
  return () => providersTable.clientKeys(provider)
}

/** Maximum length of `before` and `after` as JSON. The event log truncates at 1000 characters. */
const maxDetailLength = 900

/** Describes old and new values for the event log. Of a secret it contains only the name. */
export function describeChanges(before: Provider, after: Provider, secretNames: readonly string[] = []) {
  const names = changedSettings(before, settingsOf(after)) as (keyof Provider)[]
  // Each setting gets an equal share of the event, so that a long value does not hide the others.
  const share = Math.floor(maxDetailLength / names.length)
  const pick = (from: Provider) =>
    JSON.stringify(Object.fromEntries(names.map((name) => [name, truncate(from[name], share - name.length)])))
  return { change: [...names, ...secretNames].join(', '), before: pick(before), after: pick(after) }
}

function truncate(value: unknown, length: number): unknown {
  const text = JSON.stringify(value) ?? ''
  // Encoded as JSON a second time, each quote takes two characters.
  return text.length + 5 <= length ? value : `${text.slice(0, Math.max(0, (length - 6) / 2))}…`
}
