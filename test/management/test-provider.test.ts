import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import type { Check } from '../../lib/providers/provider.ts'
import { Locales } from '../../lib/web/locale.ts'
import { type Faults, type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  portal = await startPortal()
})
afterEach(() => portal.close())

type Lines = Record<string, Check>

/** Runs the connection test and returns the checks by name. */
async function testUnsaved(settings: Partial<ProviderInput> = {}): Promise<Lines> {
  const { issuer, clientId, clientSecret } = provider
  // Without a domain, each test has a warning.
  const emailDomains = ['example.com']
  const input = { slug: 'acme', issuer, clientId, clientSecret, emailDomains, ...settings }
  const { ok, checks } = await portal.sso.providers.testUnsaved(input)
  expect(ok).toBe(checks.every(({ result }) => result !== 'failed'))
  // Nothing is saved, whatever the result.
  expect(await portal.sso.providers.list()).toEqual([])
  for (const { result, hint } of checks)
    expect([result, hint !== undefined]).toEqual([result, result === 'warning' || result === 'failed'])
  return Object.fromEntries(checks.map((check) => [check.name, check]))
}

const named = (lines: Lines, result: Check['result']) =>
  Object.values(lines)
    .filter((check) => check.result === result)
    .map(({ name }) => name)
const tokenRequests = () => provider.requests.filter(({ path }) => path === '/token')

