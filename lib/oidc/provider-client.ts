import { type CompactVerifyGetKey, createLocalJWKSet, type JSONWebKeySet } from 'jose'
import * as client from 'openid-client'
import { type ClientAuth, ClientSecretPost, None, type PrivateKey, PrivateKeyJwt } from 'openid-client'
import { keysForIssuer } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { type SecretEncoding, secretEncodings, signingAlgorithms } from '../providers/setting-values.ts'
import { CheckError } from '../shared/errors.ts'
import { type ExchangedTokens, exchangeCode } from './code-exchange.ts'
import { assertIssuer, discover, type ProviderMetadata } from './discovery.ts'
import type { HttpClient } from './http-client.ts'

/** The portal's own credentials at one provider. */
export interface Credentials {
  clientSecret?: string | undefined
  /** returns the key that signs client assertions at the moment */
  signingKey?: (() => Promise<SigningKey>) | undefined
}

export type SigningKey = PrivateKey

export type ClientSettings = Pick<Provider, 'clientId' | 'clientAuthentication' | 'secretEncoding'>

/** @throws Error when the credential is missing that the authentication method needs */
export function clientCredential(client: ClientSettings, credentials: Credentials): ClientAuth {
  const { clientId, clientAuthentication: method, secretEncoding } = client
  const { clientSecret, signingKey } = credentials
  if (method === 'none') return None()
  if (method === 'private_key_jwt') {
    if (!signingKey) throw new CheckError('signing_key', 'the provider has no key to sign with')
    // Reads the key for each assertion, so that all instances start to sign with a new key at the same time.
    return async (...request) => await PrivateKeyJwt(await signingKey())(...request)
  }
  if (clientSecret === undefined) throw new CheckError('client_secret', 'the provider has no client secret')
  if (method === 'client_secret_post') return ClientSecretPost(clientSecret)
  const basic = basicCredentials(clientId, clientSecret, secretEncoding)
  return (_server, _client, _body, headers) => headers.set('authorization', `Basic ${basic}`)
}

/** The other encoding of `client_secret_basic`; `undefined` where it would change nothing, as for letters and digits. */
export function alternateEncoding(
  { clientId, clientAuthentication, secretEncoding }: ClientSettings,
  { clientSecret }: Credentials,
): SecretEncoding | undefined {
  if (clientAuthentication !== 'client_secret_basic' || clientSecret === undefined) return undefined
  const form = basicCredentials(clientId, clientSecret, 'form')
  if (form === basicCredentials(clientId, clientSecret, 'raw')) return undefined
  return secretEncoding === 'raw' ? 'form' : 'raw'
}

/** Every form in which the client secret is sent. */
function secretForms(clientId: string, { clientSecret }: Credentials): string[] {
  if (clientSecret === undefined) return []
  const basic = secretEncodings.map((encoding) => basicCredentials(clientId, clientSecret, encoding))
  return [clientSecret, ...basic]
}

/**
 * RFC 6749, 2.3.1. openid-client also escapes `-`, `.` and `_`, which form encoding leaves alone; a server that does not
 * decode would then refuse every client id that is a UUID. Some servers accept only the plain text (`raw`).
 */
function basicCredentials(clientId: string, clientSecret: string, encoding: SecretEncoding): string {
  const encode = encoding === 'raw' ? (text: string) => text : formEncoded
  return Buffer.from(`${encode(clientId)}:${encode(clientSecret)}`).toString('base64')
}

/** RFC 6749, appendix B. */
export function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}

/** Talks to one provider, with the settings of one version of its row. */
export interface ProviderClient {
  readonly metadata: ProviderMetadata
  /** every form in which the client secret is sent: to be redacted from logs */
  readonly secrets: readonly string[]
  /**
   * Exchanges the code of an authorization response, once. openid-client validates the token response.
   *
   * @param wrapFetch given in a test sign-in: observes every request, UserInfo too. A provider that refuses the client is then
   *   asked a second time with the other encoding of the client secret
   */
  exchangeCode(
    received: URL,
    checks: client.AuthorizationCodeGrantChecks,
    wrapFetch?: FetchWrapper,
  ): Promise<ExchangedTokens & { encoding: SecretEncoding }>
  /** Fetches the provider's current keys, to verify a logout token. @throws when the key set cannot be fetched */
  keys(): Promise<KeyResolver>
}

export type FetchWrapper = (fetch: client.CustomFetch) => client.CustomFetch

/** Finds the key that a token's header names, or the only one that fits. */
export type KeyResolver = CompactVerifyGetKey

/** how far one clock may be ahead of or behind the other */
export const clockToleranceSeconds = 30

