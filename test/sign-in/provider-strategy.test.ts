import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import type { Request } from 'express'
import { createHttpClients, type HttpClients } from '../../lib/oidc/http-client.ts'
import { createProviderClient } from '../../lib/oidc/provider-client.ts'
import { Seal } from '../../lib/shared/seal.ts'
import type { Attempt, Attempts } from '../../lib/sign-in/attempts.ts'
import { ProviderStrategy } from '../../lib/sign-in/provider-strategy.ts'
import type { Faults } from '../support/faulty-provider.ts'
import type { SigningFaults } from '../support/faulty-signing.ts'
import { type TestPortal, testSecret } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  portal = await startPortalWithAda(provider, { rateLimits: false })
})
afterAll(async () => {
  await portal.close()
})
beforeEach(() => {
  portal.logs.length = 0
  visitor = new Visitor()
})

/** The parameters of the authorization request. */
async function authorizationRequest(slug = 'acme', query = ''): Promise<Record<string, string>> {
  const { location } = await visitor.get(`${portal.url}/login/${slug}${query}`)
  return Object.fromEntries(new URL(location!).searchParams)
}

async function signIn(slug = 'acme'): Promise<Seen> {
  return await visitor.open(`${portal.url}/login/${slug}?returnTo=/portal`)
}

const causes = () => portal.logs.map(({ fields }) => fields.cause).join('\n')

function expectRefusal(seen: Seen, status: number, code: string, cause: RegExp): void {
  expect([seen.status, portal.logs.map(({ fields }) => fields.code)]).toEqual([status, [code]])
  expect(causes()).toMatch(cause)
}

