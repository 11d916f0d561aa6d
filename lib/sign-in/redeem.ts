import * as client from 'openid-client'
import type { Provider } from '../providers/provider.ts'
import type { ProviderClient } from '../providers/provider-client.ts'
import { isIssuerOf, issuerFor, isTemplated, ofAnotherTenant } from '../providers/templated-issuer.ts'

type Tokens = Awaited<ReturnType<typeof client.authorizationCodeGrant>>

export interface Redeemed {
  /** the one that judged, for UserInfo */
  configuration: client.Configuration
  tokens: Tokens
}

type Checks = NonNullable<Parameters<typeof client.authorizationCodeGrant>[2]>

/**
 * Redeems the code of an answer and has openid-client judge what comes.
 *
 * @param received the callback's address with the answer's parameters
 * @throws what openid-client throws; Error for a token of a tenant that does not come in
 */
export async function redeem(
  provider: Provider,
  providerClient: ProviderClient,
  received: URL,
  checks: Checks,
): Promise<Redeemed> {
  const judge = async (configuration: client.Configuration): Promise<Redeemed> => ({
    configuration,
    tokens: await client.authorizationCodeGrant(configuration, received, { ...checks }),
  })
  if (!isTemplated(provider)) return await judge(providerClient.configuration())

  // RFC 9207: where the answer itself says whose it is, tokens of nobody else will do.
  const named = received.searchParams.get('iss')
  if (named !== null) {
    if (!isIssuerOf(provider, named)) throw new Error('the answer comes from another issuer (iss)')
    return await judge(providerClient.configuration(named))
  }
  return await judge(await configurationOfTenant(provider, providerClient, received, checks))
}

/**
 * Whose tokens they are, only the tokens say. The code is redeemed once, by a first judge whose verdict never counts: he demands
 * the row's own issuer, which no token names. The `tid` in the token then chooses which issuer a second judge demands, of the
 * same answer. It is unverified at that moment and gains its sender nothing: signature, issuer and `tid` have to agree later.
 */
async function configurationOfTenant(
  provider: Provider,
  providerClient: ProviderClient,
  received: URL,
  checks: Checks,
): Promise<client.Configuration> {
  const tokenEndpoint = new URL(providerClient.metadata.token_endpoint).href
  const first = providerClient.configuration()
  const send = first[client.customFetch] as client.CustomFetch
  let answer: Response | undefined
  first[client.customFetch] = async (url, options) => {
    const response = await send(url, options)
    if (url === tokenEndpoint) answer = response.clone()
    return response
  }
  const failure = await client.authorizationCodeGrant(first, received, { ...checks }).then(
    () => new Error('the token names an issuer that nobody has'),
    (error: unknown) => error,
  )
  if (answer?.status !== 200) throw failure
  const kept = answer
  const tenant = await tenantOf(kept.clone())
  if (tenant === undefined) throw failure
  const issuer = issuerFor(provider, tenant)
  if (issuer === undefined) throw ofAnotherTenant(tenant)

  const second = providerClient.configuration(issuer)
  // The same deadline and keys go on; only the code is not redeemed again.
  second[client.customFetch] = async (url, options) =>
    url === tokenEndpoint ? kept.clone() : await send(url, options)
  return second
}

/** As it stands in a token that nobody has verified yet. */
async function tenantOf(answer: Response): Promise<unknown> {
  try {
    const { id_token: idToken } = (await answer.json()) as { id_token?: unknown }
    const [, payload = ''] = String(idToken).split('.')
    return (JSON.parse(Buffer.from(payload, 'base64url').toString()) as { tid?: unknown } | null)?.tid
  } catch {
    // The first judge has said what is wrong with it.
    return undefined
  }
}
