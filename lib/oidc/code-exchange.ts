import * as client from 'openid-client'
import { isIssuerOf, issuerFor, isTemplated, otherTenantError } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { CheckError } from '../shared/errors.ts'
import type { ProviderMetadata } from './discovery.ts'
import { createResponse, readJson } from './http-client.ts'
import { type Claims, isObject, withoutEmpty } from './identity.ts'

/** Every provider that supports DPoP supports this one. */
export const dpopAlgorithm = 'ES256'

/** The tokens of a code. openid-client has validated the claims of the ID token, but the caller still verifies its signature. */
export interface ReceivedTokens {
  issuer: string
  accessToken: string
  idToken: string
  /** without null and empty ones */
  idClaims: Claims
  /** the key that the access token is bound to (RFC 9449) */
  dpopKey: client.CryptoKeyPair | undefined
}

/** One exchange of a code: the provider, and how this exchange authenticates and sends its requests. */
export interface Exchange extends Connection {
  provider: Provider
}

interface Connection {
  provider: Pick<Provider, 'clientId'>
  server: ProviderMetadata
  clientMetadata: Partial<client.ClientMetadata>
  authenticate: client.ClientAuth
  send: client.CustomFetch
}

/**
 * Exchanges the code of an authorization response. openid-client validates all claims; the caller verifies the signature.
 *
 * @param received the callback's URL with the parameters of the response
 * @throws any error of openid-client; CheckError for a token of a tenant that is not allowed
 */
