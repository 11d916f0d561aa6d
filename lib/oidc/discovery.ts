import * as client from 'openid-client'
import { isTemplated, templateOf } from '../providers/issuer.ts'
import { type HttpClient, isFetchable } from './http-client.ts'

/** Metadata that a sign-in can go by: every endpoint that we use is there and fetchable. */
export type ProviderMetadata = client.ServerMetadata & {
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  readonly jwks_uri: string
  /** there only when people can be sent there */
  readonly end_session_endpoint?: string | undefined
}

/** seconds; with those of an answer less than the ten that a person waits at most */
const discoveryTimeLimit = 4

/**
 * Fetches and checks the metadata of an issuer (OpenID Connect Discovery 1.0, 4).
 *
 * @returns of a row for many tenants with the issuer as the row spells it: no token ever names that one
 * @throws when it cannot be reached, is not the issuer's own, or lacks an endpoint
 */
export async function discover(
  { issuer, preset }: { issuer: string; preset: string },
  outbound: HttpClient,
): Promise<ProviderMetadata> {
  if (!isTemplated({ issuer, preset })) return assertUsable(await fetchDocument(new URL(issuer), outbound))
  // By the document's own address: openid-client would compare its issuer, which is a template here.
  const document = await fetchDocument(new URL(`${issuer}/.well-known/openid-configuration`), outbound)
  if (document.issuer !== templateOf(issuer))
    throw new Error(`the discovery document names another issuer: ${JSON.stringify(document.issuer)}`)
  return assertUsable({ ...document, issuer })
}

async function fetchDocument(server: URL, outbound: HttpClient): Promise<client.ServerMetadata> {
  if (!isFetchable(server))
    throw new Error(`the issuer ${server.origin} is not https (http is for loopback only)`)
  const configuration = await client.discovery(server, 'discovery', undefined, client.None(), {
    [client.customFetch]: outbound.fetchMoved,
    timeout: Math.min(discoveryTimeLimit, outbound.timeLimit),
    execute: server.protocol === 'http:' ? [client.allowInsecureRequests] : [],
  })
  return configuration.serverMetadata()
}

/**
 * Only the spelling that was checked is handed on: `https://ex%61mple.com` is one host to us and another to a laxer parser,
 * and a character outside of ASCII cannot stand in a `Location` header.
 */
function assertUsable(metadata: client.ServerMetadata): ProviderMetadata {
  const { userinfo_endpoint, end_session_endpoint: _, ...others } = metadata
  return {
    ...withPlainLists(others),
    authorization_endpoint: endpoint(metadata, 'authorization_endpoint'),
    token_endpoint: endpoint(metadata, 'token_endpoint'),
    jwks_uri: endpoint(metadata, 'jwks_uri'),
    ...(userinfo_endpoint !== undefined && { userinfo_endpoint: endpoint(metadata, 'userinfo_endpoint') }),
    ...endSessionEndpoint(metadata),
  }
}

/** What a list announces is text: whatever else stands in it cannot be compared, nor shown, and objects may not even become text. */
function withPlainLists<T extends object>(metadata: T): T {
  const plain = ([name, value]: [string, unknown]) => [
    name,
    Array.isArray(value) ? value.filter((each) => typeof each === 'string') : value,
  ]
  return Object.fromEntries(Object.entries(metadata).map(plain)) as T
}

/** A bad one costs the provider its part in signing out, not everybody the sign-in. */
function endSessionEndpoint(metadata: client.ServerMetadata): { end_session_endpoint?: string } {
  try {
    const url = new URL(endpoint(metadata, 'end_session_endpoint'))
    // Its origin becomes part of a Content-Security-Policy, in which `;` and `*` in a host would be words of their own.
    return /^[a-z0-9._[\]:-]+$/.test(url.host) ? { end_session_endpoint: url.href } : {}
  } catch {
    return {}
  }
}

function endpoint(metadata: client.ServerMetadata, name: string): string {
  const value = metadata[name]
  if (typeof value !== 'string') throw new Error(`the discovery document lacks ${name}`)
  if (!URL.canParse(value) || !isFetchable(new URL(value))) throw new Error(`${name} is not an https address`)
  return new URL(value).href
}
