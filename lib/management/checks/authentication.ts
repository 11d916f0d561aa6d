import type { ProviderMetadata } from '../../oidc/discovery.ts'
import { clientKeyAlgorithms, keyAlgorithmFor } from '../../providers/client-key.ts'
import type { Check } from '../../providers/provider.ts'
import type { ClientAuthentication } from '../../providers/setting-values.ts'
import { failed, ok, type TestInput } from './candidate.ts'

export function chooseAuthentication(metadata: ProviderMetadata, input: TestInput): ClientAuthentication {
  const announced = announcedMethods(metadata)
  // Without a secret it is a public client only if the provider announces `none`; otherwise the secret was forgotten.
  if (input.clientSecret === undefined && announced.includes('none')) return 'none'
  const supported = (['client_secret_basic', 'client_secret_post', 'private_key_jwt'] as const).find(
    (method) => announced.includes(method),
  )
  return supported ?? 'client_secret_basic'
}

export function checkAuthentication(
  metadata: ProviderMetadata,
  method: ClientAuthentication,
  input: TestInput,
): Check {
  const name = 'authentication'
  if (method.startsWith('client_secret') && input.clientSecret === undefined)
    return failed(
      name,
      `${method} needs a client secret`,
      'enter the client secret, or choose `none` for a public client',
    )
  const announced = announcedMethods(metadata)
  const announcesNothing = metadata.token_endpoint_auth_methods_supported === undefined
  if (!announced.includes(method) && !(method === 'none' && announcesNothing))
    return failed(
      name,
      `the provider does not announce ${method}, only ${announced.join(', ')}`,
      'choose a method that the provider announces',
    )
  const algorithms = metadata.token_endpoint_auth_signing_alg_values_supported
  if (method === 'private_key_jwt' && !keyAlgorithmFor(algorithms))
    return failed(
      name,
      `the provider supports none of our algorithms for private_key_jwt, only ${[algorithms].flat().join(', ')}`,
      `enable one of ${clientKeyAlgorithms.slice(0, 3).join(', ')} at the provider, or choose another method`,
    )
  return ok(name, `the client authenticates with ${method}`)
}

// OpenID Connect Discovery 1.0, 3: the default is `client_secret_basic`.
function announcedMethods(metadata: ProviderMetadata): readonly string[] {
  const announced = metadata.token_endpoint_auth_methods_supported
  return Array.isArray(announced) ? announced : ['client_secret_basic']
}
