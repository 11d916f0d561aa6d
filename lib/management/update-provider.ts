import type { EventLog } from '../events/event-log.ts'
import type { HttpClients } from '../oidc/http-client.ts'
import {
  type ClientKey,
  type ClientKeyAlgorithm,
  makeClientKey,
  signingKeyOf,
} from '../providers/client-key.ts'
import type { Provider, ProviderChanges, ProviderSettings } from '../providers/provider.ts'
import type { ProvidersTable, SecretChanges } from '../providers/providers-table.ts'
import { settingsOf, withDefaults } from '../providers/settings.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { TestInput } from './checks/candidate.ts'
import { assertFits, readChanges } from './provider-input.ts'
import { testAndResolve } from './test-provider.ts'

export interface UpdateOptions extends ActOptions {
  /** of the row that the changes were made on: a newer one is somebody else's work, and is not written over */
  version?: number | undefined
}

export interface UpdateParts {
  urls: Pick<PortalUrls, 'callback'>
  events: EventLog
  outbound: HttpClients
  table: ProvidersTable
}

export type UpdateProvider = (
  slug: string,
  changes: ProviderChanges,
  how?: UpdateOptions,
) => Promise<Provider>

const required: readonly string[] = ['displayName', 'issuer', 'clientId']

export function createUpdateProvider({ urls, events, outbound, table }: UpdateParts): UpdateProvider {
  /** Keys that are there stay: the provider has read them. */
  async function firstKey(provider: Provider, alg: ClientKeyAlgorithm): Promise<ClientKey[] | undefined> {
    const keys = await table.clientKeys(provider)
    return keys.length > 0 ? undefined : [await makeClientKey(alg, Date.now())]
  }

  /** Like a secret, what it signs goes to nobody else than before; and where another way was used, the provider does not know it yet. */
  async function signingKeyFor(
    provider: Provider,
    asked: ProviderSettings,
  ): Promise<TestInput['signingKey']> {
    const stays = [provider, asked].every((each) => each.clientAuthentication === 'private_key_jwt')
    if (!stays || moves(provider, asked) || believesOthers(provider, asked)) return undefined
    const keys = await table.clientKeys(provider)
    return () => signingKeyOf(keys, Date.now())
  }

  return async (slug, changes, { portal = 'default', actor = 'code', version } = {}) => {
    const provider = await table.existing(portal, slug)
    if (version !== undefined && version !== provider.version)
      throw new ConfigurationError(
        `"${slug}" was changed by somebody else meanwhile: look at it and try again`,
      )
    const { changed, takenBack } = readChanges(changes)
    const missing = takenBack.find((name) => required.includes(name))
    if (missing) throw new ConfigurationError(`${missing}: a provider cannot do without it`)
    const clientSecret = changes.clientSecret === null ? null : changed.clientSecret
    // A secret that is about to be replaced is not opened: the key that it was sealed with may be lost.
    const kept = clientSecret === undefined ? await table.clientSecret(provider) : undefined
    const asked = without({ ...settingsOf(provider), clientSecret: kept, ...changed }, takenBack)
    assertFits(provider.preset, asked)
    if (kept !== undefined) assertSameRecipient(provider, asked)
    // The same test as when it was connected: a change must not leave a provider behind that cannot work.
    const { found, keyAlgorithm, checks } = await testAndResolve(
      { ...asked, preset: provider.preset, signingKey: await signingKeyFor(provider, asked) },
      urls.callback(slug, portal),
      outbound,
    )
    const clientKeys = keyAlgorithm && (await firstKey(provider, keyAlgorithm))
    const secrets = { clientSecret, clientKeys }
    const updated = await table.update(provider, withDefaults(found), secrets)
    await table.recordConnectionTest(updated, checks)
    const detail = difference(provider, updated, { clientSecret })
    await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
    return updated
  }
}

/**
 * An administrator must not learn the stored client secret by pointing the issuer or the trusted certificates at a server of
 * their own. Compare the whole issuer, not only its origin: each tenant of a shared host names its own token endpoint.
 */
function assertSameRecipient(provider: Provider, asked: ProviderSettings): void {
  const moving = moves(provider, asked)
  if (!moving && !believesOthers(provider, asked)) return
  throw new ConfigurationError(
    `clientSecret: give the client secret again when ${moving ? 'the issuer moves' : 'other certificates are believed'}`,
  )
}

function moves(provider: Provider, { issuer }: ProviderSettings): boolean {
  return spelled(issuer) !== spelled(provider.issuer)
}

function believesOthers(provider: Provider, { certificateAuthority }: ProviderSettings): boolean {
  return certificateAuthority !== provider.certificateAuthority
}

/** Administrators lose or add the last slash. */
function spelled(issuer: string): string {
  return new URL(issuer).href.replace(/\/$/, '')
}

function without(
  settings: ProviderSettings,
  takenBack: readonly (keyof ProviderSettings)[],
): ProviderSettings {
  const left = Object.entries(settings).filter(
    ([name]) => !takenBack.includes(name as keyof ProviderSettings),
  )
  return Object.fromEntries(left) as unknown as ProviderSettings
}

/** What changed, as it was and as it is; of a secret only that it did. */
function difference(before: Provider, after: Provider, secrets: SecretChanges) {
  const [old, now] = [settingsOf(before), settingsOf(after)]
  const names = (Object.keys(now) as (keyof typeof now)[]).filter(
    (name) => JSON.stringify(old[name]) !== JSON.stringify(now[name]),
  )
  const replaced = Object.entries(secrets)
    .filter(([, secret]) => secret !== undefined)
    .map(([name]) => name)
  // An event is bounded: each setting has its part of it, or a long one would push out what else was changed.
  const room = Math.floor(longestDetail / names.length)
  const pick = (from: typeof now) =>
    JSON.stringify(Object.fromEntries(names.map((name) => [name, cut(from[name], room - name.length)])))
  return { change: [...names, ...replaced].join(', '), before: pick(old), after: pick(now) }
}

/** characters of what is told of settings, as JSON; an event takes a thousand */
const longestDetail = 900

function cut(value: unknown, room: number): unknown {
  const text = JSON.stringify(value) ?? ''
  // Spelled as JSON once more, its quotes take two characters each.
  return text.length + 5 <= room ? value : `${text.slice(0, Math.max(0, (room - 6) / 2))}…`
}
