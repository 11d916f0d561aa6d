import * as client from 'openid-client'
import { isFetchable, outboundFetch, timeLimit } from './outbound-http.ts'

/** Metadata that a sign-in can go by: every endpoint that we use is there and fetchable. */
export type ProviderMetadata = client.ServerMetadata & {
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  readonly jwks_uri: string
}

/**
 * Fetches and checks the metadata of an issuer (OpenID Connect Discovery 1.0, 4).
 *
 * @throws when it cannot be reached, is not the issuer's own, or lacks an endpoint
 */
export async function discover(issuer: string): Promise<ProviderMetadata> {
  const server = new URL(issuer)
  if (!isFetchable(server))
    throw new Error(`the issuer ${server.origin} is not https (http is for loopback only)`)
  const configuration = await client.discovery(server, 'discovery', undefined, client.None(), {
    [client.customFetch]: outboundFetch,
    timeout: timeLimit,
    execute: server.protocol === 'http:' ? [client.allowInsecureRequests] : [],
  })
  return assertUsable(configuration.serverMetadata())
}

function assertUsable(metadata: client.ServerMetadata): ProviderMetadata {
  for (const name of ['authorization_endpoint', 'token_endpoint', 'jwks_uri'] as const)
    assertEndpoint(name, metadata[name])
  if (metadata.userinfo_endpoint !== undefined)
    assertEndpoint('userinfo_endpoint', metadata.userinfo_endpoint)
  return metadata as ProviderMetadata
}

function assertEndpoint(name: string, value: unknown): void {
  if (typeof value !== 'string') throw new Error(`the discovery document lacks ${name}`)
  if (!URL.canParse(value) || !isFetchable(new URL(value))) throw new Error(`${name} is not an https address`)
}