describe('the request that a sign-in starts with', () => {
  it('contains our own parameters and nothing else', async () => {
    const text = expect.stringMatching(/^[\w-]{43}$/)
    expect(await authorizationRequest()).toEqual({
      response_type: 'code',
      client_id: provider.clientId,
      redirect_uri: `${portal.url}/login/acme/callback`,
      scope: 'openid email profile',
      state: expect.stringMatching(/^[a-z0-9]{6}-[\w-]{32}$/),
      nonce: text,
      code_challenge: text,
      code_challenge_method: 'S256',
    })
  })

  it('contains the parameters that the row adds', async () => {
    const authorizationParameters = { domain_hint: 'acme.example', ui_locales: 'de' }
    await portal.connect(provider, {
      slug: 'hinted',
      authorizationParameters,
      prompt: 'consent',
      responseMode: 'form_post',
    })
    expect(await authorizationRequest('hinted')).toMatchObject({
      ...authorizationParameters,
      prompt: 'consent',
      response_mode: 'form_post',
    })
  })

  it('cannot be weakened by a row, even if an attacker wrote it', async () => {
    const evil = {
      ...{
        state: 'evil',
        nonce: 'evil',
        scope: 'evil',
        client_id: 'evil',
        redirect_uri: 'https://evil.example',
      },
      ...{ response_type: 'evil', code_challenge: 'evil', code_challenge_method: 'plain', request: 'evil' },
    }
    await portal.connect(provider, { slug: 'weakened' })
    await portal
      .knex('sso_providers')
      .where({ slug: 'weakened' })
      .update({ authorization_parameters: JSON.stringify({ ...evil, harmless: 'yes' }) })
    const sent = await authorizationRequest('weakened')
    expect(sent.harmless).toBe('yes')
    expect(sent).not.toHaveProperty('request')
    expect(Object.values(sent).filter((value) => /evil|plain/.test(value))).toEqual([])
  })

  it.each([
    ['no prompts', undefined, 'login'],
    ['prompts without that one', ['none', 'login'], 'login'],
    ['one that lets the person choose', ['login', 'select_account'], 'select_account'],
    ['prompts in a text', 'select_account', 'login'],
  ])('for another account asks a provider that knows %s for what it has', async (_what, known, prompt) => {
    const slug = `prompts-${String(known).replace(/\W|_/g, '-')}`
    provider.faults.discovery = { prompt_values_supported: known, end_session_endpoint: undefined }
    await portal.connect(provider, { slug })
    expect((await authorizationRequest(slug, '?account=other')).prompt).toBe(prompt)
    expect((await authorizationRequest(slug, '?account=mine')).prompt).toBeUndefined()
  })

  it('for another account uses the prompt of the preset or the row if the provider announces none', async () => {
    await portal.connect(provider, { slug: 'google', preset: 'google' })
    expect((await authorizationRequest('google', '?account=other')).prompt).toBe('select_account')
    provider.faults.discovery = { prompt_values_supported: ['login'], end_session_endpoint: undefined }
    await portal.connect(provider, { slug: 'google-only-login', preset: 'google' })
    expect((await authorizationRequest('google-only-login', '?account=other')).prompt).toBe('login')
    provider.faults.discovery = { prompt_values_supported: ['login', 'select_account'] }
    await portal.connect(provider, { slug: 'anew', prompt: 'login' })
    expect((await authorizationRequest('anew', '?account=other')).prompt).toBe('login')
    await portal.connect(provider, { slug: 'agreeing', prompt: 'consent' })
    expect((await authorizationRequest('agreeing', '?account=other')).prompt).toBe('select_account')
  })

  it('contains the required re-authentication', async () => {
    const recent = await authorizationRequest('acme', '?max_age=0')
    expect(recent).toMatchObject({ max_age: '0' })
    expect(recent).not.toHaveProperty('prompt')
    const strong = await authorizationRequest('acme', '?acr_values=mfa+phr')
    expect(strong).toMatchObject({ acr_values: 'mfa phr' })
    for (const name of ['max_age', 'prompt']) expect(strong).not.toHaveProperty(name)
    // Without `max_age`, which one provider answers with 500 beside `prompt=login`.
    await portal.connect(provider, { slug: 'without-logout', logout: 'portal' })
    const other = await authorizationRequest('without-logout', '?max_age=900&account=other')
    expect(other.prompt).toBe('login')
    expect(other).not.toHaveProperty('max_age')
  })

  it('contains the login hint, unless the user has to choose an account', async () => {
    expect((await authorizationRequest('acme', '?login_hint=ada')).login_hint).toBe('ada')
    expect(await authorizationRequest('acme', '?login_hint=ada&account=other')).not.toHaveProperty(
      'login_hint',
    )
    await portal.connect(provider, { slug: 'choosing', prompt: 'select_account' })
    expect(await authorizationRequest('choosing', '?login_hint=ada')).not.toHaveProperty('login_hint')
  })

  it.each(['code=stolen', 'error=access_denied', 'code=', 'error='])(
    'refuses the parameters of an authorization response: %s',
    async (query) => {
      const seen = await visitor.get(`${portal.url}/login/acme?${query}`)
      expectRefusal(
        seen,
        400,
        'request_invalid',
        /an authorization response was sent to the start of a sign-in/,
      )
      expect(provider.requests).toEqual([])
    },
  )
})

