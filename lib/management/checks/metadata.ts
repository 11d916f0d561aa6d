import { announcedMethods } from '../../oidc/client-methods.ts'
import { dpopAlgorithm } from '../../oidc/code-exchange.ts'
import type { ProviderMetadata } from '../../oidc/discovery.ts'
import { pushesRequests } from '../../oidc/provider-client.ts'
import { clientKeyAlgorithms, keyAlgorithmFor } from '../../providers/client-key.ts'
import { presetOf } from '../../providers/presets/presets.ts'
import type { Check } from '../../providers/provider.ts'
import {
  type ClientAuthentication,
  type SigningAlgorithm,
  signingAlgorithms,
} from '../../providers/setting-values.ts'
import { listed, phrase } from '../../shared/phrase.ts'
import { absent, failed, ok, type TestInput, warning } from './candidate.ts'

export function checkFlow(metadata: ProviderMetadata): Check {
  const types = metadata.response_types_supported
  if (!Array.isArray(types) || types.includes('code'))
    return ok('flow', phrase('the authorization code flow is supported'))
  return failed(
    'flow',
    phrase('the provider does not announce the response type "code", only {{types}}', {
      types: types.join(', '),
    }),
    phrase('enable the authorization code flow at the provider'),
  )
}

const logoutEffects = {
  provider: phrase('signing out also ends the session at the provider'),
  portal: phrase('signing out ends only the portal session, as the setting “Sign-out ends” says'),
  ask: phrase(
    'signing out ends the portal session, and the user chooses whether to sign out at the provider, too',
  ),
}

/** Never a problem: signing out of the portal works without either. */
export function checkLogout(
  metadata: ProviderMetadata,
  { frontChannelLogout, logout = 'provider' }: TestInput,
): Check[] {
  const isFrontChannel = metadata.frontchannel_logout_supported === true
  return [
    metadata.end_session_endpoint === undefined
      ? absent(
          'logout',
          phrase(
            'signing out ends only the portal session: the provider announces no usable end_session_endpoint',
          ),
        )
      : ok('logout', logoutEffects[logout]),
    metadata.backchannel_logout_supported === true
      ? ok(
          'back-channel',
          phrase('the provider announces back-channel logout, which reports when its session ends'),
        )
      : isFrontChannel && frontChannelLogout
        ? ok(
            'back-channel',
            phrase(
              'the provider announces front-channel logout, with which the browser reports when its session ends',
            ),
          )
        : absent(
            'back-channel',
            isFrontChannel
              ? phrase(
                  'the provider does not announce back-channel logout, but front-channel logout, which you can enable here',
                )
              : phrase('the provider does not announce back-channel logout'),
          ),
  ]
}

export function checkPkce(metadata: ProviderMetadata, { preset }: TestInput): Check {
  const methods: unknown = metadata.code_challenge_methods_supported
  if (Array.isArray(methods) && methods.includes('S256'))
    return ok('pkce', phrase('PKCE with S256 is supported'))
  const { displayName: provider = '', supportsPkce } = presetOf(preset) ?? {}
  if (supportsPkce)
    return ok(
      'pkce',
      phrase('{{provider}} supports PKCE with S256, although it does not announce it', { provider }),
    )
  return absent(
    'pkce',
    phrase(
      'the provider does not announce PKCE with S256; the portal sends it anyway, and many providers support it without announcing it',
    ),
  )
}

/** RFC 9126, 5: a provider announces a requirement for all clients only. */
export function checkPushedRequests(metadata: ProviderMetadata, input: TestInput): Check | undefined {
  const name = 'par'
  const isAnnounced = metadata.pushed_authorization_request_endpoint !== undefined
  if (!pushesRequests(input, metadata))
    return isAnnounced
      ? absent(
          name,
          phrase(
            'not in use: the provider accepts pushed authorization requests (PAR), which you can turn on here',
          ),
        )
      : undefined
  const isRequired = metadata.require_pushed_authorization_requests === true
  const message = isRequired
    ? phrase('authorization requests are pushed (PAR), as the provider requires')
    : phrase('authorization requests are pushed (PAR)')
  if (isAnnounced) return ok(name, message)
  return failed(
    name,
    phrase(
      'authorization requests cannot be pushed (PAR): the provider announces no https endpoint for them',
    ),
    phrase('turn pushed authorization requests off, or enable them at the provider'),
  )
}

/**
 * RFC 9449, 5.1: a provider announces what it supports, never what it requires of this client.
 *
 * @param isRequired true if the token endpoint demanded it; some providers check the code first
 */
export function checkDpop(
  metadata: ProviderMetadata,
  { dpop }: TestInput,
  isRequired = false,
): Check | undefined {
  const name = 'dpop'
  const algorithms = metadata.dpop_signing_alg_values_supported
  if (!dpop && isRequired)
    return warning(
      name,
      phrase('users cannot sign in: the client requires tokens that are bound to a key (DPoP)'),
      phrase('turn DPoP on in the settings, or off for this client at the provider'),
    )
  if (!dpop) return undefined
  if (Array.isArray(algorithms) && algorithms.includes(dpopAlgorithm))
    return ok(
      name,
      phrase('tokens are bound to a key of each sign-in (DPoP with {{algorithm}})', {
        algorithm: dpopAlgorithm,
      }),
    )
  return warning(
    name,
    phrase('the provider does not announce DPoP with {{algorithm}}', { algorithm: dpopAlgorithm }),
    phrase('turn DPoP off unless the client requires it at the provider'),
  )
}

