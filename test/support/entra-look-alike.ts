import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import {
  type Claims,
  type FaultyProvider,
  type FaultyProviderOptions,
  type Person,
  startFaultyProvider,
} from './faulty-provider.ts'

/** Two tenants; every other GUID is a tenant, too. */
export const contoso = '11111111-aaaa-4bbb-8ccc-000000000001'
/** A domain of Contoso: the tenant can be found by it. */
export const contosoDomain = 'contoso.example'
export const fabrikam = '22222222-aaaa-4bbb-8ccc-000000000002'

/** Claims of Microsoft's ID tokens. */
export interface EntraClaims extends Claims {
  /** the tenant; default `contoso` */
  tid?: string
  /** the user's ID in the tenant, the same for every application; default Ada's */
  oid?: string
  preferred_username?: string
  name?: string
  email?: string
  xms_edov?: unknown
  /** an optional claim, the value of `logout_hint` */
  login_hint?: string
}

/** Imitates Microsoft Entra ID as documented by Microsoft: a faulty provider with tenants. */
export interface EntraLookAlike extends FaultyProvider {
  /** the origin that replaces https://login.microsoftonline.com */
  readonly origin: string
  /** @param tenant a GUID or `organizations` */
  issuerOf(tenant: string): string
  /** Settings for `connect`. @param tenant as an administrator would enter it */
  row(tenant: string): Pick<ProviderInput, 'preset' | 'tenant' | 'issuer'>
  /** Changes the next user. Default: Ada of Contoso, without an e-mail address, which is usual for Entra. */
  signsIn(claims?: EntraClaims): void
  /** Result of the admin consent page. Default: consent for `contoso` */
  consent: { tenant: string } | { error: string; error_description: string }
}

const ada: EntraClaims & { tid: string; oid: string } = {
  tid: contoso,
  oid: 'aaaaaaaa-0000-4000-8000-00000000ada0',
  preferred_username: 'ada@contoso.example',
  name: 'Ada Lovelace',
}

/** Entra sets `iat` and `nbf` five minutes back. */
function fiveMinutesAgo() {
  const past = Math.floor(Date.now() / 1000) - 300
  return { iat: past, nbf: past }
}

/** An error in Entra's format, for the faults `authorizeError` and `tokenError`. */
export function entraError(error: string, code: number, words = 'Something is not as it should be.') {
  const trace = '00000000-1111-2222-3333-444444444444'
  const error_description = `AADSTS${code}: ${words} Trace ID: ${trace} Correlation ID: ${trace} Timestamp: 2026-11-25 02:02:12Z`
  return {
    authorizeError: { error, error_description },
    tokenError: {
      status: error === 'invalid_client' ? 401 : 400,
      body: {
        error,
        error_description,
        error_codes: [code],
        timestamp: '2026-11-25 02:02:12Z',
        trace_id: trace,
        correlation_id: trace,
        error_uri: `https://login.microsoftonline.com/error?code=${code}`,
      },
    },
  }
}

/**
 * Has one discovery document for each tenant, and one for `organizations` with an issuer template. The endpoints and their
 * faults are those of a faulty provider.
 */
export async function startEntraLookAlike(options: FaultyProviderOptions = {}): Promise<EntraLookAlike> {
  const provider = await startFaultyProvider({
    clientId: '6731de76-14a6-49ae-97bc-6eba6914391e',
    ...options,
    // Microsoft documents PKCE but does not announce it.
    usual: { announceIss: false, omitIss: true, noPkceInMetadata: true, ...options.usual },
    claimsOf: ({ tid }) => ({ iss: issuerOf(String(tid)), ver: '2.0', ...fiveMinutesAgo() }),
  })
  const server = createServer((req, res) => {
    const url = new URL(req.url ?? '/', origin)
    answer(url, res).catch((error: unknown) => res.writeHead(500).end(String(error)))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const issuerOf = (tenant: string) => `${origin}/${tenant}/v2.0`
  const { close, issuer: behind, reset } = provider

  async function answer(url: URL, res: ServerResponse): Promise<void> {
    const [, tenant = '', page = ''] = /^\/([^/]+)\/v2\.0\/(.*)$/.exec(url.pathname) ?? []
    if (page === '.well-known/openid-configuration') return await describe(tenant, url.search, res)
    if (page === 'adminconsent') return askAdministrator(url, res)
    res.writeHead(404).end('There is nothing here.')
  }

  async function describe(tenant: string, query: string, res: ServerResponse): Promise<void> {
    const document = await fetch(`${behind}/.well-known/openid-configuration${query}`)
    if (document.status === 404) return void res.writeHead(404).end('There is nothing here.')
    const metadata = (await document.json()) as Claims
    // Microsoft refuses unknown domains with this status.
    if (tenant.includes('.') && tenant !== contosoDomain)
      return void res.writeHead(400).end('{"error":"invalid_tenant"}')
    const named = { organizations: '{tenantid}', [contosoDomain]: contoso }[tenant] ?? tenant
    // Keep a wrong issuer that a test has set.
    const issuer = metadata.issuer === behind ? issuerOf(named) : metadata.issuer
    const body = JSON.stringify({ ...metadata, issuer, subject_types_supported: ['pairwise'] })
    res.writeHead(document.status, { 'Content-Type': 'application/json' }).end(body)
  }

  function askAdministrator({ pathname: path, searchParams: query }: URL, res: ServerResponse): void {
    provider.requests.push({ method: 'GET', path, query, headers: {}, body: '' })
    const redirectUri = query.get('redirect_uri')
    if (query.get('client_id') !== provider.clientId || !redirectUri || !query.get('scope')) {
      res.writeHead(400).end('AADSTS90014: client_id, redirect_uri or scope is missing.')
      return
    }
    const target = new URL(redirectUri)
    const parameters = { admin_consent: 'True', ...entra.consent, state: query.get('state') ?? '' }
    for (const [name, value] of Object.entries(parameters)) target.searchParams.set(name, value)
    if ('tenant' in entra.consent) target.searchParams.set('scope', query.get('scope') ?? '')
    res.writeHead(302, { Location: target.href }).end()
  }

  /** Subjects are pairwise: another application gets another subject for the same user. */
  function nextPerson(): Person {
    const { tid, oid } = provider.person
    const sub = createHash('sha256').update(`${provider.clientId} ${tid} ${oid}`).digest('base64url')
    return { ...provider.person, sub }
  }

  const entra: EntraLookAlike = Object.assign(provider, {
    origin,
    issuer: issuerOf('organizations'),
    issuerOf,
    row: (tenant: string) => ({
      preset: 'entra',
      tenant,
      issuer: issuerOf(/[\s,]/.test(tenant) ? 'organizations' : tenant),
    }),
    signsIn(claims: EntraClaims = {}) {
      provider.person = { ...ada, ...claims, sub: '' }
      provider.nextPerson = nextPerson
    },
    consent: { tenant: contoso },
    reset() {
      reset()
      entra.signsIn()
      entra.consent = { tenant: contoso }
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await close()
    },
  })
  entra.signsIn()
  return entra
}
