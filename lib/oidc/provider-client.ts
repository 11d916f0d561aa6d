import { type CompactVerifyGetKey, createLocalJWKSet, type JSONWebKeySet } from 'jose'
import * as client from 'openid-client'
import { type ClientAuth, ClientSecretPost, None, type PrivateKey, PrivateKeyJwt } from 'openid-client'
import { keysForIssuer } from '../providers/issuer.ts'
import {
  type ClientAuthentication,
  type Provider,
  type SecretEncoding,
  signingAlgorithms,
} from '../providers/provider.ts'
import { type ExchangedTokens, exchangeCode } from './code-exchange.ts'
import { discover, type ProviderMetadata } from './discovery.ts'
import type { HttpClient } from './http-client.ts'

/** What proves us to a provider. */
export interface Credentials {
  clientSecret?: string | undefined
  secondClientSecret?: string | undefined
  /** the key that signs at the moment */
  signingKey?: (() => Promise<SigningKey>) | undefined
}

export type SigningKey = PrivateKey

/** One way to prove who we are. */
export interface ClientCredential {
  authenticate: ClientAuth
  /** with which of two client secrets; `first` where there is no secret at all */
  secret: 'first' | 'second'
  /** of `client_secret_basic`; the row's where it makes no difference */
  encoding: SecretEncoding
}

export type Authenticating = Pick<Provider, 'clientId' | 'clientAuthentication' | 'secretEncoding'>

/** All ways that the row allows: one for each client secret. @throws Error when it lacks what its method needs */
export function credentialsOf(provider: Authenticating, credentials: Credentials): ClientCredential[] {
  const { clientAuthentication: method, secretEncoding } = provider
  const { clientSecret, secondClientSecret, signingKey } = credentials
  if (method === 'none') return [{ authenticate: None(), secret: 'first', encoding: secretEncoding }]
  if (method === 'private_key_jwt') {
    if (!signingKey) throw new Error('the provider has no key to sign with')
    return [{ authenticate: clientAssertion(signingKey), secret: 'first', encoding: secretEncoding }]
  }
  const secrets = [
    { secret: 'first', text: clientSecret },
    { secret: 'second', text: secondClientSecret },
  ] as const
  const emailVerifications = secrets.flatMap(({ secret, text }) =>
    text === undefined
      ? []
      : [{ secret, encoding: secretEncoding, authenticate: withSecret(method, text, secretEncoding) }],
  )
  if (emailVerifications.length === 0) throw new Error('the provider has no client secret')
  return emailVerifications
}

/** The same secrets as the row does not spell them, where that is another thing. */
export function alternateEncodings(provider: Authenticating, credentials: Credentials): ClientCredential[] {
  const { clientId, clientAuthentication, secretEncoding } = provider
  if (clientAuthentication !== 'client_secret_basic') return []
  const differing = (secret: string | undefined) =>
    secret === undefined || isSpelledTheSame(clientId, secret) ? undefined : secret
  const left = {
    clientSecret: differing(credentials.clientSecret),
    secondClientSecret: differing(credentials.secondClientSecret),
  }
  if (left.clientSecret === undefined && left.secondClientSecret === undefined) return []
  return credentialsOf({ ...provider, secretEncoding: secretEncoding === 'raw' ? 'form' : 'raw' }, left)
}

export function withSecret(
  method: Exclude<ClientAuthentication, 'none' | 'private_key_jwt'>,
  clientSecret: string,
  encoding: SecretEncoding,
): ClientAuth {
  if (method === 'client_secret_post') return ClientSecretPost(clientSecret)
  return (_server, { client_id }, _body, headers) => {
    headers.set('authorization', `Basic ${basicCredentials(client_id, clientSecret, encoding)}`)
  }
}

/** The key is looked up for each assertion, so that every instance signs with a new one from the same moment on. */
function clientAssertion(signingKey: () => Promise<SigningKey>): ClientAuth {
  return async (...given) => {
    await PrivateKeyJwt(await signingKey())(...given)
  }
}

/** The spellings in which client secrets travel: not for a log, whoever quotes them. */
export function secretForms(clientId: string, { clientSecret, secondClientSecret }: Credentials): string[] {
  return [clientSecret, secondClientSecret].flatMap((secret) =>
    secret === undefined
      ? []
      : [secret, basicCredentials(clientId, secret, 'form'), basicCredentials(clientId, secret, 'raw')],
  )
}

