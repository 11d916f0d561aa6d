import { createLocalJWKSet, errors, type JSONWebKeySet, type JWK } from 'jose'
import * as client from 'openid-client'
import { keyIssuersFor } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { acceptedAlgorithms, type SigningAlgorithm } from '../providers/setting-values.ts'
import { clockToleranceSeconds, SECOND } from '../shared/time.ts'
import {
  type ClientMethod,
  type ClientSettings,
  type Credentials,
  clientCredential,
  type otherMethods,
  secretForms,
} from './client-methods.ts'
import {
  type Exchange,
  exchangeCode,
  fetchUserInfo,
  pushRequest,
  type ReceivedTokens,
  type UserInfo,
} from './code-exchange.ts'
import { assertIssuer, discover, type ProviderMetadata } from './discovery.ts'
import { type HttpClient, readJson, UnreachableError } from './http-client.ts'
import { isGone, type KeyResolver, KeySet } from './key-set.ts'

/** Talks to one provider, with the settings of one version of its row. */
export interface ProviderClient {
  readonly metadata: ProviderMetadata
  /** every form in which the client secret is sent: to be redacted from logs */
  readonly secrets: readonly string[]
  readonly keySet: KeySet
  /**
   * Pushes an authorization request and returns the URL that refers to it. Absent unless the provider or its row requires it.
   *
   * @param address key of the client address, which takes turns with others
   */
  readonly pushRequest?: ((url: string, address: string) => Promise<string>) | undefined
  /** Exchanges the code of an authorization response, once, and validates the tokens. */
  exchangeCode(
    received: URL,
    checks: client.AuthorizationCodeGrantChecks,
    options: ExchangeOptions,
  ): Promise<ExchangedTokens>
  /** Verifies a signature. @returns the payload @throws CheckError `signature`, or if the keys cannot be fetched */
  verifyLogoutToken(token: string): Promise<Uint8Array>
}

export interface ExchangedTokens extends ReceivedTokens {
  /** the client authentication that the provider accepted in place of the configured one */
  method?: ClientMethod | undefined
  /** @throws for claims of another subject, and for a signed response that is not valid */
  fetchUserInfo(): Promise<UserInfo>
}

export interface ExchangeOptions {
  /** key of the client address, which takes turns with others */
  address: string
  /** called before the exchange fails, if the code was wrong or the token response malformed */
  onWrongCode?: (() => Promise<void>) | undefined
  /**
   * Given in a test sign-in. The keys are then not cached, and a provider that refuses the client is asked again with each
   * other method.
   */
  test?: ExchangeTest | undefined
}

export interface ExchangeTest {
  /** observes every request, UserInfo too */
  wrapFetch: FetchWrapper
  otherMethods: typeof otherMethods
}

export type FetchWrapper = (fetch: client.CustomFetch) => client.CustomFetch

const clientMetadata = { [client.clockTolerance]: clockToleranceSeconds }

export interface Succession {
  /** the client that this one replaces: the cached keys stay valid while the metadata names the same key set */
  previous?: ProviderClient | undefined
  /** called when an endpoint is gone: the metadata may be out of date */
  onMoved?: (() => void) | undefined
  /** called with each key set, which tells the provider's time */
  onKeys?: ((response: Response, askedAt: number) => void) | undefined
}

