import * as client from 'openid-client'
import { isIssuerOf, issuerFor, isTemplated, keysForIssuer, ofAnotherTenant } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { CheckError } from '../shared/errors.ts'
import type { ProviderMetadata } from './discovery.ts'

/** Every provider that supports DPoP supports this one. */
export const dpopAlgorithm = 'ES256'

export interface ExchangedTokens {
  /** the configuration that validated the tokens; UserInfo is fetched with it */
  configuration: client.Configuration
  /** proves the possession of the key that the access token is bound to */
  dpop: client.DPoPHandle | undefined
  tokens: Awaited<ReturnType<typeof client.authorizationCodeGrant>>
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
  timeoutSeconds: number
}

/**
 * Exchanges the code of an authorization response. openid-client validates the tokens.
 *
 * @param received the callback's URL with the parameters of the response
 * @throws any error of openid-client; CheckError for a token of a tenant that is not allowed
 */
export async function exchangeCode(
  exchange: Exchange,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<ExchangedTokens> {
  const { provider } = exchange
  const isEntra = provider.preset === 'entra'
  const { issuer, send = exchange.send }: Tenant =
    isEntra && isTemplated(provider)
      ? await findTenant(exchange, received, checks)
      : { issuer: provider.issuer }
  const configuration = configure(exchange, issuer, isEntra ? withKeysOfIssuer(exchange, issuer, send) : send)
  // RFC 9449. The key cannot be exported, and it lives only as long as this exchange.
  const key = provider.dpop ? await client.randomDPoPKeyPair(dpopAlgorithm) : undefined
  const DPoP = key && client.getDPoPHandle(configuration, key)
  const tokens = await client.authorizationCodeGrant(
    configuration,
    received,
    { ...checks },
    {},
    DPoP && { DPoP },
  )
  return { configuration, tokens, dpop: tokens.token_type === 'dpop' ? DPoP : undefined }
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

/**
 * A configuration for one authorization response, so that no cached key outlives it.
 *
 * @param issuer that the tokens must name
 */
function configure(exchange: Connection, issuer: string, send: client.CustomFetch): client.Configuration {
  const { provider, server, clientMetadata, authenticate, timeoutSeconds } = exchange
  const ofIssuer = { ...server, issuer } as client.ServerMetadata
  const configuration = new client.Configuration(ofIssuer, provider.clientId, clientMetadata, authenticate)
  configuration.timeout = timeoutSeconds
  configuration[client.customFetch] = send
  // Without this openid-client does not check the ID token's signature in the code flow.
  client.enableNonRepudiationChecks(configuration)
  // The HTTP client refuses plain http except on the loopback.
  if (issuer.startsWith('http:')) client.allowInsecureRequests(configuration)
  return configuration
}

/** Entra names the issuer of each key: a key of another tenant must not verify this token. */
function withKeysOfIssuer(
  { provider, server }: Exchange,
  issuer: string,
  send: client.CustomFetch,
): client.CustomFetch {
  return async (url, options) => {
    const response = await send(url, options)
    if (url !== server.jwks_uri) return response
    const keySet: unknown = await response
      .clone()
      .json()
      .catch(() => undefined)
    const { keys } = (keySet ?? {}) as { keys?: unknown }
    if (!Array.isArray(keys)) return response
    const allowed = JSON.stringify({ keys: keysForIssuer(provider, issuer, keys) })
    return new Response(allowed, { status: response.status, headers: response.headers })
  }
}

interface Tenant {
  /** that the tokens must name */
  issuer: string
  /** returns the existing token response if the code has already been exchanged */
  send?: client.CustomFetch
}

/**
 * Finds the tenant that an authorization response comes from, for a row that accepts several. Only the tokens name it: a first
 * validation, which always fails, exchanges the code; the unverified `tid` then selects the issuer for the second. A false
 * `tid` gains nothing: signature, issuer and `tid` must agree there.
 */
async function findTenant(
  exchange: Exchange,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<Tenant> {
  const { provider, server, send } = exchange
  // RFC 9207: if the response names its issuer, the tokens must come from that issuer.
  const named = received.searchParams.get('iss')
  if (named !== null && !isIssuerOf(provider, named))
    throw new CheckError('iss', 'the authorization response comes from another issuer (iss)')
  if (named !== null) return { issuer: named }
  let latest: Response | undefined
  const configuration = configure(exchange, server.issuer, async (url, options) => {
    const response = await send(url, options)
    if (url === server.token_endpoint) latest = response.clone()
    return response
  })
  const failure: unknown = await client.authorizationCodeGrant(configuration, received, { ...checks }).then(
    () => new CheckError('iss', 'the ID token does not name the issuer of a tenant (iss)'),
    (error: unknown) => error,
  )
  if (latest?.status !== 200) throw failure
  const tokenResponse = latest
  const tid = await readTid(tokenResponse.clone())
  if (tid === undefined) throw failure
  const issuer = issuerFor(provider, tid)
  if (issuer === undefined) throw ofAnotherTenant(tid)
  // Deadline and prefetched keys stay the same; only the code is not sent again.
  return {
    issuer,
    send: async (url, options) =>
      url === server.token_endpoint ? tokenResponse.clone() : await send(url, options),
  }
}

/** Reads `tid` from an unverified ID token. */
async function readTid(tokenResponse: Response): Promise<unknown> {
  try {
    const { id_token: idToken } = (await tokenResponse.json()) as { id_token?: unknown }
    const [, payload = ''] = String(idToken).split('.')
    return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { tid?: unknown } | null)?.tid
  } catch {
    // The first validation has already reported why it is malformed.
    return undefined
  }
}
