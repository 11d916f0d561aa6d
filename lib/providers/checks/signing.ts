import type { ProviderMetadata } from '../discover.ts'
import { type Check, type SigningAlgorithm, signingAlgorithms } from '../provider.ts'
import { failed, ok } from './verdict.ts'

export function chooseSigningAlgorithm(metadata: ProviderMetadata): SigningAlgorithm {
  const announced = metadata.id_token_signing_alg_values_supported
  return (Array.isArray(announced) && signingAlgorithms.find((known) => announced.includes(known))) || 'RS256'
}

export function checkSigning(metadata: ProviderMetadata, algorithm: SigningAlgorithm): Check {
  const announced = metadata.id_token_signing_alg_values_supported
  if (!Array.isArray(announced) || announced.includes(algorithm))
    return ok('signing', `ID tokens are to be signed with ${algorithm}`)
  return failed(
    'signing',
    `the provider does not announce ${algorithm} for ID tokens, only ${announced.join(', ')}`,
    `have ID tokens signed with an asymmetric algorithm (${signingAlgorithms.slice(0, 4).join(', ')}); HS256 and none are refused`,
  )
}
