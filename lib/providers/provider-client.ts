import { createLocalJWKSet, type JSONWebKeySet } from 'jose'
import * as client from 'openid-client'
import { discover, type ProviderMetadata } from './discover.ts'
import type { WayOut } from './outbound-http.ts'
import { type Provider, signingAlgorithms } from './provider.ts'

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
  /** Its keys of this moment, for a token that it sends by itself. @throws when the key set cannot be had */
  keys(): Promise<Keys>
}

/** Finds the key that a token's header names, or the only one that fits. */
export type Keys = ReturnType<typeof createLocalJWKSet>

/** seconds that one clock may be ahead of or behind the other */
export const clockTolerance = 30

/** @throws when discovery fails or the issuer is not the one in the row; nothing broken is kept */
export async function createProviderClient(
  provider: Provider,
  clientSecret: string | undefined,
  outbound: WayOut,
): Promise<ProviderClient> {
  const authentication = authenticationOf(provider, clientSecret)
  const metadata = await discover(provider, outbound)
  // To the letter (OpenID Connect Discovery 1.0, 4.3): it is what the `iss` of every token is compared with.
  if (metadata.issuer !== provider.issuer)
    throw new Error(`the discovery document names another issuer: ${JSON.stringify(metadata.issuer)}`)
  const server = judgedBy(metadata)
  const fetchKeys = shared(() => outbound.fetch(metadata.jwks_uri, keyRequest))

  return {
    metadata,
    secrets:
      clientSecret === undefined ? [] : [clientSecret, basicCredentials(provider.clientId, clientSecret)],
    configuration(issuer = metadata.issuer) {
      const configuration = new client.Configuration(
        { ...server, issuer },
        provider.clientId,
        { id_token_signed_response_alg: provider.signingAlgorithm, [client.clockTolerance]: clockTolerance },
        authentication,
      )
      configuration.timeout = outbound.timeLimit
      configuration[client.customFetch] = fetchWithKeysAhead(metadata, fetchKeys, outbound)
      // Without this openid-client leaves the ID token's signature unchecked in the code flow.
      client.enableNonRepudiationChecks(configuration)
      // Only the loopback: the way out refuses plain http anywhere else.
      if (metadata.issuer.startsWith('http:')) client.allowInsecureRequests(configuration)
      return configuration
    },
    async keys() {
      // Fetched anew: those of the last hour would refuse an honest token just after a rotation.
      const response = (await fetchKeys()).clone()
      if (response.status !== 200) throw new Error(`the key set answered with status ${response.status}`)
      return createLocalJWKSet((await response.json()) as JSONWebKeySet)
    },
  }
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
  outbound: WayOut,
): client.CustomFetch {
  const keysUrl = new URL(metadata.jwks_uri).href
  const tokenUrl = new URL(metadata.token_endpoint).href
  const fetched: Promise<Response>[] = []
  // One deadline for code, keys and UserInfo together.
  const deadline = AbortSignal.timeout(outbound.timeLimit * 1000)
  return async (url, asked) => {
    const options = { ...asked, signal: deadline }
    if (url === tokenUrl) {
      const ahead = fetchKeys()
      ahead.catch(() => {}) // heard when the keys are asked for
      fetched.push(ahead)
    }
    const [keys] = fetched
    return url === keysUrl && keys !== undefined ? (await keys).clone() : await outbound.fetch(url, options)
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

function authenticationOf(provider: Provider, clientSecret: string | undefined): client.ClientAuth {
  if (provider.clientAuthentication === 'none') return client.None()
  if (clientSecret === undefined) throw new Error('the provider has no client secret')
  if (provider.clientAuthentication === 'client_secret_post') return client.ClientSecretPost(clientSecret)
  return clientSecretBasic(clientSecret)
}

/**
 * RFC 6749, 2.3.1. openid-client's own also escapes `-`, `.` and `_`, which the form encoding leaves alone, and servers
 * that do not decode then refuse every id that is a UUID.
 */
function clientSecretBasic(clientSecret: string): client.ClientAuth {
  return (_server, { client_id }, _body, headers) => {
    headers.set('authorization', `Basic ${basicCredentials(client_id, clientSecret)}`)
  }
}

function basicCredentials(clientId: string, clientSecret: string): string {
  return Buffer.from(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`).toString('base64')
}

/** As a form spells it (RFC 6749, appendix B). */
export function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}