describe('an attempt', () => {
  /** Changes the sealed attempt of this browser, which requires the portal's secret. */
  async function signInWith(changes: object): Promise<Seen> {
    const { location } = await visitor.get(`${portal.url}/login/acme?returnTo=/portal`)
    const seal = new Seal([testSecret], 'attempt')
    const jar = visitor.cookies.get(portal.url)!
    for (const [name, sealed] of [...jar]) {
      const context = `${name} ${portal.url}`
      const opened = (await seal.open(sealed, context)) as { value: { attempt: object; until: number } }
      Object.assign(opened.value.attempt, changes)
      jar.set(name, await seal.close(opened, context))
    }
    return await visitor.open(location!)
  }

  it('is accepted if it is unchanged', async () => {
    expect((await signInWith({})).url).toBe(`${portal.url}/portal`)
  })

  it.each([{ portal: 'another portal' }, { providerId: 'another provider' }])(
    'is refused with %j (mix-up)',
    async (changes) => {
      expectRefusal(
        await signInWith(changes),
        400,
        'response_invalid',
        /belongs to another provider \(mix-up\)/,
      )
      expect(provider.requests.filter(({ path }) => path === '/token')).toEqual([])
    },
  )

  it('is refused for another version of the row', async () => {
    expectRefusal(
      await signInWith({ version: 7 }),
      409,
      'provider_changed',
      /changed after the attempt began/,
    )
    expect(provider.requests.filter(({ path }) => path === '/token')).toEqual([])
  })

  it('is refused with another nonce', async () => {
    expectRefusal(await signInWith({ nonce: 'x' }), 400, 'response_invalid', /nonce/)
  })

  it('is refused with another verifier', async () => {
    expectRefusal(
      await signInWith({ codeVerifier: 'x'.repeat(43) }),
      400,
      'response_invalid',
      /invalid_grant/,
    )
  })
})

it.each([
  ['that is empty', ''],
  ['outside of ASCII', 'cödé'],
  ['with a line break', 'a\r\nb'],
])(
  'a code %s is not sent to the provider: an attacker who makes the provider hang up could block it for all users',
  async (_what, code) => {
    const { state } = await authorizationRequest()
    const answer = { state: state!, iss: provider.issuer, code }
    const seen = await visitor.post(`${portal.url}/login/acme/callback`, answer)
    expectRefusal(seen, 400, 'response_malformed', /the code is/)
    expect(provider.requests.filter(({ path }) => path === '/token')).toEqual([])
  },
)

