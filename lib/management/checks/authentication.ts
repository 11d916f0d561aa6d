import type { ProviderMetadata } from '../../oidc/discovery.ts'
import { clientKeyAlgorithms, keyAlgorithmFor } from '../../providers/client-key.ts'
import type { Check, ClientAuthentication } from '../../providers/provider.ts'
import { failed, ok, type TestInput } from './candidate.ts'

export function chooseAuthentication(metadata: ProviderMetadata, candidate: TestInput): ClientAuthentication {
  const announced = announcedMethods(metadata)
  // Without a secret it is a public client only where the provider says that it has such: else the secret was forgotten.
  if (!hasSecret(candidate) && announced.includes('none')) return 'none'
  const known = (['client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const).find((method) =>
    announced.includes(method),
  )
  return known ?? 'client_secret_basic'
}

export function checkAuthentication(
  metadata: ProviderMetadata,
  method: ClientAuthentication,
  candidate: TestInput,
): Check {
  const name = 'authentication'
  if (method.startsWith('client_secret') && !hasSecret(candidate))
    return failed(
      name,
      `${method} needs a client secret`,
      'enter the client secret, or choose `none` for a public client',
    )
  const announced = announcedMethods(metadata)
  const silent = metadata.token_endpoint_auth_methods_supported === undefined
  if (!announced.includes(method) && !(method === 'none' && silent))
    return failed(
      name,
      `the provider does not announce ${method}, only ${announced.join(', ')}`,
      'choose a method that the provider announces',
    )
  const algorithms = metadata.token_endpoint_auth_signing_alg_values_supported
  if (method === 'private_key_jwt' && !keyAlgorithmFor(algorithms))
    return failed(
      name,
      `the provider accepts none of our algorithms for private_key_jwt, only ${[algorithms].flat().join(', ')}`,
      `enable one of ${clientKeyAlgorithms.slice(0, 3).join(', ')} at the provider, or choose another method`,
    )
  return ok(name, `the client authenticates with ${method}`)
}

function hasSecret({ clientSecret, secondClientSecret }: TestInput): boolean {
  return clientSecret !== undefined || secondClientSecret !== undefined
}

// OpenID Connect Discovery 1.0, 3: what the absence of the member means.
function announcedMethods(metadata: ProviderMetadata): readonly string[] {
  const announced = metadata.token_endpoint_auth_methods_supported
  return Array.isArray(announced) ? announced : ['client_secret_basic']
}
