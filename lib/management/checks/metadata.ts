import type { ProviderMetadata } from '../../oidc/discovery.ts'
import { clientKeyAlgorithms, keyAlgorithmFor } from '../../providers/client-key.ts'
import { presetOf } from '../../providers/presets/presets.ts'
import type { Check } from '../../providers/provider.ts'
import {
  type ClientAuthentication,
  type SigningAlgorithm,
  signingAlgorithms,
} from '../../providers/setting-values.ts'
import { failed, ok, type TestInput, warning } from './candidate.ts'

export function checkFlow(metadata: ProviderMetadata): Check {
  const types = metadata.response_types_supported
  if (!Array.isArray(types) || types.includes('code'))
    return ok('flow', 'the authorization code flow is supported')
  return failed(
    'flow',
    `the provider does not announce the response type "code", only ${types.join(', ')}`,
    'enable the authorization code flow at the provider',
  )
}

/** Always `ok`: signing out of the portal works without either. */
export function checkLogout(metadata: ProviderMetadata): Check[] {
  return [
    ok(
      'logout',
      metadata.end_session_endpoint === undefined
        ? 'signing out ends only the portal session: the provider announces no usable end_session_endpoint'
        : 'signing out also ends the session at the provider',
    ),
    ok(
      'back-channel',
      metadata.backchannel_logout_supported === true
        ? 'the provider announces back-channel logout, which reports when its session ends'
        : `the provider does not announce back-channel logout${
            metadata.frontchannel_logout_supported === true
              ? ', but front-channel logout, which you can enable here'
              : ''
          }`,
    ),
  ]
}

export function checkPkce(metadata: ProviderMetadata, { preset }: Pick<TestInput, 'preset'>): Check {
  const methods: unknown = metadata.code_challenge_methods_supported
  if (Array.isArray(methods) && methods.includes('S256')) return ok('pkce', 'PKCE with S256 is supported')
  const { displayName, supportsPkce } = presetOf(preset) ?? {}
  if (supportsPkce)
    return ok('pkce', `${displayName} supports PKCE with S256, although it does not announce it`)
  return warning(
    'pkce',
    'the provider does not announce PKCE with S256; the portal sends it anyway',
    'do nothing if a sign-in works: many providers support it without announcing it',
  )
}

/** @param accepted algorithms that may sign tokens of this provider */
export function checkSigning(announced: unknown, accepted: readonly SigningAlgorithm[]): Check {
  const [only, ...others] = accepted
  const isAnnounced = only !== undefined && (!Array.isArray(announced) || announced.includes(only))
  if (isAnnounced && others.length === 0) return ok('signing', `ID tokens must be signed with ${only}`)
  if (isAnnounced) return ok('signing', `ID tokens may be signed with ${accepted.join(', ')}`)
  return failed(
    'signing',
    `the provider does not announce ${only ?? 'an asymmetric algorithm'} for ID tokens, only ${[announced].flat().join(', ')}`,
    `configure an asymmetric algorithm for ID tokens at the provider (${signingAlgorithms.slice(0, 4).join(', ')}); HS256 and none are refused`,
  )
}

/** The portal fetches UserInfo only for a new identity, if the ID token does not confirm its address. */
export function checkUserInfo(metadata: ProviderMetadata): Check {
  if (metadata.userinfo_endpoint !== undefined)
    return ok('userinfo', 'UserInfo can supply the e-mail address if the ID token lacks it')
  return warning(
    'userinfo',
    'the provider announces no UserInfo endpoint: the ID token must contain the e-mail address',
    'do nothing if it does; otherwise configure that at the provider',
  )
}

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