describe('UserInfo of a new identity', () => {
  const asksUserInfo = () => provider.requests.some(({ path }) => path === '/userinfo')

  beforeEach(async () => void (await portal.knex('sso_identities').delete()))

  it('is requested if the token has no address', async () => {
    provider.faults.claimsInUserinfoOnly = true
    expect((await signIn()).url).toBe(`${portal.url}/portal`)
    expect(asksUserInfo()).toBe(true)
  })

  it('is not requested if the token has one', async () => {
    expect((await signIn()).url).toBe(`${portal.url}/portal`)
    expect(asksUserInfo()).toBe(false)
  })

  it('is not requested from a provider without the endpoint, so the user has no address', async () => {
    provider.faults.sparseDiscovery = true
    provider.faults.claimsInUserinfoOnly = true
    provider.person = { ...provider.person, sub: 'without an address' }
    await portal.connect(provider, { slug: 'sparse' })
    expect((await signIn('sparse')).url).not.toBe(`${portal.url}/portal`)
    expect(asksUserInfo()).toBe(false)
    expect(causes()).not.toMatch(/userinfo|response_invalid/i)
  })

  it.each(['\u0000token', 'to\nken', 'token\u00e4'])(
    'is not requested with an access token like %j',
    async (text) => {
      provider.faults.claimsInUserinfoOnly = true
      provider.faults.tokenAnswer = { access_token: text }
      expectRefusal(await signIn(), 403, 'email_unverified', /the access token is not in ASCII/)
      expect(asksUserInfo()).toBe(false)
    },
  )

  it('must have the same subject', async () => {
    provider.faults.claimsInUserinfoOnly = true
    provider.faults.userinfoClaims = { sub: 'grace' }
    expectRefusal(await signIn(), 400, 'response_invalid', /sub/)
  })

  it('confirms the address of the ID token, as at Okta', async () => {
    provider.faults.claims = { email_verified: undefined }
    expect((await signIn()).url).toBe(`${portal.url}/portal`)
    expect(asksUserInfo()).toBe(true)
  })

  it.each([
    ['another address', { email: 'grace@example.com' }],
    ['an address that is not verified', { email_verified: false }],
    ['no address', { email: undefined }],
  ])('does not confirm it with %s', async (_what, userinfoClaims) => {
    provider.faults.claims = { email_verified: undefined }
    provider.faults.userinfoClaims = userinfoClaims
    expectRefusal(await signIn(), 403, 'email_unverified', /does not vouch/)
    expect(asksUserInfo()).toBe(true)
  })

  it('is not requested if the ID token says that the address is not verified', async () => {
    provider.faults.claims = { email_verified: false }
    expectRefusal(await signIn(), 403, 'email_unverified', /does not vouch/)
    expect(asksUserInfo()).toBe(false)
  })

  it.each([
    ['in UserInfo', { organisation: 'acme' }, 200],
    ['nowhere', {}, 403],
  ])('is requested if the organisation is missing, which is %s', async (_where, userinfoClaims, status) => {
    const organization = { organizationClaim: 'organisation', organizationValues: ['acme'] }
    await portal.sso.providers.update('acme', organization)
    provider.faults.userinfoClaims = userinfoClaims
    expect((await signIn()).status).toBe(status)
    expect(asksUserInfo()).toBe(true)
    await portal.sso.providers.update('acme', { organizationClaim: null, organizationValues: null })
  })

  it.each<[what: string, settings: object, announced: string[], faults: SigningFaults, status: number]>([
    ['an announced algorithm', {}, ['RS256', 'ES256'], { alg: 'ES256' }, 200],
    ['one that is not announced', {}, ['RS256'], { alg: 'ES256' }, 400],
    ['an HMAC that is announced', {}, ['HS256', 'RS256'], { alg: 'HS256-client-secret' }, 400],
    ['the one of the settings', { signingAlgorithm: 'RS256' }, ['RS256', 'ES256'], {}, 200],
    [
      'another one than in the settings',
      { signingAlgorithm: 'RS256' },
      ['RS256', 'ES256'],
      { alg: 'ES256' },
      400,
    ],
    ['a key that is not published', {}, ['RS256'], { kid: 'unknown' }, 400],
  ])('may be signed with %s', async (_what, settings, announced, faults, status) => {
    provider.faults.discovery = { userinfo_signing_alg_values_supported: announced }
    await portal.sso.providers.update('acme', { signingAlgorithm: null, ...settings })
    await portal.sso.providers.enable('acme')
    const { issuer: iss, clientId: aud, person } = provider
    const body = await provider.sign({ iss, aud, ...person }, faults)
    Object.assign(provider.faults, {
      claimsInUserinfoOnly: true,
      userinfoResponse: { headers: { 'Content-Type': 'application/jwt' }, body },
    })
    expect((await signIn()).status).toBe(status)
    await portal.sso.providers.update('acme', { signingAlgorithm: null })
  })

  it('names its failure in the log of a user who is refused without it', async () => {
    provider.faults.claimsInUserinfoOnly = true
    provider.faults.userinfoResponse = { status: 500, body: 'secret text' }
    expectRefusal(
      await signIn(),
      403,
      'email_unverified',
      /does not vouch.*: UserInfo responded with status 500/,
    )
    expect(causes()).not.toContain('secret')
  })

  describe('that is linked', () => {
    beforeEach(async () => {
      await signIn()
      provider.requests.length = 0
      visitor = new Visitor()
    })

    it.each([
      ['has no address', { claimsInUserinfoOnly: true }],
      ['does not confirm it', { claims: { email_verified: undefined } }],
      ['has none, and UserInfo fails', { claimsInUserinfoOnly: true, userinfoResponse: { status: 500 } }],
      [
        'has none, and UserInfo is forbidden',
        { claimsInUserinfoOnly: true, userinfoResponse: { status: 403 } },
      ],
      ['has none, and UserInfo never responds', { claimsInUserinfoOnly: true, userinfoHang: true }],
    ] as const)('is not requested although the ID token %s', async (_what, faults) => {
      Object.assign(provider.faults, faults)
      expect((await signIn()).url).toBe(`${portal.url}/portal`)
      expect(asksUserInfo()).toBe(false)
    })

    it('is requested, but may fail, while the address of the link is not proven', async () => {
      await portal.knex('sso_identities').update({ proven_email: null })
      Object.assign(provider.faults, { claimsInUserinfoOnly: true, userinfoResponse: { status: 500 } })
      expect((await signIn()).url).toBe(`${portal.url}/portal`)
      expect(await portal.knex('sso_identities').pluck('proven_email')).toEqual([null])
      delete provider.faults.userinfoResponse
      visitor = new Visitor()
      expect((await signIn()).url).toBe(`${portal.url}/portal`)
      expect(await portal.knex('sso_identities').pluck('proven_email')).toEqual(['ada@example.com'])
    })
  })
})