/** @throws when discovery fails or the document names another issuer than the row */
export async function createProviderClient(
  provider: Provider,
  credentials: Credentials,
  outbound: HttpClient,
): Promise<ProviderClient> {
  const metadata = await discover(provider, outbound)
  // OpenID Connect Discovery 1.0, 4.3: identical, because the `iss` of every token is compared with it.
  assertIssuer(metadata, provider.issuer)
  const server = neededMetadata(metadata)
  const clientMetadata = {
    id_token_signed_response_alg: provider.signingAlgorithm,
    [client.clockTolerance]: clockToleranceSeconds,
  }
  let credential: ClientAuth | undefined
  let pendingKeys: Promise<Response> | undefined

  /** Concurrent callers share one request. */
  function fetchKeys(): Promise<Response> {
    pendingKeys ??= outbound.fetch(metadata.jwks_uri, keyRequest).finally(() => {
      pendingKeys = undefined
    })
    return pendingKeys
  }

  return {
    metadata,
    secrets: secretForms(provider.clientId, credentials),
    async exchangeCode(received, checks, wrapFetch) {
      const prefetching = fetchWithPrefetchedKeys(metadata, fetchKeys, outbound)
      const send = wrapFetch ? wrapFetch(prefetching) : prefetching
      credential ??= clientCredential(provider, credentials)
      const { timeoutSeconds } = outbound
      const exchange = { provider, server, clientMetadata, authenticate: credential, send, timeoutSeconds }
      try {
        return { ...(await exchangeCode(exchange, received, checks)), encoding: provider.secretEncoding }
      } catch (error) {
        const encoding = wrapFetch && alternateEncoding(provider, credentials)
        // The provider authenticates the client before it looks at the code, so the code is still unused.
        if (encoding === undefined || !(await refusesClient(error))) throw error
        const authenticate = clientCredential({ ...provider, secretEncoding: encoding }, credentials)
        return { ...(await exchangeCode({ ...exchange, authenticate }, received, checks)), encoding }
      }
    },
    // Not cached: old keys would refuse a valid token just after a rotation.
    keys: async () => await readKeys(provider, (await fetchKeys()).clone()),
  }
}

/**
 * Entra names the issuer of each key. The token's unverified `iss` selects the keys: an attacker gains nothing by a false one,
 * because the same `iss` is validated after the signature.
 */
async function readKeys(provider: Provider, response: Response): Promise<KeyResolver> {
  if (response.status !== 200)
    throw new CheckError('jwks_uri', `the key set responded with status ${response.status}`)
  const keySet = (await response.json()) as JSONWebKeySet
  const all = createLocalJWKSet(keySet)
  if (provider.preset !== 'entra') return all
  return async (header, token) => {
    const { iss } = JSON.parse(Buffer.from(String(token?.payload), 'base64url').toString()) as {
      iss?: unknown
    }
    return await createLocalJWKSet({ keys: keysForIssuer(provider, String(iss), keySet.keys) })(header, token)
  }
}

/**
 * True if the provider did not accept the client's credential (RFC 6749, 5.2). Keycloak sends `unauthorized_client` for a wrong
 * secret; only the status 401 distinguishes that from a client that lacks a permission.
 */
async function refusesClient(error: unknown): Promise<boolean> {
  const isRefusal = (code: unknown, status: number) =>
    (code === 'invalid_client' && (status === 400 || status === 401)) ||
    (code === 'unauthorized_client' && status === 401)
  if (error instanceof client.ResponseBodyError) return isRefusal(error.error, error.status)
  // For a 401 with a challenge, openid-client leaves the body unread.
  if (!(error instanceof client.WWWAuthenticateChallengeError)) return false
  const body: unknown = await error.response.json().catch(() => undefined)
  return isRefusal((body as { error?: unknown } | null | undefined)?.error, error.status)
}

/**
 * openid-client copies all metadata for each authorization response. A hostile provider could make that a megabyte, and block
 * the event loop for a tenth of a second, so pass only what openid-client uses.
 */
function neededMetadata(metadata: ProviderMetadata): ProviderMetadata {
  const { issuer, authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint } = metadata
  const announced = metadata.userinfo_signing_alg_values_supported
  return {
    issuer,
    authorization_endpoint,
    token_endpoint,
    jwks_uri,
    ...(userinfo_endpoint !== undefined && { userinfo_endpoint }),
    authorization_response_iss_parameter_supported: Boolean(
      metadata.authorization_response_iss_parameter_supported,
    ),
    ...(Array.isArray(announced) && {
      userinfo_signing_alg_values_supported: signingAlgorithms.filter((each) => announced.includes(each)),
    }),
  }
}

const keyRequest: client.CustomFetchOptions = {
  method: 'GET',
  headers: { accept: 'application/json, application/jwk-set+json' },
  body: undefined,
  redirect: 'manual',
}

/**
 * Fetches the current keys while the token request is in flight, so a key rotation refuses no user and costs no time. At most
 * one key request per token request, so an attacker cannot make the portal flood a provider.
 */
function fetchWithPrefetchedKeys(
  metadata: ProviderMetadata,
  fetchKeys: () => Promise<Response>,
  outbound: HttpClient,
): client.CustomFetch {
  let keys: Promise<Response> | undefined
  // One deadline for the code exchange, the keys and UserInfo together.
  const deadline = AbortSignal.timeout(outbound.timeoutSeconds * 1000)
  return async (url, requestOptions) => {
    const options = { ...requestOptions, signal: deadline }
    if (url === metadata.token_endpoint) {
      keys = fetchKeys()
      keys.catch(() => {}) // reported when the keys are used
    }
    if (url === metadata.jwks_uri && keys !== undefined) return (await keys).clone()
    return await outbound.fetch(url, options)
  }
}