/** Whether both spellings of `client_secret_basic` are one, as they are for letters and digits. */
export function isSpelledTheSame(clientId: string, clientSecret: string): boolean {
  return basicCredentials(clientId, clientSecret, 'form') === basicCredentials(clientId, clientSecret, 'raw')
}

/**
 * RFC 6749, 2.3.1. openid-client's own also escapes `-`, `.` and `_`, which the form encoding leaves alone, and servers
 * that do not decode then refuse every id that is a UUID. Some take nothing but the bare text (`raw`).
 */
function basicCredentials(clientId: string, clientSecret: string, encoding: SecretEncoding): string {
  const spelled = encoding === 'raw' ? (text: string) => text : formEncoded
  return Buffer.from(`${spelled(clientId)}:${spelled(clientSecret)}`).toString('base64')
}

/** As a form spells it (RFC 6749, appendix B). */
export function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}

/** What it takes to talk to one provider, as its row stood at one version. */
export interface ProviderClient {
  readonly metadata: ProviderMetadata
  /** what proves us to the provider, in the forms in which it is sent: not for a log, whoever quotes it */
  readonly secrets: readonly string[]
  /**
   * A light one for each answer, so that no key outlives the answer that it was fetched for.
   *
   * @param issuer that the answer's tokens have to name; default the row's
   */
  configuration(issuer?: string): client.Configuration
  /**
   * Redeems the code of an answer and has openid-client check what comes of it. Of two live client secrets the other one is
   * tried where the provider takes the first for wrong.
   *
   * @param watch sees what is asked on the way, UserInfo too; for whoever watches, both spellings of the secrets are tried
   */
  exchangeCode(
    received: URL,
    checks: client.AuthorizationCodeGrantChecks,
    wrapFetch?: FetchWrapper,
  ): Promise<ExchangedTokens & { encoding: SecretEncoding }>
  /** Its keys of this moment, for a token that it sends by itself. @throws when the key set cannot be had */
  keys(): Promise<KeyResolver>
}

export type FetchWrapper = (ask: client.CustomFetch) => client.CustomFetch

/** Finds the key that a token's header names, or the only one that fits. */
export type KeyResolver = CompactVerifyGetKey

/** seconds that one clock may be ahead of or behind the other */
export const clockTolerance = 30

export interface ProviderClientOptions {
  /** Hears which of two client secrets the provider took, whenever it is another one than before. */
  secretTaken?: ((secret: ClientCredential['secret']) => void) | undefined
}

/** @throws when discovery fails or the issuer is not the one in the row; nothing broken is kept */
export async function createProviderClient(
  provider: Provider,
  credentials: Credentials,
  outbound: HttpClient,
  { secretTaken = () => {} }: ProviderClientOptions = {},
): Promise<ProviderClient> {
  const emailVerifications = credentialsOf(provider, credentials)
  const metadata = await discover(provider, outbound)
  // To the letter (OpenID Connect Discovery 1.0, 4.3): it is what the `iss` of every token is compared with.
  if (metadata.issuer !== provider.issuer)
    throw new Error(`the discovery document names another issuer: ${JSON.stringify(metadata.issuer)}`)
  const server = judgedBy(metadata)
  const fetchKeys = shared(() => outbound.fetch(metadata.jwks_uri, keyRequest))
  let inUse = provider.secretInUse

  /** The one that the provider took last comes first. */
  function inOrder(): ClientCredential[] {
    return [...emailVerifications].sort(
      (one, other) => Number(other.secret === inUse) - Number(one.secret === inUse),
    )
  }

  function configurationWith(
    { authenticate }: ClientCredential,
    issuer = metadata.issuer,
    fetch = fetchWithKeysAhead(metadata, fetchKeys, outbound),
  ): client.Configuration {
    const configuration = new client.Configuration(
      { ...server, issuer },
      provider.clientId,
      { id_token_signed_response_alg: provider.signingAlgorithm, [client.clockTolerance]: clockTolerance },
      authenticate,
    )
    configuration.timeout = outbound.timeLimit
    configuration[client.customFetch] = fetch
    // Without this openid-client leaves the ID token's signature unchecked in the code flow.
    client.enableNonRepudiationChecks(configuration)
    // Only the loopback: the way out refuses plain http anywhere else.
    if (metadata.issuer.startsWith('http:')) client.allowInsecureRequests(configuration)
    return configuration
  }

  function taken(secret: ClientCredential['secret']): void {
    if (secret === inUse) return
    inUse = secret
    secretTaken(secret)
  }

  return {
    metadata,
    secrets: secretForms(provider.clientId, credentials),
    configuration: (issuer) => configurationWith(inOrder()[0] as ClientCredential, issuer),
    async exchangeCode(received, checks, wrapFetch) {
      const ahead = fetchWithKeysAhead(metadata, fetchKeys, outbound)
      const fetch = wrapFetch ? wrapFetch(ahead) : ahead
      const tryWith = async (proof: ClientCredential) => {
        const configuration = (issuer?: string) => configurationWith(proof, issuer, fetch)
        const redeemed = await exchangeCode(provider, { metadata, configuration }, received, checks)
        taken(proof.secret)
        return { ...redeemed, encoding: proof.encoding }
      }
      const inTurn = [...inOrder(), ...(wrapFetch ? alternateEncodings(provider, credentials) : [])]
      for (;;) {
        try {
          return await tryWith(inTurn.shift() as ClientCredential)
        } catch (error) {
          // Who we are is looked at before the code is, so the code is still good.
          if (inTurn.length === 0 || !(await refusesClient(error))) throw error
        }
      }
    },
    async keys() {
      // Fetched anew: those of the last hour would refuse an honest token just after a rotation.
      const response = (await fetchKeys()).clone()
      if (response.status !== 200) throw new Error(`the key set answered with status ${response.status}`)
      return keysFrom(provider, (await response.json()) as JSONWebKeySet)
    },
  }
}

