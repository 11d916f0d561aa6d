import {
  type ClientKey,
  type ClientKeyAlgorithm,
  type KeyState,
  keyAlgorithmFor,
  leadTime,
  makeClientKey,
  standing,
} from '../providers/client-key.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import { ManagementError } from '../shared/errors.ts'
import type { ManagementContext } from './context.ts'

/** A key of `private_key_jwt`, without its private half. */
export interface PublishedKey {
  kid: string
  alg: ClientKeyAlgorithm
  state: KeyState
  /** Signs from then on. ISO 8601. */
  from: string
}

export async function listClientKeys(
  { providersTable }: ManagementContext,
  slug: string,
  { portal }: ResolvedActOptions,
): Promise<PublishedKey[]> {
  const keys = await providersTable.clientKeys(await providersTable.get(portal, slug))
  return standing(keys, Date.now()).map(({ key: { kid, alg, from }, state }) => ({ kid, alg, state, from }))
}

/** Publishes a new key. It signs an hour later, so that the provider has time to fetch it. */
export async function rotateClientKey(
  { connectedProviders, events, providersTable }: ManagementContext,
  slug: string,
  { portal, actor }: ResolvedActOptions,
): Promise<PublishedKey> {
  const provider = await providersTable.get(portal, slug)
  if (provider.clientAuthentication !== 'private_key_jwt')
    throw new ManagementError(
      'conflict',
      `"${slug}" authenticates with ${provider.clientAuthentication}: it has no key`,
    )
  // The algorithms that the provider accepts may have changed since the previous key.
  const { metadata } = await connectedProviders.connect(provider).client()
  const alg = keyAlgorithmFor(metadata.token_endpoint_auth_signing_alg_values_supported)
  if (!alg)
    throw new ManagementError('conflict', `"${slug}" accepts none of our algorithms for private_key_jwt`)
  const now = Date.now()
  const next = await makeClientKey(alg, now + leadTime)
  await providersTable.changeClientKeys(provider, (keys) => [...keysBeside(slug, keys, now), next])
  const { kid, from } = next
  const detail = { change: 'client key', after: JSON.stringify({ kid, alg, from }) }
  await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
  return { kid, alg, state: 'next', from }
}

/** The keys that stay published beside a new one. */
function keysBeside(slug: string, keys: readonly ClientKey[], now: number): ClientKey[] {
  const current = standing(keys, now)
  const next = current.find(({ state }) => state === 'next')
  if (next)
    throw new ManagementError(
      'conflict',
      `the next key of "${slug}" is already published and signs from ${next.key.from}: try again after that`,
    )
  return current.map(({ key }) => key)
}