describe('a test of a provider', () => {
  it('lists every check, and all pass for a valid provider', async () => {
    const lines = await testUnsaved()
    expect(Object.keys(lines)).toEqual([
      'reached',
      'issuer',
      'flow',
      'signing',
      'keys',
      'authentication',
      'credentials',
      'authorization',
      'pkce',
      'userinfo',
      'logout',
      'back-channel',
      'vouching',
      'clock',
    ])
    expect(named(lines, 'absent')).toEqual(['back-channel'])
    expect(named(lines, 'ok')).toHaveLength(13)
  })

  it.each<
    [what: string, faults: Faults, settings: () => Partial<ProviderInput>, failed: string, says: RegExp]
  >([
    [
      'a wrong client secret',
      { clientSecrets: ['x'] },
      () => ({}),
      'credentials',
      /: the client secret is wrong or has expired, or .* another authentication method \(status 401, invalid_client\)$/,
    ],
    [
      'a wrong client ID',
      {},
      () => ({ clientId: 'another-client' }),
      'credentials',
      /does not accept the client: the client ID is unknown to the provider \(status 401, invalid_client\)/,
    ],
    [
      'a wrong issuer',
      { discovery: { issuer: 'https://other.example' } },
      () => ({}),
      'issuer',
      /names another issuer: "https:\/\/other\.example"/,
    ],
    [
      'an HS256-only provider',
      { discovery: { id_token_signing_alg_values_supported: ['HS256'] } },
      () => ({}),
      'signing',
      /does not announce an asymmetric algorithm for ID tokens, only HS256/,
    ],
    [
      'a dead host',
      {},
      () => ({ issuer: 'http://127.0.0.1:1' }),
      'reached',
      /127\.0\.0\.1:1 did not respond/,
    ],
    ['a host without TLS', {}, () => ({ issuer: 'http://id.example' }), 'reached', /is not https/],
    [
      'a private address',
      {},
      () => ({ issuer: 'https://10.0.0.1' }),
      'reached',
      /: https:\/\/10\.0\.0\.1 did not respond: .*10\.0\.0\.1 is not public/,
    ],
    [
      'a host that redirects to another',
      { discoveryResponse: { status: 302, headers: { location: 'https://other.example/' }, body: '' } },
      () => ({}),
      'reached',
      /redirects to another origin/,
    ],
    [
      'a page instead of a document',
      { discoveryResponse: { headers: { 'Content-Type': 'text/html' }, body: '<html>' } },
      () => ({}),
      'reached',
      /openid-configuration responded with text\/html instead of JSON: is a part of the path missing\?$/,
    ],
    [
      'no usable keys',
      { jwksResponse: { body: '{"keys":[]}' } },
      () => ({}),
      'keys',
      /no usable key for RS256/,
    ],
    [
      'no method in common',
      { discovery: { token_endpoint_auth_methods_supported: ['tls_client_auth'] } },
      () => ({}),
      'authentication',
      /only tls_client_auth/,
    ],
    [
      'no algorithm in common for private_key_jwt',
      {
        discovery: {
          token_endpoint_auth_methods_supported: ['private_key_jwt'],
          token_endpoint_auth_signing_alg_values_supported: ['HS256'],
        },
      },
      () => ({}),
      'authentication',
      /none of our algorithms for private_key_jwt, only HS256/,
    ],
    ['a token endpoint that hangs up', { tokenDrop: true }, () => ({}), 'credentials', /cannot be reached/],
    [
      'tokens for a made-up code',
      { tokenResponse: { status: 200, body: '{"access_token":"a","id_token":"b"}' } },
      () => ({}),
      'credentials',
      /issues tokens for an invented code/,
    ],
    [
      'a wrong secret at Keycloak',
      { clientSecrets: ['x'], likeKeycloak: true },
      () => ({}),
      'credentials',
      /status 401, unauthorized_client/,
    ],
  ])('fails one check for %s, and saving fails with its message', async (...row) => {
    const [, faults, settings, failed, says] = row
    Object.assign(provider.faults, faults)
    const lines = await testUnsaved(settings())
    expect(named(lines, 'failed')).toEqual([failed])
    expect(lines[failed]!.message).toMatch(says)
    const error: unknown = await portal.connect(provider, settings()).catch((thrown: unknown) => thrown)
    expect((error as Error).message).toBe(`${lines[failed]!.message} – ${lines[failed]!.hint}`)
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it.each<[what: string, faults: Faults, warned: string]>([
    ['the response is a page', { tokenResponse: { status: 200, body: '<html>' } }, 'credentials'],
    ['the provider is overloaded', { tokenResponse: { status: 503, body: 'later' } }, 'credentials'],
    [
      'the provider refuses the request before it authenticates the client',
      { tokenError: { body: { error: 'invalid_request' } } },
      'credentials',
    ],
  ])('warns if %s', async (_what, faults, warned) => {
    Object.assign(provider.faults, faults)
    const lines = await testUnsaved()
    expect([named(lines, 'failed'), named(lines, 'warning')]).toEqual([[], [warned]])
  })

  it.each<[what: string, faults: Faults, check: string]>([
    ['PKCE is not announced', { noPkceInMetadata: true }, 'pkce'],
    ['UserInfo is not announced', { discovery: { userinfo_endpoint: undefined } }, 'userinfo'],
    ['logout is not announced', { discovery: { end_session_endpoint: undefined } }, 'logout'],
    [
      'no response has a Date header',
      {
        discoveryResponse: { headers: { date: '' } },
        jwksResponse: { headers: { date: '' } },
        tokenResponse: { headers: { date: '' } },
      },
      'clock',
    ],
  ])('shows neither ✓ nor a warning if %s', async (_what, faults, check) => {
    Object.assign(provider.faults, faults)
    const lines = await testUnsaved()
    expect([named(lines, 'failed'), named(lines, 'warning')]).toEqual([[], []])
    expect(named(lines, 'absent')).toContain(check)
  })

  it.each<[settings: Partial<ProviderInput>, result: string, message: string]>([
    [{}, 'ok', 'it vouches for verified addresses (email_verified) of @example.com only'],
    [{ trustsEmail: true }, 'ok', 'it vouches for addresses of @example.com only'],
    [{ emailClaim: 'upn' }, 'ok', 'it vouches for nobody: users confirm their address with a code'],
    [
      { emailDomains: [] },
      'warning',
      'it vouches for every verified address (email_verified); there is no domain limit, so anyone who can verify an address there can sign in as its owner',
    ],
    [
      { emailDomains: [], trustsEmail: true },
      'warning',
      'it vouches for every address; there is no domain limit, so anyone who can set an address there can sign in as its owner',
    ],
  ])('says for whom it vouches with %j', async (settings, result, message) => {
    expect((await testUnsaved(settings)).vouching).toMatchObject({ result, message })
  })

  it('requests tokens once, with an invented code and verifier', async () => {
    await testUnsaved()
    const [request, ...more] = tokenRequests()
    expect(more).toEqual([])
    const form = new URLSearchParams(request!.body)
    expect(form.get('code')).toMatch(/^[\w-]{43}$/)
    expect(form.get('code_verifier')).toMatch(/^[\w-]{43}$/)
    expect(form.get('redirect_uri')).toBe(portal.sso.providers.redirectUri('acme'))
  })

  it.each<[what: string, faults: Faults]>([
    ['names another issuer', { discovery: { issuer: 'https://other.example' } }],
    [
      'supports none of our methods',
      { discovery: { token_endpoint_auth_methods_supported: ['tls_client_auth'] } },
    ],
  ])('sends no secret to a provider that %s', async (_what, faults) => {
    Object.assign(provider.faults, faults)
    expect(await testUnsaved()).not.toHaveProperty('credentials')
    expect(tokenRequests()).toEqual([])
  })

  it('shows no secret that a provider quotes, and limits the length of its messages', async () => {
    const { clientSecret } = provider
    provider.faults.clientSecrets = ['x']
    provider.faults.tokenResponse = {
      status: 401,
      body: JSON.stringify({ error: clientSecret, error_description: `AADSTS7000215: not ${clientSecret}` }),
    }
    provider.faults.discovery = { id_token_signing_alg_values_supported: Array(1000).fill('H\u001b[2J') }
    const lines = await testUnsaved()
    expect(lines.credentials!.message).toContain('(status 401, "AADSTS7000215: not …")')
    expect(JSON.stringify(lines)).not.toContain(clientSecret)
    expect(lines.signing!.message).toHaveLength(500)
    expect(JSON.stringify(lines)).not.toContain('\\u001b[')
  })

  it.each<[member: string, value: unknown, warned: string[]]>([
    ['code_challenge_methods_supported', 5, []],
    ['code_challenge_methods_supported', {}, []],
    ['code_challenge_methods_supported', [{ toString: 1 }, 'S256'], []],
    ['prompt_values_supported', [{ toString: 1 }], []],
  ])('works with the metadata member %s set to %j', async (member, value, warned) => {
    provider.faults.discovery = { [member]: value }
    const lines = await testUnsaved()
    expect([named(lines, 'failed'), named(lines, 'warning')]).toEqual([[], warned])
  })

  it.each<[member: string, failed: string]>([
    ['response_types_supported', 'flow'],
    ['id_token_signing_alg_values_supported', 'signing'],
    ['token_endpoint_auth_methods_supported', 'authentication'],
  ])('fails one check if %s holds an object that cannot be converted to a string', async (member, failed) => {
    provider.faults.discovery = { [member]: [{ toString: 1 }] }
    expect(named(await testUnsaved(), 'failed')).toEqual([failed])
  })

  it.each([
    [0, 'ok', 'the clocks agree'],
    [-20, 'ok', 'the clocks agree'],
    [100, 'warning', /clock is (99|100|101) s ahead of ours/],
    [-100, 'warning', /clock is (99|100|101) s behind ours/],
    [-3600, 'failed', /clock is 3,\d\d\d s behind ours; up to 30 s are tolerated/],
  ])('detects a clock that is %d seconds off: %s', async (seconds, result, message) => {
    const headers = { date: new Date(Date.now() + seconds * 1000).toUTCString() }
    Object.assign(provider.faults, {
      discoveryResponse: { headers },
      jwksResponse: { headers },
      tokenResponse: { headers },
    } satisfies Faults)
    const { clock } = await testUnsaved()
    expect(clock).toMatchObject({ result })
    expect(clock!.message).toMatch(message)
  })

  it('does not mistake a cached document for a slow clock', async () => {
    provider.faults.discoveryResponse = { headers: { date: 'Tue, 01 Jan 2019 00:00:00 GMT' } }
    expect((await testUnsaved()).clock).toMatchObject({ result: 'ok' })
  })

  it('does not block sign-ins when it fails repeatedly', async () => {
    await portal.connect(provider)
    provider.faults.tokenDrop = true
    for (let n = 0; n < 6; n++) expect((await portal.sso.providers.test('acme')).ok).toBe(false)
    delete provider.faults.tokenDrop
    const before = tokenRequests().length
    await new Visitor().open(`${portal.url}/login/acme`)
    expect(tokenRequests().length).toBe(before + 1)
  })

  it.each([
    ['http://id.example', /: der Issuer http:\/\/id\.example verwendet kein https/, /Issuer mit https/],
    ['https://10.0.0.1', /: die Adresse 10\.0\.0\.1 ist nicht öffentlich$/, /erlauben Sie sie/],
    ['http://127.0.0.1:1', /: http:\/\/127\.0\.0\.1:1 hat nicht geantwortet: /, /^rufen Sie/],
  ])('says in the language of the administrator why %s cannot be read', async (issuer, message, hint) => {
    const { reached } = await testUnsaved({ issuer })
    const { say } = new Locales(
      { cookieName: String, secure: false },
      { locales: {}, defaultLocale: 'de' },
    ).resolveForAdmin()
    expect(say(reached!.phrases!.message!)).toMatch(message)
    expect(say(reached!.phrases?.hint ?? reached!.hint!)).toMatch(hint)
  })

  it('is stored in the row without a new version, with the parts from which pages translate it', async () => {
    await portal.connect(provider)
    const [before] = await portal.sso.providers.list()
    provider.faults.clientSecrets = ['exchanged at the provider']
    provider.faults.tokenError = {
      status: 401,
      body: { error: 'invalid_client', error_description: '\u202e' },
    }
    const { ok, checks } = await portal.sso.providers.test('acme')
    expect(ok).toBe(false)
    const [after] = await portal.sso.providers.list()
    expect(after).toEqual({ ...before, lastTest: { at: expect.any(String), checks } })
    const { say } = new Locales(
      { cookieName: String, secure: false },
      { locales: {}, defaultLocale: 'en' },
    ).resolve()
    for (const { phrases = {}, message, hint } of after!.lastTest!.checks)
      expect([say(phrases.message ?? message), hint && say(phrases.hint ?? hint)]).toEqual([message, hint])
    const { values } = after!.lastTest!.checks.find(({ name }) => name === 'credentials')!.phrases!.message!
    expect(values).toEqual({ cause: expect.anything(), detail: 'status 401, invalid_client, "\\u{202e}"' })
  })

  it.each<[what: string, faults: Faults, settings: Partial<ProviderInput>, result: string, message: RegExp]>([
    ['supports them', { pushedRequests: 'supported' }, {}, 'absent', /which you can turn on here$/],
    [
      'supports them, and the setting is on',
      { pushedRequests: 'supported' },
      { pushedRequests: true },
      'ok',
      /^authorization requests are pushed \(PAR\)$/,
    ],
    ['requires them', { pushedRequests: 'required' }, {}, 'ok', /pushed \(PAR\), as the provider requires$/],
    [
      'lacks them, and the setting is on',
      {},
      { pushedRequests: true },
      'failed',
      /no https endpoint for them/,
    ],
    [
      'requires them at an address that is not https',
      {
        pushedRequests: 'required',
        discovery: { pushed_authorization_request_endpoint: 'http://id.acme.com' },
      },
      {},
      'failed',
      /no https endpoint for them/,
    ],
  ])('reports pushed authorization requests if the provider %s', async (_what, faults, settings, ...line) => {
    Object.assign(provider.faults, faults)
    const [result, message] = line
    const { par } = await testUnsaved(settings)
    expect(par).toMatchObject({ result, message: expect.stringMatching(message) })
  })

  it.each<[what: string, faults: Faults, result: string, message: RegExp]>([
    ['works', {}, 'ok', /accepts the client, the redirect URI and the scopes/],
    [
      'has an unregistered redirect URI',
      { redirectUris: ['https://portal.example.com'] },
      'warning',
      /the redirect URI is not registered at the provider \(status 400, "invalid_request: Invalid parameter/,
    ],
    ['is not answered', { parDrop: true }, 'absent', /cannot be pushed/],
    [
      'is refused with our secret in the message',
      {
        parResponse: {
          status: 400,
          body: JSON.stringify({
            error: 'invalid_scope',
            error_description: 'of a secret+with/odd:characters-&%',
          }),
        },
      },
      'warning',
      /may not request the scopes .*"invalid_scope: of …"/,
    ],
  ])('reports whether a pushed request %s', async (_what, faults, result, message) => {
    Object.assign(provider.faults, { pushedRequests: 'required', ...faults })
    const { authorization } = await testUnsaved()
    expect(authorization).toMatchObject({ result, message: expect.stringMatching(message) })
    const pushes = provider.requests.filter(({ path }) => path === '/par')
    expect(pushes.map(({ body }) => new URLSearchParams(body).get('prompt'))).toEqual(['none'])
  })

  it('reports whether the provider announces DPoP, if the setting is on', async () => {
    expect(await testUnsaved()).not.toHaveProperty('dpop')
    expect((await testUnsaved({ dpop: true })).dpop).toMatchObject({
      result: 'warning',
      message: 'the provider does not announce DPoP with ES256',
    })
    provider.faults.requiresDpop = true
    expect((await testUnsaved({ dpop: true })).dpop).toMatchObject({ result: 'ok' })
  })

  it.each([
    ['invalid_request', 'DPoP proof is missing'],
    ['invalid_dpop_proof', 'The DPoP proof JWT header is missing.'],
    ['use_dpop_nonce', 'Authorization server requires nonce in DPoP proof.'],
  ])('names DPoP if the token endpoint demands it with %s', async (error, error_description) => {
    provider.faults.tokenError = { body: { error, error_description } }
    const lines = await testUnsaved()
    expect(lines.dpop).toMatchObject({
      result: 'warning',
      message: expect.stringMatching(/requires tokens .*DPoP/),
    })
    expect(lines.credentials).toMatchObject({ result: 'ok' })
  })

  it.each<[what: string, metadata: object, message: string | undefined]>([
    ['nothing special', { id_token_encryption_alg_values_supported: [] }, undefined],
    [
      'encryption',
      {
        id_token_encryption_alg_values_supported: ['RSA-OAEP'],
        userinfo_encryption_alg_values_supported: ['RSA-OAEP'],
      },
      'not supported here: encrypted ID tokens, encrypted UserInfo responses; leave them off for this client',
    ],
    [
      'Mutual TLS',
      { token_endpoint_auth_methods_supported: ['client_secret_basic', 'self_signed_tls_client_auth'] },
      'not supported here: Mutual TLS; leave them off for this client',
    ],
    [
      'tokens that are bound to a certificate',
      { tls_client_certificate_bound_access_tokens: true },
      'not supported here: Mutual TLS; leave them off for this client',
    ],
  ])('names what is not supported, if the provider offers %s', async (_what, metadata, message) => {
    provider.faults.discovery = { ...metadata }
    const { unsupported } = await testUnsaved()
    expect(unsupported && { ...unsupported, phrases: undefined }).toEqual(
      message && { name: 'unsupported', result: 'absent', message },
    )
  })

  it('says that Mutual TLS is not supported, if the provider has no other method', async () => {
    provider.faults.discovery = { token_endpoint_auth_methods_supported: ['tls_client_auth'] }
    expect((await testUnsaved()).authentication).toMatchObject({
      result: 'failed',
      hint: 'Mutual TLS is not supported: enable another method for this client at the provider',
    })
  })
})