/** @throws when discovery fails or the document names another issuer than the row */
export async function createProviderClient(
  provider: Provider,
  credentials: Credentials,
  outbound: HttpClient,
  { previous, ...reports }: Succession = {},
): Promise<ProviderClient> {
  const metadata = await readMetadata(provider, outbound)
  const { id_token_signing_alg_values_supported: announced } = metadata
  const algorithms = acceptedAlgorithms(provider.signingAlgorithm, announced)
  const server = neededMetadata(metadata, provider, algorithms)
  const newKeySet = (http: HttpClient) => createKeySet(metadata, provider, http, reports)
  const keySet = previous?.keySet.uri === metadata.jwks_uri ? previous.keySet : newKeySet(outbound)
  let credential: client.ClientAuth | undefined
  return {
    metadata,
    keySet,
    secrets: secretForms(provider.clientId, credentials),
    pushRequest: pushesRequests(provider, metadata)
      ? requestPusher(provider, credentials, server, outbound)
      : undefined,
    async exchangeCode(received, checks, { test, ...options }) {
      // One deadline for the code exchange, the keys and UserInfo together.
      const deadline = performance.now() + outbound.timeoutSeconds * SECOND
      const sendInTime = exchangeFetch(metadata, outbound, { ...options, ...reports, deadline })
      const send = test ? test.wrapFetch(sendInTime) : sendInTime
      credential ??= clientCredential(provider, credentials, metadata.token_endpoint)
      const exchange = { provider, server, clientMetadata, authenticate: credential, send }
      const keys = test ? newKeySet({ ...outbound, fetch: send }) : keySet
      const verify = (token: string) => keys.verify(token, { use: 'sign-in', algorithms, deadline })
      const redeem = async (used: Exchange): Promise<ExchangedTokens> => {
        const tokens = await exchangeCode(used, received, checks)
        await verify(tokens.idToken)
        return { ...tokens, fetchUserInfo: async () => await fetchUserInfo(used, tokens, verify) }
      }
      try {
        return await redeem(exchange)
      } catch (error) {
        if (!test || !(await refusesClient(error))) throw error
        const methods = await test.otherMethods(provider, credentials, metadata)
        return await firstAccepted(methods, error, async (method) => {
          const settings = { ...provider, ...method }
          const authenticate = clientCredential(settings, credentials, server.token_endpoint)
          return { ...(await redeem({ ...exchange, authenticate })), method }
        })
      }
    },
    verifyLogoutToken: async (token) => await keySet.verify(token, { use: 'logout', algorithms }),
  }
}

/** Pushes requests of a client, which authenticates as at the token endpoint (RFC 9126, 2). */
export function requestPusher(
  settings: ClientSettings,
  credentials: Credentials,
  server: ProviderMetadata,
  outbound: HttpClient,
): NonNullable<ProviderClient['pushRequest']> {
  return async (url, address) => {
    // Without the token endpoint, which must not be the audience of an assertion that is sent elsewhere.
    const authenticate = clientCredential(settings, credentials)
    const send: client.CustomFetch = (to, options) => outbound.fetch(to, { ...options, address })
    return await pushRequest({ provider: settings, server, clientMetadata: {}, authenticate, send }, url)
  }
}

/** RFC 9126, 5: a provider announces a requirement for all clients only, so the row can require it for this one. */
export function pushesRequests(row: Pick<Provider, 'pushedRequests'>, metadata: ProviderMetadata): boolean {
  return row.pushedRequests || metadata.require_pushed_authorization_requests === true
}

function createKeySet(
  { jwks_uri }: ProviderMetadata,
  provider: Provider,
  outbound: HttpClient,
  { onKeys, onMoved }: Succession,
): KeySet {
  return new KeySet(jwks_uri, outbound, {
    resolverFor: (keySet) => keyResolver(provider, keySet),
    onResponse: onKeys,
    async locate() {
      onMoved?.()
      return (await readMetadata(provider, outbound)).jwks_uri
    },
  })
}

/** Discovers the provider of a row. @throws if the document cannot be used, or names another issuer */
export async function readMetadata(provider: Provider, outbound: HttpClient): Promise<ProviderMetadata> {
  const metadata = await discover(provider, outbound)
  // OpenID Connect Discovery 1.0, 4.3: identical, because the `iss` of every token is compared with it.
  assertIssuer(metadata, provider.issuer)
  return metadata
}

/**
 * Entra names the issuer of each key. The token's unverified `iss` selects the keys: an attacker gains nothing by a false one,
 * because the same `iss` is validated after the signature.
 */
