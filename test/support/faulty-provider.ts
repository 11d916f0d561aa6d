import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { CompactEncrypt, createLocalJWKSet, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { createDpopVerifier } from './dpop-verifier.ts'
import { createSigningKeys, type SigningFaults } from './faulty-signing.ts'

export type Claims = Record<string, unknown>

type Endpoint = 'discovery' | 'jwks' | 'par' | 'token' | 'userinfo'

/** How a client is registered. `tls_client_auth` is a method that the portal does not support. */
type RegisteredMethod =
  | 'client_secret_basic'
  | 'client_secret_post'
  | 'client_secret_jwt'
  | 'private_key_jwt'
  | 'none'
  | 'tls_client_auth'

/** Omitted members stay as in the valid response. */
export interface RawAnswer {
  status?: number
  headers?: OutgoingHttpHeaders
  body?: string | Buffer
}

/** Responses that replace the valid one, for each of the endpoints that the portal itself calls. */
type ResponseFaults = { [name in `${Endpoint}Response`]?: RawAnswer }

/**
 * `Hang`: no response. `Trickle`: one byte at a time, without end. `Huge`: 11 MB more, or compressed (`Bomb`). `Endless`: an
 * endless body. `Drop`: the connection ends, or in the middle of the body (`Midway`). `Informed`: after a 103 response.
 * `Headers`: 100 KB of headers.
 */
type DeliveryFaults = { [name in `${Endpoint}${Delivery}`]?: true }
type Delivery = 'Hang' | 'Trickle' | 'Huge' | 'Bomb' | 'Endless' | 'Drop' | 'Midway' | 'Informed' | 'Headers'

/** One switch for each fault. In merged objects, `undefined` removes a member. */
export interface Faults extends SigningFaults, ResponseFaults, DeliveryFaults {
  discovery?: Claims
  /** Only the REQUIRED members of OpenID Connect Discovery 1.0, 3. */
  sparseDiscovery?: true
  noPkceInMetadata?: true
  /** Whether the metadata announces the `iss` parameter (RFC 9207). Default true. */
  announceIss?: boolean

  /** Supports pushed authorization requests (RFC 9126). `client`: requires them of this client, without announcing it. */
  pushedRequests?: 'supported' | 'client' | 'required'
  authorizeError?: { error: string; error_description?: string }
  /**
   * Keeps the first user signed in until a logout, and sends `auth_time`. Like Keycloak, it lets nobody change the user name when
   * it asks again.
   */
  keepsSession?: true
  /** Refuses to return from a logout without `id_token_hint`, like Hydra. */
  logoutNeedsHint?: true
  /** With `keepsSession`: a logout does not end the session. */
  logoutKeepsSession?: true
  /** With `keepsSession`: does not ask again for `max_age`. */
  ignoresMaxAge?: true
  /** With `keepsSession`: does not ask again for `prompt=login`. */
  ignoresPromptLogin?: true
  /** With `keepsSession`: sends `auth_time` only if `max_age` was requested. */
  authTimeOnlyForMaxAge?: true
  refusesMaxAge?: true
  refusesPromptLogin?: true
  /** Responds with 500 to `max_age` together with `prompt=login`. */
  failsOnMaxAgeWithPrompt?: true

  /** Omits `iss` from the authorization response, announced or not. */
  omitIss?: true
  /** Issues codes of this length. */
  codeLength?: number
  /** Merged into the parameters of the authorization response; an array sends a parameter several times. */
  callbackParams?: Record<string, string | string[] | undefined>

  /** Merged over the ID token's claims. */
  claims?: Claims
  /** Merged over the token response. */
  tokenAnswer?: Claims
  /** New paths of endpoints, as in the metadata; the old ones respond with this status. */
  moved?: { jwks?: string; token?: string; status: number }
  /** Replaces the signing key when the code arrives, and calls this before the ID token is signed with the new one. */
  rotatesBeforeSigning?: () => void | Promise<void>
  /** Delays the token response until this has settled. */
  tokenWaitsFor?: Promise<unknown>
  tokenError?: { status?: number; body: object }
  /** Refuses the token request, and quotes it in the error. */
  tokenQuotes?: true
  /** Requires tokens that are bound to a key (RFC 9449). `nonce`: with a nonce of the provider, at each endpoint. */
  requiresDpop?: true | 'nonce'
  /** Encrypts these to a key of the client, as if one were registered (OpenID Connect Core 10.2). */
  encrypts?: 'id-token' | 'userinfo'
  /** The portal is a public client, which has no secret (RFC 6749, 2.1). */
  publicClient?: true
  /** Accepts these client secrets instead of the original one. */
  clientSecrets?: string[]
  /** Accepts no secret, but assertions signed with the keys at this URL (`private_key_jwt`). */
  clientKeysAt?: string
  /** Refuses client authentication like Keycloak: `unauthorized_client` with 401, and no challenge. */
  likeKeycloak?: true
  /** Reads Basic credentials without form-decoding them, like many servers (against RFC 6749, 2.3.1). */
  rawCredentials?: true
  /** The client is registered for this method only; all are announced. Like Hydra, a refusal names it. */
  clientMethod?: RegisteredMethod
  /** The status of a refused client. Default 401. */
  refusalStatus?: number
  /** The response to a wrong code. Default: `invalid_grant`. */
  wrongCode?: JsonAnswer
  /** The only accepted `aud` of a client assertion. Default: the issuer. */
  assertionAudience?: string
  /** The only accepted algorithm of a client assertion. Default: any. */
  assertionAlgorithm?: string

  /** Accepts only these redirect URIs, like Keycloak with a page otherwise. Default: any. */
  redirectUris?: string[]
  /** The client is disabled, as Keycloak says it. */
  clientDisabled?: true
  /** The client may not use the authorization code flow, as Keycloak says it. */
  flowOff?: true
  /** Replaces the response of the authorization endpoint. */
  authorizeResponse?: RawAnswer
  /** The discovery document is only at a URL with this query. */
  metadataQuery?: string

  /** The end session page loads these URLs in frames (OpenID Connect Front-Channel Logout 1.0). */
  logoutFrames?: string[]

  /** The only identity claim of the ID token is `sub`. */
  claimsInUserinfoOnly?: true
  /** Merged over the UserInfo response. */
  userinfoClaims?: Claims
}

export interface ReceivedRequest {
  method: string
  path: string
  query: URLSearchParams
  headers: IncomingHttpHeaders
  body: string
}

export interface Person extends Claims {
  sub: string
  email?: string
  email_verified?: unknown
  name?: string
}

export interface FaultyProvider {
  readonly issuer: string
  /** Can be changed, as if the portal had been registered again; the secret stays. */
  clientId: string
  readonly clientSecret: string
  readonly faults: Faults
  /** The next user, copied when the browser arrives, so later changes do not affect a sign-in in progress. */
  person: Person
  /** Returns the next user, for many simultaneous sign-ins. Default: `person`. */
  nextPerson: () => Person
  readonly requests: ReceivedRequest[]
  /** All codes and tokens that were issued. */
  readonly issued: string[]
  /** The user for whom a code was issued, even if it has been redeemed. */
  personOf(code: string): Person | undefined
  /** Signs any claims with the current key, for example as a logout token; `faults` apply only to this token. */
  sign(claims: Claims, faults?: SigningFaults): Promise<string>
  /** Replaces the signing key; the old one is no longer published. */
  rotateKeys(): Promise<void>
  /** Removes faults and recorded requests, and restores the first user. Keys stay. */
  reset(): void
  close(): Promise<void>
}

export interface FaultyProviderOptions {
  /** The defaults contain characters that Basic authentication encodes. Clients differ in how they encode a dash. */
  clientId?: string
  clientSecret?: string
  /** Path of the issuer, '/realm/' for one that ends with a slash. Default: none. */
  issuerPath?: string
  /** To restart a provider on the same port. Default: a free port. */
  port?: number
  /** Normal behaviour of this provider, which `reset` keeps. */
  usual?: Faults
  /** Merged over the default claims of ID tokens. */
  claimsOf?: (person: Person) => Claims
  /** Serves https at the name of the certificate. */
  tls?: { key: string; cert: string; name: string }
}

interface Authorization {
  person: Person
  redirectUri: string
  challenge: string
  nonce: string | undefined
  authTime: number | undefined
}

const ada: Person = { sub: 'ada', email: 'ada@example.com', email_verified: true, name: 'Ada Lovelace' }

/** An OpenID Provider over real HTTP, without pages: it signs in `person` at once. It has no faults by default. */
export async function startFaultyProvider(options: FaultyProviderOptions = {}): Promise<FaultyProvider> {
  const { clientSecret = 'a secret+with/odd:characters-&%', usual = {}, claimsOf } = options
  const keys = await createSigningKeys(clientSecret)
  const listener = (req: IncomingMessage, res: ServerResponse) => {
    handle(req, res).catch((error: unknown) => {
      if (!res.headersSent) res.writeHead(500).end(String(error))
    })
  }
  const server = options.tls ? createSecureServer(options.tls, listener) : createServer(listener)
  server.listen(options.port ?? 0, '127.0.0.1')
  await once(server, 'listening')
  // Jest runs no `afterAll` in a file whose tests are all filtered out.
  server.unref()
  const at = options.tls ? `https://${options.tls.name}` : 'http://127.0.0.1'
  const issuer = `${at}:${(server.address() as AddressInfo).port}${options.issuerPath ?? ''}`
  const base = issuer.replace(/\/$/, '')
  const prefix = new URL(base).pathname.replace(/\/$/, '')
  const codes = new Map<string, Authorization>()
  const given = new Map<string, Person>()
  const accessTokens = new Map<string, Person>()
  const pushed = new Map<string, URLSearchParams>()
  /** access token → thumbprint of its key */
  const boundTo = new Map<string, string>()
  const assertions = new Set<string>()
  const dpop = createDpopVerifier(new URL(issuer).origin)
  let session: { person: Person; since: number } | undefined

  const provider: FaultyProvider = {
    issuer,
    clientId: options.clientId ?? 'portal-at-provider',
    clientSecret,
    faults: { ...usual },
    person: { ...ada },
    nextPerson: () => provider.person,
    requests: [],
    issued: [],
    personOf: (code) => given.get(code),
    sign: keys.sign,
    rotateKeys: keys.rotate,
    reset() {
      for (const name of Object.keys(faults)) delete faults[name as keyof Faults]
      Object.assign(faults, usual)
      provider.person = { ...ada }
      provider.nextPerson = () => provider.person
      provider.requests.length = 0
      session = undefined
    },
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
  const { faults } = provider

  async function handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    // Browsers request this automatically, so it is not recorded.
    if (req.url === '/favicon.ico') {
      res.writeHead(204).end()
      return
    }
    const request = await received(req)
    provider.requests.push(request)
    const path = currentPath(request.path.startsWith(prefix) ? request.path.slice(prefix.length) : undefined)
    if (path === 'gone') {
      res.writeHead(faults.moved!.status).end()
      return
    }
    switch (`${request.method} ${path}`) {
      case 'GET /.well-known/openid-configuration':
        if (faults.metadataQuery !== undefined && request.query.toString() !== faults.metadataQuery) break
        return deliver(res, 'discovery', { body: metadata() })
      case 'GET /jwks':
        return deliver(res, 'jwks', { body: await keys.jwks(faults) })
      case 'POST /par':
        return faults.pushedRequests
          ? deliver(res, 'par', await push(request))
          : void res.writeHead(404).end('There is nothing here.')
      case 'GET /authorize':
        return authorize(request.query, res)
      case 'POST /token': {
        const answer = await token(request)
        await faults.tokenWaitsFor
        return deliver(res, 'token', answer)
      }
      case 'GET /userinfo':
      case 'POST /userinfo':
        return deliver(res, 'userinfo', await userinfo(request))
      case 'GET /logout':
        if (faults.logoutNeedsHint && !request.query.has('id_token_hint')) {
          res.writeHead(400).end('id_token_hint is missing')
          return
        }
        if (!faults.logoutKeepsSession) session = undefined
        return faults.logoutFrames ? showFrames(faults.logoutFrames, res) : logout(request.query, res)
    }
    res.writeHead(404).end('There is nothing here.')
  }

  /** The original path of an endpoint that has moved. */
  function currentPath(path: string | undefined): string | undefined {
    const { jwks, token } = faults.moved ?? {}
    if (path !== undefined && path === jwks) return '/jwks'
    if (path !== undefined && path === token) return '/token'
    return (path === '/jwks' && jwks) || (path === '/token' && token) ? 'gone' : path
  }

  function metadata(): Claims {
    const required = {
      issuer,
      authorization_endpoint: `${base}/authorize`,
      token_endpoint: base + (faults.moved?.token ?? '/token'),
      jwks_uri: base + (faults.moved?.jwks ?? '/jwks'),
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'PS256', 'ES256', 'EdDSA'],
    }
    const optional = {
      userinfo_endpoint: `${base}/userinfo`,
      end_session_endpoint: `${base}/logout`,
      scopes_supported: ['openid', 'email', 'profile'],
      response_modes_supported: ['query', 'form_post'],
      grant_types_supported: ['authorization_code'],
      token_endpoint_auth_methods_supported: announcedMethods(),
      ...(faults.pushedRequests && { pushed_authorization_request_endpoint: `${base}/par` }),
      ...(faults.pushedRequests === 'required' && { require_pushed_authorization_requests: true }),
      ...(faults.requiresDpop && { dpop_signing_alg_values_supported: ['ES256', 'RS256'] }),
      ...(faults.noPkceInMetadata ? {} : { code_challenge_methods_supported: ['S256'] }),
      ...(faults.announceIss === false ? {} : { authorization_response_iss_parameter_supported: true }),
    }
    return { ...required, ...(faults.sparseDiscovery ? {} : optional), ...faults.discovery }
  }

  function announcedMethods(): string[] {
    if (faults.clientMethod)
      return [
        'client_secret_basic',
        'client_secret_post',
        'client_secret_jwt',
        'private_key_jwt',
        'none',
        'tls_client_auth',
      ]
    if (faults.publicClient) return ['none']
    return faults.clientKeysAt ? ['private_key_jwt'] : ['client_secret_basic', 'client_secret_post']
  }

  /** RFC 9126, 2: the client authenticates as at the token endpoint. */
  async function push({ headers, body }: ReceivedRequest): Promise<JsonAnswer> {
    const form = new URLSearchParams(body)
    if (!(await authenticated(headers.authorization, form)))
      return { status: 401, body: { error: 'invalid_client' } }
    for (const name of ['client_secret', 'client_assertion', 'client_assertion_type']) form.delete(name)
    const isDuplicated = [...form.keys()].length !== new Set(form.keys()).size
    const error_description = pageError(form.get('client_id'), form.get('redirect_uri') ?? '')
    if (isDuplicated || error_description !== undefined)
      return { status: 400, body: { error: 'invalid_request', error_description } }
    const requestUri = `urn:ietf:params:oauth:request_uri:${randomBytes(16).toString('base64url')}`
    pushed.set(requestUri, form)
    return { status: 201, body: { request_uri: requestUri, expires_in: 60 } }
  }

  /** RFC 9126, 4: a reference is valid once, and only for its client. */
  function pushedRequest(query: URLSearchParams): URLSearchParams | undefined {
    const requestUri = query.get('request_uri') ?? ''
    const form = pushed.get(requestUri)
    pushed.delete(requestUri)
    return form?.get('client_id') === query.get('client_id') ? form : undefined
  }

  function authorize(sent: URLSearchParams, res: ServerResponse): void {
    if (faults.authorizeResponse) {
      const { status = 200, headers = {}, body = '' } = faults.authorizeResponse
      res.writeHead(status, { 'Content-Type': 'text/html', ...headers }).end(body)
      return
    }
    const form = pushedRequest(sent)
    const query = form ?? sent
    const requiresPush = !form && ['client', 'required'].includes(faults.pushedRequests ?? '')
    const redirectUri = query.get('redirect_uri') ?? ''
    const message = pageError(query.get('client_id'), redirectUri)
    if (message !== undefined) {
      res.writeHead(400, { 'Content-Type': 'text/html' }).end(errorPage(message))
      return
    }
    if (faults.failsOnMaxAgeWithPrompt && query.has('max_age') && query.get('prompt') === 'login') {
      res.writeHead(500).end('Internal error')
      return
    }
    const answer = {
      ...(faults.authorizeError ??
        flowError() ??
        (requiresPush ? onlyPushed : requestError(query, faults)) ?? { code: issueCode(query, redirectUri) }),
      state: query.get('state') ?? undefined,
      iss: faults.omitIss ? undefined : issuer,
      ...faults.callbackParams,
    }
    const parameters = Object.entries(answer).flatMap(([name, value]) =>
      value === undefined ? [] : [value].flat().map((one): [string, string] => [name, one]),
    )
    if (query.get('response_mode') === 'form_post') {
      res.writeHead(200, { 'Content-Type': 'text/html' }).end(selfPostingForm(redirectUri, parameters))
    } else {
      const target = new URL(redirectUri)
      for (const [name, value] of parameters) target.searchParams.append(name, value)
      res.writeHead(302, { Location: target.href }).end()
    }
  }

  /** An error that must not be redirected to an unknown redirect URI (RFC 6749, 4.1.2.1). */
  function pageError(clientId: string | null, redirectUri: string): string | undefined {
    if (clientId !== provider.clientId) return 'Client not found.'
    if (faults.clientDisabled) return 'Client disabled.'
    const isKnown = faults.redirectUris?.includes(redirectUri) ?? redirectUri !== ''
    return isKnown ? undefined : 'Invalid parameter: redirect_uri'
  }

  function flowError(): { error: string; error_description: string } | undefined {
    const error_description = 'Client is not allowed to initiate browser login. Standard flow is disabled.'
    return faults.flowOff && { error: 'unauthorized_client', error_description }
  }

  function issueCode(query: URLSearchParams, redirectUri: string): string {
    const code = randomBytes(16)
      .toString('base64url')
      .padEnd(faults.codeLength ?? 0, 'x')
    const { person, since } = faults.keepsSession
      ? continueSession(query)
      : { person: { ...provider.nextPerson() }, since: undefined }
    given.set(code, person)
    provider.issued.push(code)
    codes.set(code, {
      person,
      redirectUri,
      challenge: query.get('code_challenge') ?? '',
      nonce: query.get('nonce') ?? undefined,
      authTime: faults.authTimeOnlyForMaxAge && !query.has('max_age') ? undefined : since,
    })
    return code
  }

  function continueSession(query: URLSearchParams): { person: Person; since: number } {
    const now = Math.floor(Date.now() / 1000)
    if (query.get('prompt') === 'select_account') session = undefined
    session ??= { person: { ...provider.nextPerson() }, since: now }
    const isTooOld = query.has('max_age') && now - session.since > Number(query.get('max_age'))
    if (
      (isTooOld && !faults.ignoresMaxAge) ||
      (query.get('prompt') === 'login' && !faults.ignoresPromptLogin)
    )
      session.since = now
    return { ...session }
  }

  async function token(request: ReceivedRequest): Promise<JsonAnswer> {
    if (faults.tokenError) return { status: 400, ...faults.tokenError }
    if (faults.tokenQuotes)
      return { status: 400, body: { error: 'invalid_grant', error_description: request.body } }
    const form = new URLSearchParams(request.body)
    if (faults.clientDisabled || !(await authenticated(request.headers.authorization, form))) {
      if (faults.likeKeycloak) return { status: 401, body: { error: 'unauthorized_client' } }
      const status = faults.refusalStatus ?? 401
      const headers = { 'WWW-Authenticate': 'Basic realm="token endpoint"' }
      const error_description =
        faults.clientMethod && `The client supports the authentication method '${faults.clientMethod}'.`
      return {
        status,
        ...(status === 401 && { headers }),
        body: { error: 'invalid_client', error_description },
      }
    }
    if (form.get('grant_type') !== 'authorization_code')
      return { status: 400, body: { error: 'unsupported_grant_type' } }
    const proof = await dpop.check(request, faults.requiresDpop)
    if (proof.refused) return proof.refused
    const authorization = codes.get(form.get('code') ?? '')
    codes.delete(form.get('code') ?? '')
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url')
    if (
      !authorization ||
      authorization.redirectUri !== form.get('redirect_uri') ||
      authorization.challenge !== challenge
    )
      return faults.wrongCode ?? { status: 400, body: { error: 'invalid_grant' } }

    const accessToken = randomBytes(16).toString('base64url')
    accessTokens.set(accessToken, authorization.person)
    if (proof.thumbprint) boundTo.set(accessToken, proof.thumbprint)
    if (faults.rotatesBeforeSigning) {
      await keys.rotate()
      await faults.rotatesBeforeSigning()
    }
    const signed = await keys.sign(idTokenClaims(authorization), faults)
    const idToken = faults.encrypts === 'id-token' ? await encrypted(signed) : signed
    provider.issued.push(accessToken, idToken)
    const body = {
      access_token: accessToken,
      token_type: proof.thumbprint ? 'DPoP' : 'Bearer',
      expires_in: 300,
      id_token: idToken,
      ...faults.tokenAnswer,
    }
    return { headers: { 'Cache-Control': 'no-store' }, body }
  }

  function idTokenClaims({ person, nonce, authTime }: Authorization): Claims {
    const now = Math.floor(Date.now() / 1000)
    return {
      ...(faults.claimsInUserinfoOnly ? { sub: person.sub } : person),
      iss: issuer,
      aud: provider.clientId,
      iat: now,
      exp: now + 300,
      nonce,
      auth_time: authTime,
      ...claimsOf?.(person),
      ...faults.claims,
    }
  }

  async function authenticated(header: string | undefined, form: URLSearchParams): Promise<boolean> {
    const { clientId } = provider
    if (faults.clientMethod && methodOf(header, form) !== faults.clientMethod) return false
    if (faults.clientMethod === 'client_secret_jwt')
      return await acceptsAssertion(Buffer.from(clientSecret), form)
    if (faults.clientMethod === 'none') return form.get('client_id') === clientId
    if (faults.clientKeysAt) {
      const published = await fetch(faults.clientKeysAt)
      return published.ok && (await acceptsAssertion(createLocalJWKSet(await published.json()), form))
    }
    const secrets = faults.clientSecrets ?? [clientSecret]
    if (faults.publicClient)
      return header === undefined && !form.has('client_secret') && form.get('client_id') === clientId
    if (header === undefined)
      return form.get('client_id') === clientId && secrets.includes(form.get('client_secret') ?? '')
    // A client must not use two methods at once (RFC 6749, 2.3).
    if (!header.startsWith('Basic ') || form.has('client_secret')) return false
    const [, id, secret] =
      /^(.*?):(.*)$/s.exec(Buffer.from(header.slice('Basic '.length), 'base64').toString()) ?? []
    const decode = faults.rawCredentials ? (part?: string) => part : formDecoded
    return decode(id) === clientId && secrets.includes(decode(secret) ?? '')
  }

  /** OpenID Connect Core 9. Each assertion is valid once. */
  async function acceptsAssertion(
    key: Uint8Array | JWTVerifyGetKey,
    form: URLSearchParams,
  ): Promise<boolean> {
    const { assertionAlgorithm, assertionAudience = issuer } = faults
    const { payload } = await jwtVerify(
      form.get('client_assertion') ?? '',
      async (header, token) => (typeof key === 'function' ? await key(header, token) : key),
      {
        issuer: provider.clientId,
        subject: provider.clientId,
        audience: assertionAudience,
        requiredClaims: ['exp', 'jti'],
        currentDate: new Date(Date.now()),
        ...(assertionAlgorithm !== undefined && { algorithms: [assertionAlgorithm] }),
      },
    ).catch(() => ({ payload: undefined }))
    if (
      !payload ||
      Array.isArray(payload.aud) ||
      form.has('client_secret') ||
      assertions.has(String(payload.jti))
    )
      return false
    assertions.add(String(payload.jti))
    return form.get('client_assertion_type') === 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
  }

  async function userinfo(request: ReceivedRequest): Promise<JsonAnswer> {
    const [scheme, token = ''] = request.headers.authorization?.split(' ') ?? []
    const proof = scheme === 'DPoP' ? await dpop.check(request, faults.requiresDpop, token) : {}
    if (proof.refused) return proof.refused
    const person = proof.thumbprint === boundTo.get(token) ? accessTokens.get(token) : undefined
    if (person && faults.encrypts === 'userinfo') {
      const jwe = await encrypted(await keys.sign({ ...person }, faults))
      return { headers: { 'Content-Type': 'application/jwt' }, body: jwe }
    }
    if (person) return { body: { ...person, ...faults.userinfoClaims } }
    return { status: 401, headers: { 'WWW-Authenticate': 'Bearer error="invalid_token"' }, body: {} }
  }

  function deliver(res: ServerResponse, endpoint: Endpoint, answer: JsonAnswer): void {
    const raw = faults[`${endpoint}Response`] ?? {}
    const json = typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body)
    const headers = { 'Content-Type': 'application/json', ...answer.headers, ...raw.headers }
    const head = (more = {}) => res.writeHead(raw.status ?? answer.status ?? 200, { ...headers, ...more })
    const how = deliveries.find(([name]) => faults[`${endpoint}${name}`])
    if (how) how[1](res, head, json)
    else head().end(raw.body ?? json)
  }

  return provider
}

