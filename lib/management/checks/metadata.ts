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
    'switch the authorization code flow on at the provider',
  )
}

/** Never a fault: signing out here works without either. */
export function checkLogout(metadata: ProviderMetadata): Check[] {
  return [
    ok(
      'logout',
      metadata.end_session_endpoint === undefined
        ? 'signing out ends the portal session only: the provider announces no usable end_session_endpoint'
        : 'signing out leads on to the provider, which ends its own session too',
    ),
    ok(
      'back-channel',
      metadata.backchannel_logout_supported === true
        ? 'the provider can say when its own session ends (back-channel logout)'
        : `the provider does not announce back-channel logout${
            metadata.frontchannel_logout_supported === true
              ? ', but front-channel logout, which you can switch on here'
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
    'the provider does not announce PKCE with S256; it is sent all the same',
    'nothing, if a sign-in works: many providers support it without saying so',
  )
}

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

/** UserInfo is asked only where the ID token holds no address. */
export function checkUserInfo(metadata: ProviderMetadata): Check {
  if (metadata.userinfo_endpoint !== undefined)
    return ok('userinfo', 'UserInfo can be asked for the e-mail address where the ID token lacks it')
  return warning(
    'userinfo',
    'the provider announces no UserInfo endpoint: the e-mail address has to be in the ID token',
    'nothing, if it is; else have the provider put it there',
  )
}