describe('metadata that are out of date', () => {
  const paths = () => provider.requests.map(({ path }) => path).filter((path) => path !== '/authorize')
  const document = '/.well-known/openid-configuration'

  beforeEach(async () => {
    await portal.sso.providers.enable('acme')
    await signIn()
    provider.requests.length = 0
    visitor = new Visitor()
  })

  it.each([404, 410])(
    'are read again within a sign-in when the key set is gone: status %i',
    async (status) => {
      provider.faults.moved = { jwks: '/new-keys', status }
      await provider.rotateKeys()
      expect((await signIn()).url).toBe(`${portal.url}/portal`)
      expect(paths()).toEqual(['/token', '/jwks', document, '/new-keys'])
    },
  )

  it.each([404, 410])(
    'are read again by the next sign-in when the token endpoint is gone: status %i',
    async (status) => {
      provider.faults.moved = { token: '/new-token', status }
      expectRefusal(
        await signIn(),
        502,
        'provider_unavailable',
        new RegExp(`token endpoint responded with status ${status}`),
      )
      visitor = new Visitor()
      expect((await signIn()).url).toBe(`${portal.url}/portal`)
      expect(paths()).toEqual(['/token', document, '/new-token'])
    },
  )

  it('are not read again for each made-up code that the token endpoint answers with 404', async () => {
    provider.faults.tokenResponse = { status: 404 }
    for (let n = 0; n < 4; n++) {
      visitor = new Visitor()
      await signIn()
    }
    expect(paths().filter((path) => path === document)).toHaveLength(1)
  })

  it('are a mistake of the configuration, not an outage, if they name another issuer', async () => {
    provider.faults.discovery = { issuer: 'https://other.example' }
    await portal.sso.providers.enable('acme')
    expectRefusal(await signIn(), 502, 'provider_error', /names another issuer: "https:\/\/other.example"/)
  })
})

