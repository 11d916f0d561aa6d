import * as client from 'openid-client'
import { isTemplated, templateOf } from '../providers/issuer.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import { wellKnownPath } from '../providers/setting-values.ts'
import { CheckError } from '../shared/errors.ts'
import { type HttpClient, isFetchable } from './http-client.ts'
import { withoutEmpty } from './identity.ts'

/** Provider metadata in which every endpoint that a sign-in needs exists and may be fetched. */
export type ProviderMetadata = client.ServerMetadata & {
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  readonly jwks_uri: string
  /** absent unless the portal may send requests to it */
  readonly pushed_authorization_request_endpoint?: string | undefined
  /** absent unless a browser can be redirected to it */
  readonly end_session_endpoint?: string | undefined
}

/** together with a code exchange less than ten seconds, which is how long a user may have to wait */
const discoveryTimeoutSeconds = 4

/** The settings that name the discovery document. */
export type DiscoverySettings = Pick<Provider, 'preset' | 'issuer' | 'clientId' | 'metadataUrl'>

/**
 * Fetches and checks the metadata of an issuer (OpenID Connect Discovery 1.0, 4).
 *
 * @returns for a row that accepts several tenants, with the row's issuer, which no token names
 * @throws when the document cannot be fetched or lacks an endpoint; the caller compares its issuer
 */
export async function discover(row: DiscoverySettings, outbound: HttpClient): Promise<ProviderMetadata> {
  const { issuer } = row
  const document = await fetchDocument(new URL(documentUrl(row)), outbound)
  if (!isTemplated(row)) return assertUsable(document)
  assertIssuer(document, templateOf(issuer))
  return assertUsable({ ...document, issuer })
}

/** The URL of the discovery document: as entered, or the well-known URL with the query of the preset. */
export function documentUrl({ preset, issuer, clientId, metadataUrl }: DiscoverySettings): string {
  if (metadataUrl !== undefined) return metadataUrl
  const query = presetOf(preset)?.metadataQuery?.(clientId)
  return `${issuer.replace(/\/$/, '')}${wellKnownPath}${query === undefined ? '' : `?${query}`}`
}

/** The settings and the discovery document name different issuers. One of them is wrong, so waiting does not help. */
export class IssuerMismatchError extends CheckError {
  override readonly name = 'IssuerMismatchError'
  /** of the document */
  readonly issuer: string

  constructor(issuer: string) {
    super('issuer', `the discovery document names another issuer: ${JSON.stringify(issuer)}`)
    this.issuer = issuer
  }
}

export function assertIssuer({ issuer }: client.ServerMetadata, expected: string): void {
  if (issuer !== expected) throw new IssuerMismatchError(issuer)
}

async function fetchDocument(server: URL, outbound: HttpClient): Promise<client.ServerMetadata> {
  if (!isFetchable(server))
    throw new CheckError('issuer', `the issuer ${server.origin} is not https (http is for loopback only)`)
  const configuration = await client.discovery(server, 'discovery', undefined, client.None(), {
    [client.customFetch]: outbound.fetchFollowingRedirects,
    timeout: Math.min(discoveryTimeoutSeconds, outbound.timeoutSeconds),
    execute: server.protocol === 'http:' ? [client.allowInsecureRequests] : [],
  })
  return configuration.serverMetadata()
}

const requiredEndpoints = ['authorization_endpoint', 'token_endpoint', 'jwks_uri']

/** The sign-in works without them, so an invalid one does not matter. */
const optionalEndpoints = [
  'userinfo_endpoint',
  'pushed_authorization_request_endpoint',
  'end_session_endpoint',
]

/**
 * Passes on only normalized URLs: another parser may read `https://ex%61mple.com` as another host, and a `Location` header
 * cannot hold characters outside ASCII.
 */
function assertUsable(metadata: client.ServerMetadata): ProviderMetadata {
  const usable = withUsableMembers(metadata)
  for (const name of requiredEndpoints) {
    const value = metadata[name]
    if (typeof value !== 'string') throw new CheckError(name, `the discovery document lacks ${name}`)
    if (!isEndpoint(value)) throw new CheckError(name, `${name} is not an https URL`)
    usable[name] = new URL(value).href
  }
  for (const name of optionalEndpoints) {
    const value = metadata[name]
    if (isEndpoint(value)) usable[name] = new URL(value).href
    else delete usable[name]
  }
  // The origin becomes part of a Content-Security-Policy, where `;` or `*` in a host would change its meaning.
  const { end_session_endpoint: logout } = usable
  if (logout !== undefined && !/^[a-z0-9._[\]:-]+$/.test(new URL(String(logout)).host))
    delete usable.end_session_endpoint
  return usable as ProviderMetadata
}

/**
 * Drops members that are null or empty, and `*_supported` members that are neither a list nor a boolean. Of a list, it keeps only the
 * strings: an object such as `{ toString: 1 }` would throw when it is compared or shown.
 */
function withUsableMembers(metadata: object): Record<string, unknown> {
  const members = Object.entries(withoutEmpty(metadata)).flatMap(([name, value]): [string, unknown][] => {
    if (Array.isArray(value)) return [[name, value.filter((each) => typeof each === 'string')]]
    return name.endsWith('_supported') && typeof value !== 'boolean' ? [] : [[name, value]]
  })
  return Object.fromEntries(members)
}

function isEndpoint(value: unknown): value is string {
  return typeof value === 'string' && URL.canParse(value) && isFetchable(new URL(value))
}
