import { createLocalJWKSet, errors, type JSONWebKeySet } from 'jose'
import type { ProviderMetadata } from '../../oidc/discovery.ts'
import type { HttpClient } from '../../oidc/http-client.ts'
import type { Check } from '../../providers/provider.ts'
import type { SigningAlgorithm } from '../../providers/setting-values.ts'
import { CheckError, describeError } from '../../shared/errors.ts'
import { failed, ok } from './candidate.ts'

export async function checkKeys(
  metadata: ProviderMetadata,
  algorithm: SigningAlgorithm,
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
    await findKey((await response.json()) as JSONWebKeySet, algorithm)
    return ok('keys', `the key set contains a usable key for ${algorithm}`)
  } catch (error) {
    return failed(
      'keys',
      `the keys cannot be used: ${describeError(error)}`,
      `open ${metadata.jwks_uri} from this server; it must respond with a JSON key set`,
    )
  }
}

/** @throws when no key of the set can verify a signature of this algorithm */
async function findKey(keys: JSONWebKeySet, alg: SigningAlgorithm): Promise<void> {
  try {
    await createLocalJWKSet(keys)({ alg })
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey)
      throw new CheckError('jwks', `the key set contains no usable key for ${alg}`)
    // Several are fine: each token names its key (`kid`).
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
  }
}