describe('the error code and the log of a refused sign-in', () => {
  it.each([
    ['access_denied', 403, 'provider_denied'],
    ['login_required', 502, 'provider_error'],
    ['not_access_denied', 502, 'provider_error'],
    ['consent_required', 403, 'consent_missing'],
    ['interaction_required', 403, 'consent_missing'],
    ['temporarily_unavailable', 502, 'provider_unavailable'],
    ['server_error', 502, 'provider_unavailable'],
  ])('match the authorization error %s', async (error, status, code) => {
    provider.faults.authorizeError = { error, error_description: 'never shown' }
    const seen = await signIn()
    const reported = `reported by a browser, unverified: the error "${error}": "never shown" \\(${code}\\)`
    expectRefusal(seen, status, code, new RegExp(`^${reported}$`))
    expect(seen.body).not.toContain('never shown')
    const event = await portal.knex('sso_events').orderBy('at', 'desc').first()
    expect(JSON.parse(event.detail)).toEqual({ code, reason: causes(), reportedBy: 'browser' })
  })

  it.each([
    ['AADSTS65001: nobody has consented', 'consent_missing', '"access_denied" (AADSTS65001)'],
    ['AADSTS53003: blocked', 'provider_denied', '"access_denied" (AADSTS53003)'],
    ['AADSTS650: too short for a number', 'provider_denied', '"access_denied"'],
  ])('contain the AADSTS number of %j', async (error_description, code, quote) => {
    provider.faults.authorizeError = { error: 'access_denied', error_description }
    expectRefusal(await signIn(), 403, code, /reported by a browser/)
    expect(causes()).toBe(
      `reported by a browser, unverified: the error ${quote}: "${error_description}" (${code})`,
    )
  })

  it('limit and quote the provider’s error code', async () => {
    provider.faults.authorizeError = { error: `no\n${'way '.repeat(300)}` }
    await signIn()
    expect(causes()).toMatch(/unverified: the error "no (way )+w?"/)
    expect(causes().length).toBeLessThan(300)
  })

  it.each([
    [
      'a sentence',
      'Pushed Authorization Request is only allowed',
      'Pushed Authorization Request is only allowed',
    ],
    ['two lines', 'Please call\r\nthe "help desk"', 'Please call the \\"help desk\\"'],
    ['a link', 'see https://evil.example/login?x=1 now', 'see … now'],
    ['host names', 'see evil.example, or EVIL.EXAMPLE/login now', 'see … or … now'],
    ['international host names', 'see bücher.example, 例え.jp/login or 例え。テスト now', 'see … … or … now'],
    ['other schemes', 'javascript://evil and //evil.example/x', '… and //…'],
    ['an address', 'write to mallory@evil.example now', 'write to … now'],
    ['control characters', 'in \u202egreen\u001b[2J', 'in \\\\u{202e}green\\\\u{1b}[2J'],
    ['a code', 'code nAjeYAjrEpalPZQpBGa-XY', 'code …'],
    ['a long text', 'x '.repeat(5000), 'x '.repeat(100)],
  ])(
    'contain the provider’s description as one line without links: %s',
    async (_what, error_description, quote) => {
      provider.faults.authorizeError = { error: 'invalid_request', error_description }
      expectRefusal(await signIn(), 502, 'provider_error', /./)
      expect(causes()).toContain(`unverified: the error "invalid_request": "${quote}"`)
    },
  )

  it('contain no code, state or secret that the description repeats', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    const request = new URL(start.location!).searchParams
    const [state, nonce] = [request.get('state')!, request.get('nonce')!]
    const error_description = `state ${state} nonce ${nonce} secret ${provider.clientSecret} end`
    const iss = provider.issuer
    const query = new URLSearchParams({ error: 'invalid_request', error_description, state, iss })
    await visitor.open(`${portal.url}/login/acme/callback?${query}`)
    expect(causes()).toContain('"state … nonce … secret … end"')
  })

  it('contain no description for an attempt of another browser', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    const state = new URL(start.location!).searchParams.get('state')!
    const query = new URLSearchParams({ error: 'invalid_request', error_description: 'from Mallory', state })
    await new Visitor().open(`${portal.url}/login/acme/callback?${query}`)
    expect(causes()).toMatch(/this browser has no such attempt/)
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toContain('Mallory')
  })

  it.each<[fault: string, faults: Faults]>([
    ['the client secret', { tokenError: { status: 401, body: { error: 'invalid_client' } } }],
    ['the client secret, with a challenge', { clientSecrets: ['another one'] }],
    ['a scope', { authorizeError: { error: 'invalid_scope' } }],
    ['PAR', { authorizeError: { error: 'invalid_request', error_description: 'PAR is required' } }],
  ])('tell the user whom to ask, and not to wait, if the fault is permanent: %s', async (_fault, faults) => {
    Object.assign(provider.faults, faults)
    const seen = await signIn()
    expectRefusal(seen, 502, 'provider_error', /./)
    expect(seen.body).toContain('A setting at Acme or in this portal is wrong')
    expect(seen.body).toContain('Please contact your administrator.')
    expect(seen.body).not.toMatch(/few minutes|Try again/)
    expect(seen.body).toContain('Choose a sign-in service')
  })

  it.each([
    ['invalid_client', 502, 'provider_error'],
    ['unauthorized_client', 502, 'provider_error'],
    ['invalid_scope', 502, 'provider_error'],
    ['unsupported_grant_type', 502, 'provider_error'],
    ['consent_required', 403, 'consent_missing'],
    ['temporarily_unavailable', 502, 'provider_unavailable'],
    ['invalid_grant', 400, 'response_invalid'],
    ['invalid_request', 502, 'provider_error'],
    ['invalid_dpop_proof', 502, 'provider_error'],
    ['not_invalid_client', 400, 'response_invalid'],
    ['invalid_clients', 400, 'response_invalid'],
  ])('match the token error %s', async (error, status, code) => {
    provider.faults.tokenError = { body: { error, error_description: 'so it is' } }
    expectRefusal(
      await signIn(),
      status,
      code,
      new RegExp(`the token endpoint refused \\(status 400\\): "${error}: so it is"`),
    )
  })

  it('limit the token endpoint’s description', async () => {
    provider.faults.tokenError = {
      body: { error: 'invalid_grant', error_description: 'no way '.repeat(100) },
    }
    await signIn()
    expect(causes()).toMatch(/invalid_grant: (no way )+/)
    expect(causes().length).toBeLessThan(400)
  })

  it('contain the error code of the token endpoint if it sends no description', async () => {
    provider.faults.tokenError = { body: { error: 'invalid_grant' } }
    expectRefusal(await signIn(), 400, 'response_invalid', /: "invalid_grant"/)
  })

  it('never repeat a code that a provider quotes', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    const answer = (await visitor.get(start.location!)).location!
    const code = new URL(answer).searchParams.get('code')!
    const error_description = `the code ${code} is used up, get another one than ${code}`
    provider.faults.tokenError = { body: { error: 'invalid_grant', error_description } }
    const seen = await visitor.open(answer)
    expectRefusal(seen, 400, 'response_invalid', /the code … is used up, get another one than …/)
    expect(causes()).not.toContain(code)
  })

  it('never repeat a code or a secret, even if it is short or has spaces', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    const answer = new URL((await visitor.get(start.location!)).location!)
    answer.searchParams.set('code', 'k0d3')
    const error_description = `neither k0d3 nor ${provider.clientSecret}, please`
    provider.faults.tokenError = { body: { error: 'invalid_grant', error_description } }
    expectRefusal(await visitor.open(answer.href), 400, 'response_invalid', /: neither … nor …, please"/)
  })

  it('do not take an error number from a made-up code that a provider quotes', async () => {
    const start = await visitor.get(`${portal.url}/login/acme`)
    const answer = new URL((await visitor.get(start.location!)).location!)
    answer.searchParams.set('code', 'AADSTS65001')
    const error_description = 'the code AADSTS65001 is not valid'
    provider.faults.tokenError = { body: { error: 'invalid_grant', error_description } }
    expectRefusal(await visitor.open(answer.href), 400, 'response_invalid', /: the code … is not valid"/)
  })

  it('name an invalid ID token', async () => {
    provider.faults.claims = { sub: '' }
    expectRefusal(await signIn(), 400, 'response_invalid', /sub/)
  })

  it.each([
    [25, 200],
    [-3600, 200],
    [600, 400],
  ])('match an ID token that was issued %d seconds from now: status %d', async (seconds, status) => {
    provider.faults.claims = { iat: Math.floor(Date.now() / 1000) + seconds }
    expect((await signIn()).status).toBe(status)
    if (status === 400) expect(causes()).toMatch(/issued in the future/)
  })

  it.each([
    ['that responds with 500', { tokenResponse: { status: 500, body: 'x' } }],
    ['that responds with 599', { tokenResponse: { status: 599, body: 'x' } }],
    ['that hangs up', { tokenDrop: true as const }],
    ['whose keys cannot be fetched', { jwksResponse: { status: 503, body: 'x' } }],
  ])('say that a provider %s is unavailable', async (_what, faults) => {
    // Drops the cached keys.
    await portal.sso.providers.enable('acme')
    Object.assign(provider.faults, faults)
    expectRefusal(await signIn(), 502, 'provider_unavailable', /./)
  })

  it.each([
    ['that responds with 499', { tokenResponse: { status: 499, body: 'x' } }],
    ['that responds without JSON', { tokenResponse: { body: 'x' } }],
  ])('say that the response of a provider %s is invalid', async (_what, faults) => {
    Object.assign(provider.faults, faults)
    expectRefusal(await signIn(), 400, 'response_invalid', /./)
  })
})

