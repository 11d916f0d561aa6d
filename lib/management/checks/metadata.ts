import type { ProviderMetadata } from '../../oidc/discovery.ts'
import type { Check } from '../../providers/provider.ts'
import { type SigningAlgorithm, signingAlgorithms } from '../../providers/setting-values.ts'
import { failed, ok, warning } from './candidate.ts'

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
        ? 'the provider reports when its session ends (back-channel logout)'
        : `the provider does not announce back-channel logout${
            metadata.frontchannel_logout_supported === true
              ? ', but front-channel logout, which you can enable here'
              : ''
          }`,
    ),
  ]
}

export function checkPkce(metadata: ProviderMetadata): Check {
  const methods: unknown = metadata.code_challenge_methods_supported
  if (Array.isArray(methods) && methods.includes('S256')) return ok('pkce', 'PKCE with S256 is supported')
  return warning(
    'pkce',
    'the provider does not announce PKCE with S256; the portal sends it anyway',
    'do nothing if a sign-in works: many providers support it without announcing it',
  )
}

export function chooseSigningAlgorithm(metadata: ProviderMetadata): SigningAlgorithm {
  const announced = metadata.id_token_signing_alg_values_supported
  return (
    (Array.isArray(announced) && signingAlgorithms.find((supported) => announced.includes(supported))) ||
    'RS256'
  )
}

export function checkSigning(metadata: ProviderMetadata, algorithm: SigningAlgorithm): Check {
  const announced = metadata.id_token_signing_alg_values_supported
  if (!Array.isArray(announced) || announced.includes(algorithm))
    return ok('signing', `ID tokens must be signed with ${algorithm}`)
  return failed(
    'signing',
    `the provider does not announce ${algorithm} for ID tokens, only ${announced.join(', ')}`,
    `configure an asymmetric algorithm for ID tokens at the provider (${signingAlgorithms.slice(0, 4).join(', ')}); HS256 and none are refused`,
  )
}

/** The portal fetches UserInfo only if the ID token holds no e-mail address. */
export function checkUserInfo(metadata: ProviderMetadata): Check {
  if (metadata.userinfo_endpoint !== undefined)
    return ok('userinfo', 'UserInfo can supply the e-mail address if the ID token lacks it')
  return warning(
    'userinfo',
    'the provider announces no UserInfo endpoint: the ID token must contain the e-mail address',
    'do nothing if it does; otherwise configure that at the provider',
  )
}
