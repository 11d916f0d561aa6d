import { Router } from 'express'
import {
  type ClientKeyAlgorithm,
  type KeyState,
  keyAlgorithmFor,
  keysWithState,
  leadTimeMs,
  makeClientKey,
  publicHalf,
} from '../providers/client-key.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { ResolvedActOptions } from '../shared/act-options.ts'
import { ManagementError, PortalSsoError } from '../shared/errors.ts'
import { type AdminText, phrase } from '../shared/phrase.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { ManagementContext } from './context.ts'

/** A key of `private_key_jwt`, without its private half. */
export interface PublishedKey {
  /** Thumbprint of the public half (RFC 7638). */
  kid: string
  /** Algorithm of the signature (RFC 7518, 3.1). */
  alg: ClientKeyAlgorithm
  /** Whether it signs. */
  state: KeyState
  /** Time from which it signs. ISO 8601. */
  from: string
}

/** Publishes a new key. It signs an hour later, so that the provider has time to fetch it. */
export async function rotateClientKey(
  { connectedProviders, events, providersTable }: ManagementContext,
  slug: string,
  { portal, actor }: ResolvedActOptions,
): Promise<PublishedKey> {
  const conflict = (text: AdminText) => new ManagementError('conflict', text)
  const provider = await providersTable.get(portal, slug)
  const { clientAuthentication } = provider
  if (clientAuthentication !== 'private_key_jwt')
    throw conflict(
      phrase('"{{slug}}" authenticates with {{method}}: it has no key', {
        slug,
        method: clientAuthentication,
      }),
    )
  // The algorithms that the provider accepts may have changed since the previous key.
  const { metadata } = await connectedProviders.connect(provider).client()
  const signing = keysWithState(await providersTable.clientKeys(provider), Date.now()).find(
    ({ state }) => state === 'signing',
  )
  const alg = keyAlgorithmFor(metadata.token_endpoint_auth_signing_alg_values_supported, signing?.key.alg)
  if (!alg) throw conflict(phrase('"{{slug}}" accepts none of our algorithms for private_key_jwt', { slug }))
  const now = Date.now()
  const next = await makeClientKey(alg, now + leadTimeMs)
  const { kid, from } = next
  await providersTable.changeClientKeys(provider, (keys) => {
    const current = keysWithState(keys, now)
    const waiting = current.find(({ state }) => state === 'next')
    if (waiting)
      throw conflict(
        phrase(
          'the next key of "{{slug}}" is already published and signs from {{from}}: try again after that',
          {
            slug,
            from: waiting.key.from,
          },
        ),
      )
    // The current key works, so the spare ones are no longer needed.
    const used = current.filter(({ state }) => state !== 'spare')
    return [...used.map(({ key }) => key), next]
  })
  const detail = { change: 'client key', after: JSON.stringify({ kid, alg, from }) }
  await events.record({ kind: 'provider-changed', portal, provider: slug, actor, detail })
  return { kid, alg, state: 'next', from }
}

/** Well below the hour between publishing a key and signing with it. */
const maxAgeSeconds = 300

/**
 * `GET /login/:provider/jwks.json`: the public keys of `private_key_jwt` (OpenID Connect Core 9). Served for disabled
 * providers, too: they fetch the keys before they are enabled.
 */
export function clientKeysRoute(core: Core, { providersTable }: { providersTable: ProvidersTable }): Router {
  const { portalOf } = core
  const show = asyncHandler(async (req, res) => {
    const provider = await providersTable.find(portalOf(req), req.params.provider)
    const keys = provider ? await providersTable.clientKeys(provider) : []
    if (keys.length === 0) throw new PortalSsoError('provider_not_found', 'no provider of that name has keys')
    // Not `public`: the response to an administrator may renew the session cookie, and a shared cache would pass it on.
    res.set('cache-control', `private, max-age=${maxAgeSeconds}`)
    res.json({ keys: keysWithState(keys, Date.now()).map(({ key }) => publicHalf(key)) })
  })
  return Router().get('/login/:provider/jwks.json', show)
}