function keyResolver(provider: Provider, { keys }: JSONWebKeySet): KeyResolver {
  if (provider.preset !== 'entra') return createLocalJWKSet({ keys })
  const keysByIssuer = new Map<unknown, JWK[]>()
  for (const key of keys) {
    const { issuer } = key as { issuer?: unknown }
    const group = keysByIssuer.get(issuer)
    if (group) group.push(key)
    else keysByIssuer.set(issuer, [key])
  }
  // Attacker: forged logout tokens, for a key set of a megabyte. So each key is read once, not for each token.
  const resolvers = new Map<unknown, KeyResolver>()
  return async (header, token) => {
    const { iss } = JSON.parse(Buffer.from(String(token?.payload), 'base64url').toString()) as {
      iss: unknown
    }
    for (const issuer of keyIssuersFor(provider, iss)) {
      const group = keysByIssuer.get(issuer)
      if (!group) continue
      const resolver = resolvers.get(issuer) ?? createLocalJWKSet({ keys: group })
      resolvers.set(issuer, resolver)
      try {
        return await resolver(header, token)
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      }
    }
    throw new errors.JWKSNoMatchingKey()
  }
}

/**
 * The provider authenticates the client before it looks at the code, so a code is still unused after a refusal.
 *
 * @throws `refusal` if the provider accepts no method
 */
async function firstAccepted(
  methods: readonly ClientMethod[],
  refusal: unknown,
  redeem: (method: ClientMethod) => Promise<ExchangedTokens>,
): Promise<ExchangedTokens> {
  for (const method of methods)
    try {
      return await redeem(method)
    } catch (error) {
      if (!(await refusesClient(error))) throw error
    }
  throw refusal
}

/**
 * True if the provider did not accept the client's credential (RFC 6749, 5.2). Keycloak sends `unauthorized_client` for a wrong
 * secret, Glewlwyd also with 403; only the status distinguishes that from a client that lacks a permission.
 */
async function refusesClient(error: unknown): Promise<boolean> {
  const isRefusal = (code: unknown, status: number) =>
    (code === 'invalid_client' && [400, 401, 403].includes(status)) ||
    (code === 'unauthorized_client' && [401, 403].includes(status))
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
function neededMetadata(
  metadata: ProviderMetadata,
  { signingAlgorithm }: Provider,
  algorithms: readonly SigningAlgorithm[],
): ProviderMetadata {
  const { issuer, authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint } = metadata
  const { pushed_authorization_request_endpoint } = metadata
  const announced = metadata.userinfo_signing_alg_values_supported
  return {
    issuer,
    authorization_endpoint,
    token_endpoint,
    jwks_uri,
    ...(pushed_authorization_request_endpoint !== undefined && { pushed_authorization_request_endpoint }),
    ...(userinfo_endpoint !== undefined && { userinfo_endpoint }),
    authorization_response_iss_parameter_supported:
      metadata.authorization_response_iss_parameter_supported === true,
    // Attacker: a token chooses one of them, so they contain neither `none` nor an HMAC (RFC 8725, 3.1).
    id_token_signing_alg_values_supported: [...algorithms],
    // Signed UserInfo is optional, so no algorithm is assumed for it.
    ...(Array.isArray(announced) && {
      userinfo_signing_alg_values_supported: [...acceptedAlgorithms(signingAlgorithm, announced)],
    }),
  }
}

/** Sends the requests of one exchange, and reports endpoints that are gone and codes that are wrong. */
function exchangeFetch(
  { token_endpoint }: ProviderMetadata,
  outbound: HttpClient,
  options: ExchangeOptions & Succession & { deadline: number },
): client.CustomFetch {
  const { address, deadline, onMoved, onWrongCode } = options
  return async (url, requestOptions) => {
    const response = await outbound.fetch(url, { ...requestOptions, deadline, address })
    const hasMoved = isGone(response)
    if (hasMoved) onMoved?.()
    if (url !== token_endpoint) return response
    if (hasMoved) throw new UnreachableError(`the token endpoint responded with status ${response.status}`)
    if (onWrongCode && isCodeWrong(response)) await onWrongCode()
    return response
  }
}

/** A wrong client secret, a timeout or 5xx affects everybody: the sender of the code is not to blame. */
function isCodeWrong(response: Response): boolean {
  const { error, id_token: idToken } = (readJson(response) ?? {}) as { error?: unknown; id_token?: unknown }
  const isMalformed = typeof error !== 'string' && typeof idToken !== 'string'
  return error === 'invalid_grant' || (isMalformed && [200, 400].includes(response.status))
}
