import type { ProviderMetadata } from '../../oidc/discovery.ts'
import { type Check, type SigningAlgorithm, signingAlgorithms } from '../../providers/provider.ts'
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

/** Never a fault: signing out here works without either. */
export function checkLogout(metadata: ProviderMetadata): Check[] {
  return [
    ok(
      'logout',
      metadata.end_session_endpoint === undefined
        ? 'signing out ends only the portal session, because the provider announces no usable end_session_endpoint'
        : 'signing out continues to the provider, which ends its own session too',
    ),
    ok(
      'back-channel',
      metadata.backchannel_logout_supported === true
        ? 'the provider can end sessions here (back-channel logout)'
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
    'the provider does not announce PKCE with S256, but the portal sends it anyway',
    'nothing, if a sign-in works. Many providers support it without announcing it',
  )
}

export function chooseSigningAlgorithm(metadata: ProviderMetadata): SigningAlgorithm {
  const announced = metadata.id_token_signing_alg_values_supported
  return (Array.isArray(announced) && signingAlgorithms.find((known) => announced.includes(known))) || 'RS256'
}

export function checkSigning(metadata: ProviderMetadata, algorithm: SigningAlgorithm): Check {
  const announced = metadata.id_token_signing_alg_values_supported
  if (!Array.isArray(announced) || announced.includes(algorithm))
    return ok('signing', `ID tokens must be signed with ${algorithm}`)
  return failed(
    'signing',
    `the provider does not announce ${algorithm} for ID tokens, only ${announced.join(', ')}`,
    `configure the provider to sign ID tokens with an asymmetric algorithm (${signingAlgorithms.slice(0, 4).join(', ')}). HS256 and none are refused`,
  )
}

/** UserInfo is asked only where the ID token holds no address. */
export function checkUserInfo(metadata: ProviderMetadata): Check {
  if (metadata.userinfo_endpoint !== undefined)
    return ok('userinfo', 'UserInfo can return the e-mail address if the ID token lacks it')
  return warning(
    'userinfo',
    'the provider announces no UserInfo endpoint, so the e-mail address must be in the ID token',
    'nothing, if the ID token contains it. Otherwise configure the provider to add it',
  )
}