export async function exchangeCode(
  exchange: Exchange,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<ReceivedTokens> {
  const { provider } = exchange
  let latest: TokenResponse | undefined
  let send: client.CustomFetch = async (url, options) => {
    latest = readTokenResponse(await exchange.send(url, options))
    return latest.toResponse()
  }
  // RFC 9449. The key cannot be exported, and it lives only as long as this exchange.
  const dpopKey = provider.dpop ? await client.randomDPoPKeyPair(dpopAlgorithm) : undefined
  const redeem = async (from: string) => {
    const configuration = configure(exchange, from, send)
    const DPoP = dpopKey && client.getDPoPHandle(configuration, dpopKey)
    return await client.authorizationCodeGrant(configuration, received, { ...checks }, {}, DPoP && { DPoP })
  }
  let { issuer } = provider
  if (provider.preset === 'entra' && isTemplated(provider)) {
    issuer = await findTenant(exchange, received, async () => {
      const failure: unknown = await redeem(exchange.server.issuer).then(
        () => new CheckError('iss', 'the ID token does not name the issuer of a tenant (iss)'),
        (error: unknown) => error,
      )
      if (latest?.idClaims?.tid === undefined) throw failure
      const { toResponse, idClaims } = latest
      // The code is not sent again.
      send = async () => toResponse()
      return idClaims.tid
    })
  }
  const { access_token: accessToken, token_type } = await redeem(issuer)
  if (latest?.idToken === undefined || latest.idClaims === undefined)
    throw new CheckError('id_token', 'the ID token cannot be read')
  const { idToken, idClaims } = latest
  return { issuer, accessToken, idToken, idClaims, dpopKey: token_type === 'dpop' ? dpopKey : undefined }
}

/**
 * Sends the parameters of an authorization request to the provider (RFC 9126). The browser then carries only a reference to them.
 *
 * @param url of the authorization request
 * @returns the URL to redirect the browser to
 * @throws any error of openid-client
 */
export async function pushRequest(exchange: Connection, url: string): Promise<string> {
  const { server, send } = exchange
  const parameters = new URL(url).searchParams
  // openid-client adds the endpoint's own parameters again.
  for (const name of new URL(server.authorization_endpoint).searchParams.keys()) parameters.delete(name)
  const configuration = configure(exchange, server.issuer, send)
  return (await client.buildAuthorizationUrlWithPAR(configuration, parameters)).href
}

/** A configuration for one request. @param issuer that the tokens must name */
function configure(exchange: Connection, issuer: string, send: client.CustomFetch): client.Configuration {
  const { provider, server, clientMetadata, authenticate } = exchange
  const ofIssuer = { ...server, issuer } as client.ServerMetadata
  const configuration = new client.Configuration(ofIssuer, provider.clientId, clientMetadata, authenticate)
  // The HTTP client limits the time. A signal of openid-client would stay in memory until it expires.
  configuration.timeout = 0
  configuration[client.customFetch] = send
  // The HTTP client refuses plain http except on the loopback.
  if (issuer.startsWith('http:')) client.allowInsecureRequests(configuration)
  return configuration
}

interface TokenResponse {
  /** as openid-client validates it */
  toResponse(): Response
  /** as the provider signed it */
  idToken?: string
  /** without null and empty ones */
  idClaims?: Claims
}

/**
 * Passes on only what openid-client has to check: it would refuse a user for the type of a member that nobody uses, such as
 * `expires_in` or `auth_time`. An attacker gains nothing, because the signature of the original token is verified.
 */
function readTokenResponse(response: Response): TokenResponse {
  const { access_token, token_type, id_token: idToken } = (readJson(response) ?? {}) as Claims
  const unread = { toResponse: () => response }
  if (response.status !== 200 || typeof idToken !== 'string') return unread
  const [header, payload, signature, ...more] = idToken.split('.')
  try {
    const claims: unknown = JSON.parse(Buffer.from(String(payload), 'base64url').toString())
    if (more.length > 0 || signature === undefined || !isObject(claims)) return unread
    const idClaims = withoutEmpty(claims)
    const { iss, sub, aud, azp, exp, iat, nbf, nonce } = idClaims
    const checked = Buffer.from(JSON.stringify({ iss, sub, aud, azp, exp, iat, nbf, nonce }))
    const id_token = `${header}.${checked.toString('base64url')}.${signature}`
    const bytes = Buffer.from(JSON.stringify({ access_token, token_type, id_token }))
    const init = { headers: { 'content-type': 'application/json' } }
    return { toResponse: () => createResponse(bytes, init), idToken, idClaims }
  } catch {
    // openid-client reports what is wrong with it.
    return unread
  }
}

/**
 * Finds the issuer of an authorization response, for a row that accepts several tenants. Only the tokens name the tenant: a first
 * validation, which always fails, exchanges the code; the unverified `tid` then selects the issuer for the second. A false `tid`
 * gains nothing: signature, issuer and `tid` must agree there.
 *
 * @param readTenant exchanges the code, and returns the unverified `tid`
 */
async function findTenant(
  { provider }: Exchange,
  received: URL,
  readTenant: () => Promise<unknown>,
): Promise<string> {
  // RFC 9207: if the response names its issuer, the tokens must come from that issuer.
  const named = received.searchParams.get('iss')
  if (named !== null && !isIssuerOf(provider, named))
    throw new CheckError('iss', 'the authorization response comes from another issuer (iss)')
  if (named !== null) return named
  const tid = await readTenant()
  const issuer = issuerFor(provider, tid)
  if (issuer === undefined) throw otherTenantError(tid)
  return issuer
}

/** The claims of UserInfo, or why there are none. */
export type UserInfo = { claims: Claims; failure?: undefined } | { claims?: undefined; failure?: unknown }

/**
 * Fetches UserInfo (Core 5.3). If the request fails, the sign-in continues without its claims.
 *
 * @param verify verifies the signature of a signed response
 * @throws for claims of another subject (Core 5.3.2), and for a signed response that is not valid
 */
export async function fetchUserInfo(
  exchange: Exchange,
  { issuer, accessToken, idClaims, dpopKey }: ReceivedTokens,
  verify: (token: string) => Promise<unknown>,
): Promise<UserInfo> {
  if (exchange.server.userinfo_endpoint === undefined) return {}
  // RFC 6749, A.12. The error for an invalid header would quote the token, and so would the log.
  if (!/^[\u0020-\u007e]+$/.test(accessToken))
    return { failure: new CheckError('access_token', 'the access token is not in ASCII') }
  let status: number | undefined
  let isReceived = false
  let signed: string | undefined
  const configuration = configure(exchange, issuer, async (url, options) => {
    const response = await exchange.send(url, options)
    status = response.status
    const isSigned = response.headers.get('content-type')?.split(';')[0] === 'application/jwt'
    if (isSigned) signed = await response.clone().text()
    isReceived = status === 200 && (isSigned || isObject(readJson(response)))
    return response
  })
  try {
    const DPoP = dpopKey && client.getDPoPHandle(configuration, dpopKey)
    const subject = String(idClaims.sub)
    const claims = await client.fetchUserInfo(configuration, accessToken, subject, DPoP && { DPoP })
    if (signed !== undefined) await verify(signed)
    return { claims: withoutEmpty(claims) }
  } catch (cause) {
    if (isReceived) throw cause
    if (status === undefined) return { failure: cause }
    return { failure: new CheckError('userinfo', `UserInfo responded with status ${status}`, { cause }) }
  }
}
