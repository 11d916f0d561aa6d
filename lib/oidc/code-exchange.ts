import * as client from 'openid-client'
import { isIssuerOf, issuerFor, isTemplated, keysForIssuer, ofAnotherTenant } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import { CheckError } from '../shared/errors.ts'
import type { ProviderMetadata } from './discovery.ts'

export interface ExchangedTokens {
  /** the configuration that validated the tokens; UserInfo is fetched with it */
  configuration: client.Configuration
  tokens: Awaited<ReturnType<typeof client.authorizationCodeGrant>>
}

export interface ConfigurationFactory {
  metadata: ProviderMetadata
  /** @param issuer that the tokens must name; default the row's */
  configuration(issuer?: string): client.Configuration
}

/**
 * Exchanges the code of an authorization response. openid-client validates the tokens.
 *
 * @param received the callback's URL with the parameters of the response
 * @throws any error of openid-client; Error for a token of a tenant that is not allowed
 */
export async function exchangeCode(
  provider: Provider,
  factory: ConfigurationFactory,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<ExchangedTokens> {
  const { issuer, send }: Tenant = isTemplated(provider)
    ? await findTenant(provider, factory, received, checks)
    : { issuer: provider.issuer }
  const configuration = factory.configuration(issuer)
  if (send) configuration[client.customFetch] = send
  if (provider.preset === 'entra')
    restrictKeysToIssuer(configuration, provider, factory.metadata.jwks_uri, issuer)
  return {
    configuration,
    tokens: await client.authorizationCodeGrant(configuration, received, { ...checks }),
  }
}

/** Entra names the issuer of each key: a key of another tenant must not verify this token. */
function restrictKeysToIssuer(
  configuration: client.Configuration,
  provider: Provider,
  jwksUri: string,
  issuer: string,
): void {
  const send = configuration[client.customFetch] as client.CustomFetch
  const keysUrl = new URL(jwksUri).href
  configuration[client.customFetch] = async (url, options) => {
    const response = await send(url, options)
    return url === keysUrl ? await keepKeysOfIssuer(provider, issuer, response) : response
  }
}

interface Tenant {
  /** that the tokens must name */
  issuer: string
  /** returns the existing token response if the code has already been exchanged */
  send?: client.CustomFetch
}

/** Finds the tenant that an authorization response comes from, for a row that accepts several. */
async function findTenant(
  provider: Provider,
  factory: ConfigurationFactory,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<Tenant> {
  // RFC 9207: if the response names its issuer, the tokens must come from that issuer.
  const named = received.searchParams.get('iss')
  if (named !== null && !isIssuerOf(provider, named))
    throw new CheckError('iss', 'the authorization response comes from another issuer (iss)')
  return named === null ? await peekTenant(provider, factory, received, checks) : { issuer: named }
}

/**
 * Only the tokens name the tenant. A first validation, which always fails, exchanges the code; the unverified `tid` then selects
 * the issuer for the second. A false `tid` gains nothing: signature, issuer and `tid` must agree there.
 */
async function peekTenant(
  provider: Provider,
  factory: ConfigurationFactory,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<Tenant> {
  const tokenUrl = new URL(factory.metadata.token_endpoint).href
  const configuration = factory.configuration()
  const send = configuration[client.customFetch] as client.CustomFetch
  let latest: Response | undefined
  configuration[client.customFetch] = async (url, options) => {
    const response = await send(url, options)
    if (url === tokenUrl) latest = response.clone()
    return response
  }
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
    send: async (url, options) => (url === tokenUrl ? tokenResponse.clone() : await send(url, options)),
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

async function keepKeysOfIssuer(provider: Provider, issuer: string, response: Response): Promise<Response> {
  const keySet = (await response
    .clone()
    .json()
    .catch(() => undefined)) as { keys?: unknown } | undefined
  if (!Array.isArray(keySet?.keys)) return response
  const keys = keysForIssuer(provider, issuer, keySet.keys)
  return new Response(JSON.stringify({ keys }), { status: response.status, headers: response.headers })
}
