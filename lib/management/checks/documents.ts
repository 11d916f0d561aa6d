import { createLocalJWKSet, errors, type JSONWebKeySet } from 'jose'
import { discover, IssuerMismatchError, type ProviderMetadata } from '../../oidc/discovery.ts'
import { type HttpClient, isFetchable, isUnreachable } from '../../oidc/http-client.ts'
import { isIssuerOf, maySign, type Tenancy } from '../../providers/issuer.ts'
import type { Check } from '../../providers/provider.ts'
import { type SigningAlgorithm, signingAlgorithms } from '../../providers/setting-values.ts'
import { CheckError, describeError } from '../../shared/errors.ts'
import { failed, ok, type TestInput } from './candidate.ts'

export type Reached = { metadata: ProviderMetadata; checks: Check[] } | { metadata?: never; checks: Check[] }

/** Fetches the metadata. Without them no further check is possible. */
export async function reach(
  { issuer, preset }: Pick<TestInput, 'issuer' | 'preset'>,
  outbound: HttpClient,
): Promise<Reached> {
  const failures: unknown[] = []
  // Administrators drop or add a trailing slash; the issuer is saved as the provider writes it.
  for (const variant of [issuer, issuer.endsWith('/') ? issuer.slice(0, -1) : `${issuer}/`]) {
    try {
      const metadata = await discover({ issuer: variant, preset }, outbound)
      const message = `the discovery document of ${metadata.issuer} was read`
      return { metadata, checks: [ok('reached', message), checkIssuer(metadata.issuer, issuer)] }
    } catch (error) {
      failures.push(error)
    }
  }
  const [error] = failures
  const document = `${withoutSlash(issuer)}/.well-known/openid-configuration`
  if (error instanceof IssuerMismatchError)
    return { checks: [ok('reached', `${document} was read`), otherIssuer(error.issuer, issuer)] }
  const hint = isUnreachable(error)
    ? `open ${document} from this server; check the host name, the firewall, the proxy and the certificate`
    : `open ${document} and compare its "issuer" with what you entered`
  const message = `no usable discovery document at ${issuer}: ${describeError(error)}`
  return { checks: [failed('reached', message, isFetchable(new URL(issuer)) ? hint : 'use an https issuer')] }
}

function checkIssuer(named: string, entered: string): Check {
  if (withoutSlash(named) === withoutSlash(entered)) return ok('issuer', `the issuer is ${named}`)
  return otherIssuer(named, entered)
}

function otherIssuer(named: string, entered: string): Check {
  return failed(
    'issuer',
    `the discovery document names another issuer: ${JSON.stringify(named)}`,
    `open ${withoutSlash(entered)}/.well-known/openid-configuration and compare its "issuer" with what you entered`,
  )
}

function withoutSlash(issuer: string): string {
  return issuer.replace(/\/$/, '')
}

export async function checkKeys(
  metadata: ProviderMetadata,
  algorithms: readonly SigningAlgorithm[],
  tenancy: Tenancy,
  outbound: HttpClient,
): Promise<Check> {
  try {
    const response = await outbound.fetch(metadata.jwks_uri, {
      method: 'GET',
      headers: { accept: 'application/json' },
      body: undefined,
      redirect: 'manual',
    })
    if (response.status !== 200)
      throw new CheckError('jwks_uri', `the key set responded with status ${response.status}`)
    // Where the provider announces none of ours, another check says so.
    const wanted = algorithms.length > 0 ? algorithms : signingAlgorithms
    const keySet = keysOfTenants((await response.json()) as JSONWebKeySet, tenancy)
    const usable = await findUsable(keySet, wanted)
    return ok('keys', `the key set contains a usable key for ${usable.join(', ')}`)
  } catch (error) {
    return failed(
      'keys',
      `the keys cannot be used: ${describeError(error)}`,
      `open ${metadata.jwks_uri} from this server; it must respond with a JSON key set`,
    )
  }
}

/** Selects the keys that a sign-in may use: Entra names the issuer of each. @throws when all keys name other issuers */
function keysOfTenants(keySet: JSONWebKeySet, tenancy: Tenancy): JSONWebKeySet {
  if (tenancy.preset !== 'entra' || !Array.isArray(keySet?.keys)) return keySet
  const issuers = keySet.keys.map((key) => (key as { issuer?: unknown } | null)?.issuer)
  const isUsable = (issuer: unknown) =>
    maySign(tenancy, tenancy.issuer, issuer) || isIssuerOf(tenancy, String(issuer))
  if (issuers.length > 0 && !issuers.some(isUsable))
    throw new CheckError('jwks', `they are for another issuer: ${JSON.stringify(issuers[0])}`)
  return { keys: keySet.keys.filter((_key, at) => isUsable(issuers[at])) }
}

/**
 * Returns the algorithms for which the set has a key.
 *
 * @throws when it has none
 */
async function findUsable(
  keySet: JSONWebKeySet,
  algorithms: readonly SigningAlgorithm[],
): Promise<SigningAlgorithm[]> {
  const resolver = createLocalJWKSet(keySet)
  const usable: SigningAlgorithm[] = []
  for (const alg of algorithms)
    try {
      await resolver({ alg })
      usable.push(alg)
    } catch (error) {
      // Several are fine: each token names its key (`kid`).
      if (error instanceof errors.JWKSMultipleMatchingKeys) usable.push(alg)
      else if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
    }
  if (usable.length === 0)
    throw new CheckError('jwks', `the key set contains no usable key for ${algorithms.join(', ')}`)
  return usable
}