export interface JsonAnswer {
  status?: number
  headers?: OutgoingHttpHeaders
  /** as JSON; a string is sent unchanged */
  body: object | string
}

async function encrypted(token: string): Promise<string> {
  const header = { alg: 'dir', enc: 'A256GCM', cty: 'JWT' } as const
  return await new CompactEncrypt(Buffer.from(token)).setProtectedHeader(header).encrypt(randomBytes(32))
}

async function received(req: IncomingMessage): Promise<ReceivedRequest> {
  const url = new URL(req.url ?? '/', 'http://here')
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return {
    method: req.method ?? '',
    path: url.pathname,
    query: url.searchParams,
    headers: req.headers,
    body: Buffer.concat(chunks).toString(),
  }
}

/** Keycloak's words. */
const onlyPushed = {
  error: 'invalid_request',
  error_description: 'Pushed Authorization Request is only allowed.',
}

function methodOf(header: string | undefined, form: URLSearchParams): RegisteredMethod {
  if (header !== undefined) return 'client_secret_basic'
  if (form.has('client_secret')) return 'client_secret_post'
  const [encoded = ''] = (form.get('client_assertion') ?? '').split('.')
  if (encoded === '') return 'none'
  const { alg } = JSON.parse(Buffer.from(encoded, 'base64url').toString()) as { alg: string }
  return alg.startsWith('HS') ? 'client_secret_jwt' : 'private_key_jwt'
}

