import { keysWithState } from '../providers/client-key.ts'
import {
  assertionAudiences,
  type ClientAuthentication,
  secretEncodings,
} from '../providers/setting-values.ts'
import type { ProviderMetadata } from './discovery.ts'
import {
  basicCredentials,
  type ClientMethod,
  type ClientSettings,
  type Credentials,
  hasSameOrigin,
} from './provider-client.ts'

/** OpenID Connect Discovery 1.0, 3: the default is `client_secret_basic`. */
export function announcedMethods({
  token_endpoint_auth_methods_supported: announced,
}: ProviderMetadata): readonly string[] {
  return Array.isArray(announced) ? announced : ['client_secret_basic']
}

/**
 * The other methods that the client may be registered for: those that its provider announces and the credentials allow. A client with
 * keys never sends a secret instead, and a public client has nothing to send.
 */
export async function otherMethods(
  client: ClientSettings,
  credentials: Credentials,
  metadata: ProviderMetadata,
): Promise<ClientMethod[]> {
  const { clientAuthentication, secretEncoding, assertionAudience, kid } = client
  const current: ClientMethod = { clientAuthentication, secretEncoding, assertionAudience, kid }
  const ways =
    clientAuthentication === 'private_key_jwt'
      ? await waysWithKeys(current, credentials, metadata)
      : waysWithSecret(client, current, credentials, metadata)
  const isCurrent = (way: ClientMethod) => JSON.stringify(way) === JSON.stringify(current)
  // The same method in another form is likelier, so it comes first.
  const isSame = (way: ClientMethod) => way.clientAuthentication === clientAuthentication
  const others = ways.filter((way) => !isCurrent(way))
  return [...others.filter(isSame), ...others.filter((way) => !isSame(way))]
}

async function waysWithKeys(
  current: ClientMethod,
  { clientKeys }: Credentials,
  metadata: ProviderMetadata,
): Promise<ClientMethod[]> {
  const keys = keysWithState((await clientKeys?.()) ?? [], Date.now())
  const spares = keys.filter(({ state }) => state === 'spare')
  const ids = [undefined, ...spares.map(({ key }) => key.kid)]
  return ids.flatMap((kid) => withAudiences({ ...current, kid }, metadata))
}

function waysWithSecret(
  { clientId }: ClientSettings,
  current: ClientMethod,
  { clientSecret }: Credentials,
  metadata: ProviderMetadata,
): ClientMethod[] {
  if (clientSecret === undefined || current.clientAuthentication === 'none') return []
  const announced = announcedMethods(metadata)
  const isTried = (method: ClientAuthentication) =>
    method === current.clientAuthentication || announced.includes(method)
  const using = (clientAuthentication: ClientAuthentication): ClientMethod => ({
    ...current,
    clientAuthentication,
  })
  // The two encodings differ only for special characters.
  const isEncoded =
    new Set(secretEncodings.map((each) => basicCredentials(clientId, clientSecret, each))).size > 1
  const encodings = isEncoded ? secretEncodings : [current.secretEncoding]
  const ways: Partial<Record<ClientAuthentication, ClientMethod[]>> = {
    client_secret_basic: encodings.map((secretEncoding) => ({
      ...using('client_secret_basic'),
      secretEncoding,
    })),
    client_secret_post: [using('client_secret_post')],
    client_secret_jwt: signsWithHs256(metadata) ? withAudiences(using('client_secret_jwt'), metadata) : [],
    none: [using('none')],
  }
  return Object.entries(ways).flatMap(([method, list]) =>
    isTried(method as ClientAuthentication) ? list : [],
  )
}

/** The only algorithm that openid-client has for `client_secret_jwt`. */
function signsWithHs256({
  token_endpoint_auth_signing_alg_values_supported: announced,
}: ProviderMetadata): boolean {
  return !Array.isArray(announced) || announced.includes('HS256')
}

/** The URL of the token endpoint is an audience only on the issuer's own origin. */
function withAudiences(way: ClientMethod, { issuer, token_endpoint }: ProviderMetadata): ClientMethod[] {
  const audiences = hasSameOrigin(issuer, token_endpoint) ? assertionAudiences : ['issuer' as const]
  return audiences.map((assertionAudience) => ({ ...way, assertionAudience }))
}
