import { calculatePKCECodeChallenge, randomNonce, randomPKCECodeVerifier, randomState } from 'openid-client'
import type { ProviderMetadata } from '../../oidc/discovery.ts'
import type { HttpClient } from '../../oidc/http-client.ts'
import {
  type ClientSettings,
  pushesRequests,
  requestPusher,
  secretForms,
} from '../../oidc/provider-client.ts'
import type { Check } from '../../providers/provider.ts'
import { pushRefusal } from '../../sign-in/provider-strategy.ts'
import { failed, ok, type TestInput, warning } from './candidate.ts'

const name = 'par'

/**
 * Pushes a request where a sign-in would (RFC 9126). The provider then checks client, redirect URI and scopes before any user
 * comes. A refusal is a warning, because it may be about this request only.
 *
 * @param client with the authentication that the provider accepted; `undefined` if it accepted none
 */
export async function checkPushedRequests(
  metadata: ProviderMetadata,
  input: TestInput,
  client: ClientSettings | undefined,
  outbound: HttpClient,
): Promise<Check[]> {
  const isAnnounced = metadata.pushed_authorization_request_endpoint !== undefined
  if (!pushesRequests(input, metadata))
    return isAnnounced
      ? [ok(name, 'the provider accepts pushed authorization requests (PAR), which you can turn on here')]
      : []
  if (!isAnnounced)
    return [
      failed(
        name,
        'authorization requests cannot be pushed (PAR): the provider announces no https endpoint for them',
        'turn pushed authorization requests off, or enable them at the provider',
      ),
    ]
  const isRequired = metadata.require_pushed_authorization_requests === true
  const message = `authorization requests are pushed (PAR)${isRequired ? ', as the provider requires' : ''}`
  if (!client || input.redirectUri === undefined) return [ok(name, message)]
  try {
    await push(metadata, input, client, outbound)
    return [ok(name, `${message}; it accepted one with the redirect URI`)]
  } catch (error) {
    const reason = pushRefusal(error, secretForms(input.clientId, input)).message
    return [
      warning(name, reason, 'compare the redirect URI, the scopes and the client’s settings at the provider'),
    ]
  }
}

async function push(
  metadata: ProviderMetadata,
  input: TestInput,
  client: ClientSettings,
  outbound: HttpClient,
): Promise<void> {
  const url = new URL(metadata.authorization_endpoint)
  const parameters = {
    response_type: 'code',
    client_id: input.clientId,
    redirect_uri: input.redirectUri ?? '',
    scope: 'openid email profile',
    state: randomState(),
    nonce: randomNonce(),
    code_challenge: await calculatePKCECodeChallenge(randomPKCECodeVerifier()),
    code_challenge_method: 'S256',
  }
  for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value)
  await requestPusher(client, input, metadata, outbound)(url.href, '')
}