/** An error page like Keycloak's. */
function errorPage(message: string): string {
  return `<!doctype html><html><head><title>Sign in to acme</title><style>p { color: red }</style></head><body>
<h1>We are sorry...</h1><p>${escapeHtml(message)}</p><script>document.title = 'x'</script></body></html>`
}

/** The error of a strict provider for this authorization request, if any. */
function requestError(
  query: URLSearchParams,
  faults: Faults,
): { error: string; error_description: string } | undefined {
  const refuse = (error_description: string) => ({ error: 'invalid_request', error_description })
  if (faults.refusesMaxAge && query.has('max_age')) return refuse('max_age is not supported')
  if (faults.refusesPromptLogin && query.get('prompt') === 'login') return refuse('prompt is not supported')
  if (query.get('response_type') !== 'code') return refuse('response_type must be code')
  if (!query.get('scope')?.split(' ').includes('openid')) return refuse('scope must contain openid')
  if (query.get('code_challenge_method') !== 'S256') return refuse('code_challenge_method must be S256')
  if (!/^[\w-]{43}$/.test(query.get('code_challenge') ?? ''))
    return refuse('code_challenge is not an S256 one')
  if (!['query', 'form_post'].includes(query.get('response_mode') ?? 'query'))
    return refuse('response_mode must be query or form_post')
  // OpenID Connect Core 3.1.2.6: this provider has no pages, but also no session.
  if (query.get('prompt') === 'none')
    return { error: 'login_required', error_description: 'Nobody is signed in.' }
  return undefined
}