describe('the strategy, run like by Passport,', () => {
  let attempts: Pick<Attempts, 'begin'>
  let strategy: ProviderStrategy
  let outbound: HttpClients

  beforeEach(async () => {
    const row = (await portal.sso.providers.list()).find(({ slug }) => slug === 'acme')!
    attempts = { begin: () => 'the state' }
    const current: Pick<Attempts, 'begin'> = { begin: (...args) => attempts.begin(...args) }
    outbound = createHttpClients({ timeoutSeconds: 5, allowedAddresses: ['127.0.0.1'], concurrency: 2 })
    const client = await createProviderClient(row, provider, outbound)
    strategy = new ProviderStrategy(row, client, current, 'https://portal.example/callback')
  })
  afterEach(() => outbound.close())

  function run(step: object | undefined, query = {}): Promise<unknown> {
    return new Promise((resolve) => {
      const acts = { success: resolve, fail: resolve, error: resolve, redirect: resolve }
      Object.assign(Object.create(strategy) as ProviderStrategy, acts).authenticate(
        { query } as Request,
        step,
      )
    })
  }

  const begin = { step: 'begin', purpose: { kind: 'sign-in' }, returnTo: undefined, otherAccount: false }

  it('copies only the metadata that openid-client needs, even if the provider sends much more', async () => {
    provider.faults.discovery = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, n) => [`more-${n}`, [n]]),
    )
    const [row] = await portal.sso.providers.list()
    const client = await createProviderClient(row!, provider, outbound)
    let attempt: Attempt | undefined
    attempts.begin = (_req, _res, started) => {
      attempt = started as Attempt
      return 'the state'
    }
    const { location } = await new Visitor().get((await run(begin)) as string)
    const checks = {
      expectedState: 'the state',
      expectedNonce: attempt!.nonce,
      pkceCodeVerifier: attempt!.codeVerifier,
    }
    const copied = jest.spyOn(globalThis, 'structuredClone')
    await client.exchangeCode(new URL(location!), checks, { address: 'one' })
    const sizes = copied.mock.calls.map(([value]) => Object.keys(Object(value)).length)
    copied.mockRestore()
    expect(sizes).not.toEqual([])
    expect(Math.max(...sizes)).toBeLessThan(10)
  })

  it('redirects to the provider', async () => {
    expect(await run(begin)).toMatch(`${provider.issuer}/authorize?`)
  })

  it.each([undefined, {}, { step: 'both' }])('requires a valid step: %j', async (step) => {
    expect(await run(step, { code: 'stolen' })).toEqual(new TypeError('the route must say which half runs'))
  })

  it('fails if the attempt cannot be stored', async () => {
    attempts.begin = () => {
      throw new Error('no room')
    }
    expect(await run(begin)).toEqual(new Error('no room'))
  })

  it('fails if the redirect cannot be written, instead of ending the process', async () => {
    const failed = new Promise((resolve) => {
      const acts = {
        error: resolve,
        redirect: () => {
          throw new Error('a header that cannot be written')
        },
      }
      Object.assign(Object.create(strategy) as ProviderStrategy, acts).authenticate(
        { query: {} } as Request,
        begin,
      )
    })
    expect(await failed).toEqual(new Error('a header that cannot be written'))
  })
})

afterEach(() => {
  // No fault of a provider may be logged as an internal error.
  expect(portal.logs.filter(({ level, fields }) => level === 'error' && fields.code === 'internal')).toEqual(
    [],
  )
})