const isMutualTls = (method: string) => method.includes('tls_client_auth')

/** Names what the provider offers and the portal cannot use. Whether this client requires it is not announced. */
export function checkUnsupported(metadata: ProviderMetadata): Check | undefined {
  const isListed = (list: unknown) => Array.isArray(list) && list.length > 0
  const bindsCertificates = metadata.tls_client_certificate_bound_access_tokens === true
  const offered = [
    isListed(metadata.id_token_encryption_alg_values_supported) && phrase('encrypted ID tokens'),
    isListed(metadata.userinfo_encryption_alg_values_supported) && phrase('encrypted UserInfo responses'),
    (bindsCertificates || announcedMethods(metadata).some(isMutualTls)) && 'Mutual TLS',
  ].filter((each) => each !== false)
  if (offered.length === 0) return undefined
  return absent(
    'unsupported',
    phrase('not supported here: {{features}}; leave them off for this client', { features: listed(offered) }),
  )
}

/** @param accepted algorithms that may sign tokens of this provider */
export function checkSigning(announced: unknown, accepted: readonly SigningAlgorithm[]): Check {
  const [only, ...others] = accepted
  const isAnnounced = only !== undefined && (!Array.isArray(announced) || announced.includes(only))
  if (isAnnounced && others.length === 0)
    return ok('signing', phrase('ID tokens must be signed with {{algorithm}}', { algorithm: only }))
  if (isAnnounced)
    return ok(
      'signing',
      phrase('ID tokens may be signed with {{algorithms}}', { algorithms: accepted.join(', ') }),
    )
  const algorithms = [announced].flat().join(', ')
  return failed(
    'signing',
    only === undefined
      ? phrase('the provider does not announce an asymmetric algorithm for ID tokens, only {{algorithms}}', {
          algorithms,
        })
      : phrase('the provider does not announce {{algorithm}} for ID tokens, only {{algorithms}}', {
          algorithm: only,
          algorithms,
        }),
    phrase(
      'configure an asymmetric algorithm for ID tokens at the provider ({{algorithms}}); HS256 and none are refused',
      { algorithms: signingAlgorithms.slice(0, 4).join(', ') },
    ),
  )
}

/** The portal fetches UserInfo only for a new identity, if the ID token does not confirm its address. */
export function checkUserInfo(metadata: ProviderMetadata): Check {
  if (metadata.userinfo_endpoint !== undefined)
    return ok('userinfo', phrase('UserInfo can supply the e-mail address if the ID token lacks it'))
  return absent(
    'userinfo',
    phrase('the provider announces no UserInfo endpoint: the ID token must contain the e-mail address'),
  )
}

export function chooseAuthentication(metadata: ProviderMetadata, input: TestInput): ClientAuthentication {
  const announced = announcedMethods(metadata)
  const { clientAuthentication: entered } = input
  const ways = ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt'] as const
  const other = ways.find((method) => announced.includes(method))
  // A secret also allows the other methods that need one.
  const isReplaceable = input.clientSecret !== undefined && entered?.startsWith('client_secret')
  if (entered && !(isReplaceable && other?.startsWith('client_secret') && !announced.includes(entered)))
    return entered
  // Without a secret it is a public client only if the provider announces `none`; otherwise the secret was forgotten.
  if (input.clientSecret === undefined && announced.includes('none')) return 'none'
  return other ?? 'client_secret_basic'
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
      phrase('{{method}} needs a client secret', { method }),
      phrase(
        'enter the client secret, or choose `none` for a public client, or `private_key_jwt` for one with keys',
      ),
    )
  const announced = announcedMethods(metadata)
  const methods = announced.join(', ')
  const announcesNothing = metadata.token_endpoint_auth_methods_supported === undefined
  // Many providers have public clients without announcing `none`: the administrator has chosen it.
  if (method === 'none' && !announced.includes(method) && !announcesNothing)
    return warning(
      name,
      phrase('the provider does not announce public clients (none), only {{methods}}', { methods }),
      phrase(
        'do nothing if the client is public (PKCE, no secret) at the provider; otherwise enter its secret',
      ),
    )
  if (!announced.includes(method) && method !== 'none')
    return failed(
      name,
      phrase('the provider does not announce {{method}}, only {{methods}}', { method, methods }),
      announced.every(isMutualTls)
        ? phrase('Mutual TLS is not supported: enable another method for this client at the provider')
        : phrase('choose a method that the provider announces'),
    )
  const algorithms = metadata.token_endpoint_auth_signing_alg_values_supported
  if (method === 'private_key_jwt' && !keyAlgorithmFor(algorithms))
    return failed(
      name,
      phrase('the provider supports none of our algorithms for private_key_jwt, only {{algorithms}}', {
        algorithms: [algorithms].flat().join(', '),
      }),
      phrase('enable one of {{algorithms}} at the provider, or choose another method', {
        algorithms: clientKeyAlgorithms.slice(0, 3).join(', '),
      }),
    )
  return ok(name, phrase('the client authenticates with {{method}}', { method }))
}