function formDecoded(part = ''): string | undefined {
  try {
    return decodeURIComponent(part.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

function selfPostingForm(action: string, parameters: [string, string][]): string {
  const inputs = parameters.map(
    ([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`,
  )
  return `<!doctype html><title>Continue</title>
<form method="post" action="${escapeHtml(action)}">${inputs.join('')}<button>Continue</button></form>
<script>document.forms[0].submit()</script>`
}

const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

function logout(query: URLSearchParams, res: ServerResponse): void {
  const back = query.get('post_logout_redirect_uri')
  if (!back) {
    res.writeHead(200).end('Signed out.')
    return
  }
  const target = new URL(back)
  if (query.has('state')) target.searchParams.set('state', query.get('state') ?? '')
  res.writeHead(302, { Location: target.href }).end()
}

function showFrames(urls: string[], res: ServerResponse): void {
  const frames = urls.map((address) => `<iframe src="${escapeHtml(address)}"></iframe>`)
  res
    .writeHead(200, { 'Content-Type': 'text/html' })
    .end(`<!doctype html><title>Signed out</title>${frames.join('')}`)
}

type Head = (more?: OutgoingHttpHeaders) => ServerResponse

const megabyte = Buffer.alloc(1024 * 1024, 'x')

const deliveries: [Delivery, (res: ServerResponse, head: Head, json: string) => void][] = [
  ['Hang', () => {}],
  ['Trickle', (_res, head) => trickle(head())],
  // Valid JSON without a Content-Length, so the portal must count the bytes.
  ['Huge', (_res, head, json) => Readable.from(swollen(json)).pipe(head())],
  ['Bomb', (_res, head, json) => bomb(head({ 'Content-Encoding': 'gzip' }), json)],
  ['Endless', (_res, head) => Readable.from(endless()).pipe(head())],
  ['Drop', (res) => res.destroy()],
  ['Midway', (res, head, json) => head().write(json.slice(0, -1), () => res.destroy())],
  ['Informed', (res, head, json) => res.writeEarlyHints({ link: '</x>; rel=x' }, () => head().end(json))],
  ['Headers', (_res, head, json) => head({ 'X-Padding': 'x'.repeat(100_000) }).end(json)],
]

/** White space before a JSON value is valid, so only a time limit can stop this. */
function trickle(res: ServerResponse): void {
  const drip = setInterval(() => res.write(' '), 50)
  res.once('close', () => clearInterval(drip))
}

function* swollen(json: string): Generator<Buffer> {
  yield Buffer.from(`${json.slice(0, -1)},"padding":"`)
  for (let megabytes = 0; megabytes < 11; megabytes++) yield megabyte
  yield Buffer.from('"}')
}

function* endless(): Generator<Buffer> {
  for (;;) yield megabyte
}

/** A few KB that decompress to 11 MB. */
function bomb(res: ServerResponse, json: string): void {
  Readable.from(swollen(json)).pipe(createGzip()).pipe(res)
}
