import * as client from 'openid-client'
import { isIssuerOf, issuerFor, isTemplated, keysForIssuer, ofAnotherTenant } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProviderMetadata } from './discovery.ts'

export interface ExchangedTokens {
  /** the one that judged, for UserInfo */
  configuration: client.Configuration
  tokens: Awaited<ReturnType<typeof client.authorizationCodeGrant>>
}

/** Who judges an answer. */
export interface ConfigurationFactory {
  metadata: ProviderMetadata
  /** @param issuer that the tokens have to name; default the row's */
  configuration(issuer?: string): client.Configuration
}

/**
 * Redeems the code of an answer and has openid-client judge what comes.
 *
 * @param received the callback's address with the answer's parameters
 * @throws what openid-client throws; Error for a token of a tenant that does not come in
 */
export async function exchangeCode(
  provider: Provider,
  judges: ConfigurationFactory,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<ExchangedTokens> {
  const { issuer, send }: Tenant = isTemplated(provider)
    ? await tenantOf(provider, judges, received, checks)
    : { issuer: provider.issuer }
  const configuration = judges.configuration(issuer)
  if (provider.preset === 'entra')
    restrictKeysToIssuer(configuration, provider, judges.metadata, issuer, send)
  return {
    configuration,
    tokens: await client.authorizationCodeGrant(configuration, received, { ...checks }),
  }
}

/** Keys count only for the issuer that they say they are for. @param send asks in place of the configuration's own */
function restrictKeysToIssuer(
  configuration: client.Configuration,
  provider: Provider,
  { jwks_uri }: ProviderMetadata,
  issuer: string,
  send?: client.CustomFetch,
): void {
  const ask = send ?? (configuration[client.customFetch] as client.CustomFetch)
  const keysUrl = new URL(jwks_uri).href
  configuration[client.customFetch] = async (url, options) => {
    const response = await ask(url, options)
    return url === keysUrl ? await withoutForeignKeys(provider, issuer, response) : response
  }
}

interface Tenant {
  /** that the answer's tokens have to name */
  issuer: string
  /** asks on, where the code has been redeemed already */
  send?: client.CustomFetch
}

/** Whose answer it is, of a row for many tenants. */
async function tenantOf(
  provider: Provider,
  judges: ConfigurationFactory,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<Tenant> {
  // RFC 9207: where the answer itself says whose it is, tokens of nobody else will do.
  const named = received.searchParams.get('iss')
  if (named !== null && !isIssuerOf(provider, named))
    throw new Error('the answer comes from another issuer (iss)')
  return named === null ? await peekTenant(provider, judges, received, checks) : { issuer: named }
}

/**
 * Whose tokens they are, only the tokens say. The code is redeemed once, by a first judge whose verdict never counts: he demands
 * the row's own issuer, which no token names. The `tid` in the token then chooses which issuer the second judge demands, of the
 * same answer. It is unverified at that moment and gains its sender nothing: signature, issuer and `tid` have to agree later.
 */
async function peekTenant(
  provider: Provider,
  judges: ConfigurationFactory,
  received: URL,
  checks: client.AuthorizationCodeGrantChecks,
): Promise<Tenant> {
  const tokenUrl = new URL(judges.metadata.token_endpoint).href
  const configuration = judges.configuration()
  const ask = configuration[client.customFetch] as client.CustomFetch
  let answer: Response | undefined
  configuration[client.customFetch] = async (url, options) => {
    const response = await ask(url, options)
    if (url === tokenUrl) answer = response.clone()
    return response
  }
  const failure: unknown = await client.authorizationCodeGrant(configuration, received, { ...checks }).then(
    () => new Error('the ID token names an issuer that nobody has (iss)'),
    (error: unknown) => error,
  )
  if (answer?.status !== 200) throw failure
  const kept = answer
  const tenant = await tenantIn(kept.clone())
  if (tenant === undefined) throw failure
  const issuer = issuerFor(provider, tenant)
  if (issuer === undefined) throw ofAnotherTenant(tenant)
  // The same deadline and keys go on; only the code is not redeemed again.
  return {
    issuer,
    send: async (url, options) => (url === tokenUrl ? kept.clone() : await ask(url, options)),
  }
}

/** As it stands in a token that nobody has verified yet. */
async function tenantIn(answer: Response): Promise<unknown> {
  try {
    const { id_token: idToken } = (await answer.json()) as { id_token?: unknown }
    const [, payload = ''] = String(idToken).split('.')
    return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { tid?: unknown } | null)?.tid
  } catch {
    // The first judge has said what is wrong with it.
    return undefined
  }
}

async function withoutForeignKeys(provider: Provider, issuer: string, response: Response): Promise<Response> {
  const set = (await response
    .clone()
    .json()
    .catch(() => undefined)) as { keys?: unknown } | undefined
  if (!Array.isArray(set?.keys)) return response
  const keys = keysForIssuer(provider, issuer, set.keys)
  return new Response(JSON.stringify({ keys }), { status: response.status, headers: response.headers })
}
