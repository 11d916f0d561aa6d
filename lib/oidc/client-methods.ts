import * as client from 'openid-client'
import { type ClientAuth, ClientSecretJwt, ClientSecretPost, None, PrivateKeyJwt } from 'openid-client'
import { type ClientKey, keysWithState, signingKeyOf } from '../providers/client-key.ts'
import type { Provider } from '../providers/provider.ts'
import {
  assertionAudiences,
  type ClientAuthentication,
  type SecretEncoding,
  secretEncodings,
} from '../providers/setting-values.ts'
import { CheckError } from '../shared/errors.ts'
import type { ProviderMetadata } from './discovery.ts'
import { formEncoded } from './provider-error.ts'

/** The portal's own credentials at one provider. */
export interface Credentials {
  clientSecret?: string | undefined
  /** reads the keys that sign client assertions */
  clientKeys?: (() => Promise<readonly ClientKey[]>) | undefined
}

/** How a client authenticates. Many providers register a client for one method, and refuse the others. */
export type ClientMethod = Pick<Provider, 'clientAuthentication' | 'secretEncoding' | 'assertionAudience'> & {
  /** id of the key that signs; omitted: the current one */
  kid?: string | undefined
}

export type ClientSettings = ClientMethod & Pick<Provider, 'clientId'>

/**
 * @param tokenEndpoint if the request goes there: the only endpoint whose URL may be the audience of an assertion
 * @throws Error when the credential is missing that the authentication method needs
 */
export function clientCredential(
  client: ClientSettings,
  credentials: Credentials,
  tokenEndpoint?: string,
): ClientAuth {
  const { clientId, clientAuthentication: method, secretEncoding, kid } = client
  const { clientSecret, clientKeys } = credentials
  if (method === 'none') return None()
  const assertion = client.assertionAudience === 'token_endpoint' ? assertionFor(tokenEndpoint) : undefined
  if (method === 'private_key_jwt') {
    if (!clientKeys) throw new CheckError('signing_key', 'the provider has no key to sign with')
    // Reads the key for each assertion, so that all instances start to sign with a new key at the same time.
    return async (...request) =>
      await PrivateKeyJwt(await signingKeyOf(await clientKeys(), Date.now(), kid), assertion)(...request)
  }
  if (clientSecret === undefined) throw new CheckError('client_secret', 'the provider has no client secret')
  if (method === 'client_secret_post') return ClientSecretPost(clientSecret)
  if (method === 'client_secret_jwt') return ClientSecretJwt(clientSecret, assertion)
  const basic = basicCredentials(clientId, clientSecret, secretEncoding)
  return (_server, _client, _body, headers) => headers.set('authorization', `Basic ${basic}`)
}

/**
 * The issuer is the safe audience: an attacker's provider could name the token endpoint of another one, and use the assertion there.
 * Some providers require the token endpoint; on the issuer's own origin, nobody else receives it.
 */
function assertionFor(tokenEndpoint: string | undefined): client.ModifyAssertionOptions {
  return {
    [client.modifyAssertion](_header, claims) {
      if (tokenEndpoint && hasSameOrigin(tokenEndpoint, String(claims.aud))) claims.aud = tokenEndpoint
    },
  }
}

export function hasSameOrigin(one: string, other: string): boolean {
  return URL.canParse(one) && URL.canParse(other) && new URL(one).origin === new URL(other).origin
}

/** Every form in which the client secret is sent. */
export function secretForms(clientId: string, { clientSecret }: Credentials): string[] {
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

async function waysWithKeys(current: ClientMethod, { clientKeys }: Credentials, metadata: ProviderMetadata) {
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
  const using = (clientAuthentication: ClientAuthentication): ClientMethod => {
    return { ...current, clientAuthentication }
  }
  // The two encodings differ only for special characters.
  const isEncoded =
    new Set(secretEncodings.map((each) => basicCredentials(clientId, clientSecret, each))).size > 1
  const encodings = isEncoded ? secretEncodings : [current.secretEncoding]
  const algorithms = metadata.token_endpoint_auth_signing_alg_values_supported
  // The only algorithm that openid-client has for `client_secret_jwt`.
  const signsWithHs256 = !Array.isArray(algorithms) || algorithms.includes('HS256')
  return [
    ...encodings.map((secretEncoding) => ({ ...using('client_secret_basic'), secretEncoding })),
    using('client_secret_post'),
    ...(signsWithHs256 ? withAudiences(using('client_secret_jwt'), metadata) : []),
    using('none'),
  ].filter(
    ({ clientAuthentication: method }) =>
      method === current.clientAuthentication || announced.includes(method),
  )
}

/** The URL of the token endpoint is an audience only on the issuer's own origin. */
function withAudiences(way: ClientMethod, { issuer, token_endpoint }: ProviderMetadata): ClientMethod[] {
  const audiences = hasSameOrigin(issuer, token_endpoint) ? assertionAudiences : ['issuer' as const]
  return audiences.map((assertionAudience) => ({ ...way, assertionAudience }))
}