/**
 * Keys of Entra count only for the issuer that they say they are for. Whose token it is it says itself, unverified at that moment:
 * that gains its sender nothing, for the issuer that is judged afterwards stands in the same payload.
 */
function keysFrom(provider: Provider, set: JSONWebKeySet): KeyResolver {
  const all = createLocalJWKSet(set)
  if (provider.preset !== 'entra') return all
  return async (header, token) => {
    const { iss } = JSON.parse(Buffer.from(String(token?.payload), 'base64url').toString()) as {
      iss?: unknown
    }
    return await createLocalJWKSet({ keys: keysForIssuer(provider, String(iss), set.keys) })(header, token)
  }
}

/**
 * The one refusal that another client secret can mend (RFC 6749, 5.2). Keycloak calls it `unauthorized_client`, which else means
 * something that no secret mends; its status tells the two apart.
 */
async function refusesClient(error: unknown): Promise<boolean> {
  const refusal = (said: unknown, status: number) =>
    (said === 'invalid_client' && (status === 400 || status === 401)) ||
    (said === 'unauthorized_client' && status === 401)
  if (error instanceof client.ResponseBodyError) return refusal(error.error, error.status)
  // With 401 comes a challenge, and openid-client reads no further.
  if (!(error instanceof client.WWWAuthenticateChallengeError)) return false
  const body: unknown = await error.response.json().catch(() => undefined)
  return refusal((body as { error?: unknown } | null | undefined)?.error, error.status)
}

/**
 * What openid-client goes by. It copies all that it is given, for each answer: of a hostile provider that would be a megabyte,
 * and a tenth of a second in which nobody else is served.
 */
function judgedBy(metadata: ProviderMetadata): client.ServerMetadata {
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
 * Fetches the keys while the provider is still busy with the code: always the ones of now, so that a rotation a moment ago
 * refuses nobody, and at no extra time. One fetch for each token request at most, so nobody can make us hammer a provider.
 */
function fetchWithKeysAhead(
  metadata: ProviderMetadata,
  fetchKeys: () => Promise<Response>,
  outbound: HttpClient,
): client.CustomFetch {
  const keysUrl = new URL(metadata.jwks_uri).href
  const tokenUrl = new URL(metadata.token_endpoint).href
  let fetched: Promise<Response> | undefined
  // One deadline for code, keys and UserInfo together.
  const deadline = AbortSignal.timeout(outbound.timeLimit * 1000)
  return async (url, asked) => {
    const options = { ...asked, signal: deadline }
    if (url === tokenUrl) {
      fetched = fetchKeys()
      fetched.catch(() => {}) // heard when the keys are asked for
    }
    if (url === keysUrl && fetched !== undefined) return (await fetched).clone()
    return await outbound.fetch(url, options)
  }
}

/** One pending call serves all who ask meanwhile. */
function shared<T>(act: () => Promise<T>): () => Promise<T> {
  let pending: Promise<T> | undefined
  return () => {
    pending ??= act().finally(() => {
      pending = undefined
    })
    return pending
  }
}
