import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type Clock, takeClock } from '../support/clock.ts'
import {
  contoso,
  type EntraLookAlike,
  entraError,
  fabrikam,
  startEntraLookAlike,
} from '../support/entra-look-alike.ts'
import { type Faults, type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { linesOf, onward, press, testSignIn, testSignInWith, textOf } from '../support/test-sign-in.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let other: FaultyProvider
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  provider = await startFaultyProvider()
  other = await startFaultyProvider({ clientId: 'other' })
})
afterAll(() => Promise.all([provider.close(), other.close()]))
beforeEach(() => {
  provider.reset()
  other.reset()
  visitor = new Visitor()
})
afterEach(() => portal.close())

const codes = async () => {}

/** Opens a portal with the user Ada, a provider `draft` and an enabled provider `acme`. */
async function open({ draft = {}, ...options }: TestPortalOptions & { draft?: object } = {}): Promise<void> {
  portal = await startPortal({
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
    },
    ...options,
  })
  await portal.connect(other)
  await portal.connect(provider, { slug: 'draft', displayName: 'Draft', enabled: false, ...draft })
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
}

const scene = () => ({ portal, visitor })
const draft = async () => (await portal.sso.providers.find('draft'))!
const isSignedIn = async () => (await visitor.get(`${portal.url}/portal`)).status === 200
const events = async (kind = 'provider-sign-in-tested') => {
  const rows = await portal.knex('sso_events').where({ kind }).orderBy('at')
  return rows.map(({ provider: slug, actor, detail }: Record<string, string>) => ({
    slug,
    actor,
    ...(JSON.parse(detail!) as object),
  }))
}
const outlookIn = ({ body }: Seen) =>
  textOf(/<section class="sso-outlook[\s\S]*?<\/section>/.exec(body)?.[0] ?? '')

/** A test sign-in creates no user, link, session or cookie. */
async function expectNothingChanged(): Promise<void> {
  expect(await isSignedIn()).toBe(false)
  expect(await portal.knex('sso_users').pluck('email')).toEqual(['ada@example.com'])
  expect(await portal.knex('sso_identities')).toEqual([])
  expect(await portal.knex('sso_sessions')).toEqual([])
  expect(visitor.cookieNames(portal.url).filter((name) => /registration|last/.test(name))).toEqual([])
}

/** Neither the page, the events nor the logs contain a secret. */
async function expectNoSecrets(page: Seen): Promise<void> {
  const output = page.body + JSON.stringify([await portal.knex('sso_events'), portal.logs])
  expect(output).not.toMatch(/eyJ[\w-]{10,}\./)
  for (const secret of [...provider.issued, provider.clientSecret]) expect(output).not.toContain(secret)
}

describe('a test sign-in', () => {
  it('completes a sign-in with a draft and shows a report, without a session, a user or a link', async () => {
    await open()
    const before = await draft()
    provider.faults.keepsSession = true
    const report = await testSignIn(scene())
    expect(report.status).toBe(200)
    expect(linesOf(report).filter(({ result }) => result !== 'ok')).toMatchObject([
      { result: 'absent', title: 'UserInfo' },
    ])
    expect(linesOf(report)).toHaveLength(17)
    expect(textOf(report.body)).toContain('The test sign-in with Draft passed')
    expect(outlookIn(report)).toContain(
      'ada@example.com belongs to a user. This account would be linked and signed in as Ada Lovelace (ada@example.com).',
    )
    await expectNothingChanged()
    await expectNoSecrets(report)
    expect(await events()).toEqual([{ slug: 'draft', actor: 'grace', outcome: 'passed' }])
    const [{ id }] = await portal.knex('sso_users')
    const after = await draft()
    const found = { testSignInUserId: id, reauthentication: 'proven' }
    expect(after).toEqual({ ...before, testSignInAt: after.testSignInAt, ...found })
    expect(Date.parse(after.testSignInAt!)).toBeGreaterThan(Date.now() - 60_000)
  })

  describe('reports whether the provider asks users to authenticate again:', () => {
    let clock: Clock
    beforeEach(async () => {
      await open()
      clock = takeClock()
    })
    afterEach(() => clock.back())

    // Without the request of the connection test.
    const asked = () =>
      provider.requests
        .filter(({ path, query }) => path === '/authorize' && query.get('prompt') !== 'none')
        .map(({ query }) => [query.get('max_age'), query.get('prompt')])

    /** The user authenticated at the provider an hour ago. */
    async function testAfterAnHour(faults: Partial<Faults>): Promise<Seen> {
      Object.assign(provider.faults, { keepsSession: true, ...faults })
      await testSignIn(scene())
      clock.pass(3_600_000)
      provider.requests.length = 0
      visitor = new Visitor()
      return await testSignIn(scene())
    }

    it.each<[what: string, faults: Partial<Faults>, requests: (string | null)[][], found: object]>([
      ['for max_age', {}, [['10', null]], { result: 'ok', text: /asked you to sign in/ }],
      [
        'for prompt=login only',
        { ignoresMaxAge: true },
        [
          ['10', null],
          [null, 'login'],
        ],
        { result: 'ok', text: /asked you to sign in/ },
      ],
      [
        'for neither',
        { ignoresMaxAge: true, ignoresPromptLogin: true },
        [
          ['10', null],
          [null, 'login'],
        ],
        { result: 'warning', text: /did not ask you to sign in again.*sign out at the provider first/ },
      ],
      [
        'for neither, although the response to prompt=login does not say',
        { ignoresMaxAge: true, authTimeOnlyForMaxAge: true },
        [
          ['10', null],
          [null, 'login'],
        ],
        { result: 'warning', text: /sign out at the provider first/ },
      ],
      [
        'unknown without auth_time',
        { claims: { auth_time: undefined } },
        [['10', null]],
        { result: 'absent', text: /– Not available: Re-authentication The ID token has no valid auth_time/ },
      ],
      [
        'unknown with an auth_time of 0',
        { claims: { auth_time: 0 } },
        [['10', null]],
        { result: 'absent', text: /no valid auth_time/ },
      ],
    ])('%s', async (_what, faults, requests, { result, text }: { result?: string; text?: RegExp }) => {
      const report = await testAfterAnHour(faults)
      expect(asked()).toEqual(requests)
      const line = linesOf(report).find(({ title }) => title === 'Re-authentication')
      expect(line).toMatchObject({ result, text: expect.stringMatching(text!) })
      const found = { ok: 'proven', warning: 'ignored', absent: 'unreported' }[result!]
      expect((await draft()).reauthentication).toBe(found)
      const { body } = await visitor.get(`${portal.url}/admin/sso/draft`)
      expect(body).toContain(
        `Re-authentication: ${{ ok: 'works', warning: 'the provider does not ask', absent: 'the provider does not report' }[result!]}`,
      )
      expect(textOf(report.body)).toContain('The test sign-in with Draft passed')
      expect(await events()).toMatchObject([{ outcome: 'passed' }, { outcome: 'passed' }])
      // A setting that affects sign-in may change the result.
      clock.back()
      await portal.sso.providers.update('draft', { prompt: 'consent' })
      expect((await draft()).reauthentication).toBeUndefined()
    })

    it.each<[what: string, faults: Partial<Faults>, found: string]>([
      ['reports auth_time for max_age only', { authTimeOnlyForMaxAge: true }, 'proven'],
      ['never reports auth_time', { claims: { auth_time: undefined } }, 'unreported'],
    ])('also asks with max_age if the settings send prompt=login: it %s', async (_what, faults, found) => {
      await portal.sso.providers.update('draft', { prompt: 'login' })
      await testAfterAnHour(faults)
      expect(asked()).toEqual([
        [null, 'login'],
        ['10', null],
      ])
      expect((await draft()).reauthentication).toBe(found)
    })

    it('does not let users choose a code by mail if the second request, with max_age, was never answered', async () => {
      await portal.sso.providers.update('draft', { prompt: 'login' })
      Object.assign(provider.faults, { keepsSession: true, authTimeOnlyForMaxAge: true, refusesMaxAge: true })
      await testSignIn(scene())
      expect(await draft()).toMatchObject({ testSignInAt: expect.any(String) })
      expect((await draft()).reauthentication).toBeUndefined()
    })

    it('passes although the provider refuses the second request', async () => {
      Object.assign(provider.faults, { keepsSession: true, ignoresMaxAge: true })
      await testSignIn(scene())
      clock.pass(3_600_000)
      provider.faults.refusesPromptLogin = true
      const report = await testSignIn(scene())
      expect(textOf(report.body)).toContain('The test sign-in with Draft passed')
      expect(linesOf(report)).toMatchObject([
        { title: 'Re-authentication', result: 'warning', text: expect.stringContaining('invalid_request') },
      ])
      expect((await draft()).testSignInAt).toBeDefined()
    })

    it('passes at a provider that refuses max_age', async () => {
      Object.assign(provider.faults, { keepsSession: true, refusesMaxAge: true })
      const report = await testSignIn(scene())
      expect(asked()).toEqual([
        ['10', null],
        [null, 'login'],
      ])
      expect(textOf(report.body)).toContain('The test sign-in with Draft passed')
      expect((await draft()).reauthentication).toBe('proven')
    })
  })

  it('shows an uncached page without scripts, in the language of the administrator', async () => {
    await open()
    visitor = new Visitor({ 'accept-language': 'de' })
    const { headers, body } = await testSignIn(scene())
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(headers.get('cache-control')).toBe('no-store')
    expect(body).toContain('<html lang="de"')
    expect(body).not.toMatch(/<script|<style|\sstyle=/)
  })

  it('detects the encoding of the client secret, which later sign-ins use', async () => {
    await open()
    expect(await draft()).toMatchObject({ secretEncoding: 'form' })
    provider.faults.rawCredentials = true
    const report = await testSignIn(scene())
    expect(textOf(report.body)).toContain('The test sign-in with Draft passed')
    expect(textOf(report.body)).toContain(
      'It accepts the client with ID and secret unencoded (raw), not form-encoded. This is used from now on.',
    )
    await expectNoSecrets(report)
    expect(await draft()).toMatchObject({ secretEncoding: 'raw', testSignInAt: expect.any(String) })
    expect(await events()).toMatchObject([{ outcome: 'passed', secretEncoding: 'raw' }])
    await portal.sso.providers.enable('draft')
    await visitor.open(`${portal.url}/login/draft`)
    expect(await isSignedIn()).toBe(true)
  })

  it.each(['client_secret_post', 'client_secret_jwt'] as const)(
    'detects that the client is registered for %s; a sign-in sends its code once',
    async (clientMethod) => {
      await open()
      provider.faults.clientMethod = clientMethod
      const forms = () => provider.requests.filter(({ path }) => path === '/token')
      await portal.sso.providers.enable('draft', { withoutTestSignIn: true })
      provider.requests.length = 0
      await visitor.open(`${portal.url}/login/draft`)
      expect([forms().length, await isSignedIn()]).toEqual([1, false])
      const report = await testSignIn(scene())
      expect(textOf(report.body)).toContain(
        `authenticated this portal by ${clientMethod}. It accepts the client not by client_secret_basic. This is used from now on.`,
      )
      await expectNoSecrets(report)
      expect(await draft()).toMatchObject({
        clientAuthentication: clientMethod,
        testSignInAt: expect.any(String),
      })
      expect(await events()).toMatchObject([{ outcome: 'passed', clientAuthentication: clientMethod }])
      provider.requests.length = 0
      await visitor.open(`${portal.url}/login/draft`)
      expect([forms().length, await isSignedIn()]).toEqual([1, true])
    },
  )

  it('sends the code only to a provider that refuses the client, and each method once', async () => {
    await open()
    const codes = () =>
      provider.requests
        .filter(({ path }) => path === '/token')
        .map(({ body }) => new URLSearchParams(body).get('code'))
    provider.faults.clientMethod = 'tls_client_auth'
    provider.requests.length = 0
    await testSignIn(scene())
    expect([codes().length, new Set(codes()).size]).toEqual([6, 1])
    provider.faults.tokenError = { body: { error: 'invalid_grant' } }
    provider.requests.length = 0
    await testSignIn(scene())
    expect(codes()).toHaveLength(1)
  })

  it('finds the audience and the key that the provider accepts for assertions', async () => {
    const settings = { clientSecret: undefined, clientAuthentication: 'private_key_jwt' }
    provider.faults.discovery = { token_endpoint_auth_signing_alg_values_supported: ['ES256', 'PS256'] }
    provider.faults.clientMethod = 'private_key_jwt'
    await open({ draft: settings })
    provider.faults.clientKeysAt = portal.sso.providers.jwksUri('draft')
    provider.faults.assertionAlgorithm = 'PS256'
    provider.faults.assertionAudience = `${provider.issuer}/token`
    const report = await testSignIn(scene())
    expect(textOf(report.body)).toContain(
      'It accepts the client with the token endpoint as the audience, with a key of another algorithm. This is used from now on.',
    )
    expect(await draft()).toMatchObject({ assertionAudience: 'token_endpoint' })
    expect(await portal.sso.providers.clientKeys('draft')).toMatchObject([
      { alg: 'ES256', state: 'retired' },
      { alg: 'PS256', state: 'signing' },
    ])
    await portal.sso.providers.enable('draft')
    await visitor.open(`${portal.url}/login/draft`)
    expect(await isSignedIn()).toBe(true)
  })

  it('works with posted responses', async () => {
    await open({ draft: { responseMode: 'form_post' } })
    const report = await testSignIn(scene())
    expect(textOf(report.body)).toContain('The test sign-in with Draft passed')
    await expectNothingChanged()
  })

  it('with an enabled provider starts no session either', async () => {
    await open()
    other.person = { ...other.person, sub: 'ada-at-other' }
    const report = await testSignIn(scene(), 'acme')
    expect(textOf(report.body)).toContain('passed')
    await expectNothingChanged()
  })

  it('started on a page links back to it, and reports if the account is the signed-in user’s', async () => {
    await open()
    await visitor.open(`${portal.url}/login/acme`)
    const begin = () => visitor.post(`${portal.url}/admin/sso/draft/test-sign-in`)
    const own = await onward(scene(), await begin())
    expect(own.body).toContain('href="/admin/sso/draft"')
    expect(outlookIn(own)).toContain('You are signed in as this user now.')
    await portal.sso.users.create({ email: 'grace@example.com', name: 'Grace', fields: {} })
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true }
    const others = await onward(scene(), await begin())
    expect(outlookIn(others)).toContain('signed in as Grace (grace@example.com).')
    expect(outlookIn(others)).toContain(
      'This is a different user. You are signed in as Ada Lovelace (ada@example.com).',
    )
    expect(await isSignedIn()).toBe(true)
  })

  it('navigates to the provider by a page, because `form-action` blocks a redirect to another site', async () => {
    await open()
    const { url } = await portal.sso.testSignIns.link('draft')
    const page = await press(scene(), url)
    expect(page.status).toBe(200)
    expect(next(page)).toMatch(new RegExp(`^${provider.issuer}/authorize\\?`))
    expect(page.body).toContain(`href="${next(page)!.replaceAll('&', '&amp;')}"`)
  })

  it.each<[what: string, options: TestPortalOptions, person: object, passed: boolean, outlook: string]>([
    [
      'has to verify the address',
      { mailer: codes },
      { email_verified: false },
      true,
      'would have to confirm it with a code',
    ],
    ['has to verify it, but cannot', {}, { email_verified: false }, false, 'no mailer to send a code'],
    ['has no address', { mailer: codes }, { email: undefined }, true, 'sent no e-mail address'],
    [
      'is new',
      {},
      { email: 'new@example.com' },
      true,
      'new@example.com is new here. The registration form would be shown',
    ],
    [
      'may not register after a code',
      { mailer: codes, registration: 'closed' },
      { email: 'new@example.com', email_verified: false },
      false,
      'refused after a code was sent to new@example.com. new@example.com is new here',
    ],
    [
      'is deactivated, after a code',
      { mailer: codes },
      { email: 'off@example.com', email_verified: false },
      false,
      'The user is deactivated',
    ],
    [
      'may not register',
      { registration: 'closed' },
      { email: 'new@example.com' },
      false,
      'does not let it register',
    ],
    ['is deactivated', {}, { email: 'off@example.com' }, false, 'The user is deactivated'],
  ])('reports the outcome for a user who %s', async (_what, options, person, passed, outlook) => {
    await open(options)
    await portal.sso.users.create({ email: 'off@example.com', name: 'Off', fields: {} })
    await portal.knex('sso_users').where({ email: 'off@example.com' }).update({ active: false })
    provider.person = { ...provider.person, ...person }
    const report = await testSignIn(scene())
    expect(outlookIn(report)).toContain(outlook)
    expect(textOf(report.body)).toContain(`The test sign-in with Draft ${passed ? 'passed' : 'failed'}`)
    expect((await draft()).testSignInAt !== undefined).toBe(passed)
    expect((await draft()).testSignInUserId).toBeUndefined()
    expect(await portal.knex('sso_identities')).toEqual([])
  })

  it('names the user that is already linked', async () => {
    await open()
    await portal.sso.providers.enable('draft', { withoutTestSignIn: true })
    await visitor.open(`${portal.url}/login/draft`)
    visitor = new Visitor()
    provider.person = { ...provider.person, email: 'elsewhere@example.com' }
    expect(outlookIn(await testSignIn(scene()))).toContain(
      'This account is linked. It would be signed in as Ada Lovelace',
    )
  })

  it('reports an address that is missing, not verified or in a domain that is not allowed', async () => {
    await open({ mailer: codes, draft: { emailDomains: ['example.com'] } })
    const addressLines = async (person: object) => {
      provider.person = { sub: 'ada', ...person }
      return linesOf(await testSignIn(scene())).slice(-3)
    }
    expect(await addressLines({})).toMatchObject([
      { result: 'warning', text: expect.stringContaining('There is no claim "email"') },
      { result: 'not-reached' },
      { result: 'not-reached' },
    ])
    expect(await addressLines({ email: 'ada@example.com' })).toMatchObject([
      { result: 'ok' },
      { result: 'warning', text: expect.stringContaining('email_verified') },
      { result: 'ok' },
    ])
    expect(await addressLines({ email: 'ada@evil.example', email_verified: true })).toMatchObject([
      { result: 'ok' },
      { result: 'not-reached' },
      {
        result: 'warning',
        text: expect.stringContaining(
          'evil.example is not allowed. The provider vouches for verified addresses',
        ),
      },
    ])
  })

  it('reports the difference between the clocks', async () => {
    await open()
    provider.faults.claims = { iat: Math.floor(Date.now() / 1000) + 20 }
    const report = await testSignIn(scene())
    const line = linesOf(report).find(({ title }) => title === 'Clocks')!
    expect(line).toMatchObject({
      result: 'warning',
      text: expect.stringMatching(/(19|20) s ahead\. 30 s are tolerated/),
    })
    expect(textOf(report.body)).toContain('The test sign-in with Draft passed')
  })
})

describe('a test sign-in and the signing algorithm', () => {
  const algorithmIn = async () =>
    linesOf(await testSignIn(scene())).find(({ title }) => title === 'ID token: algorithm')

  it('says which one arrived, and offers to accept no other', async () => {
    await open()
    provider.faults.alg = 'ES256'
    expect(await algorithmIn()).toMatchObject({
      result: 'ok',
      text: expect.stringContaining('It is signed with ES256. The settings accept every'),
    })
    expect((await algorithmIn())!.text).toContain(
      'To accept only ES256, choose it as the signing algorithm, and test the sign-in again.',
    )
  })

  it('fails with another one than the settings name', async () => {
    await open()
    await portal.sso.providers.update('draft', { signingAlgorithm: 'RS256' })
    expect(await algorithmIn()).toMatchObject({
      result: 'ok',
      text: expect.stringContaining('It is signed with RS256, as the settings require.'),
    })
    provider.faults.alg = 'ES256'
    expect(await algorithmIn()).toMatchObject({
      result: 'failed',
      text: expect.stringMatching(
        /The ID token uses "ES256", but the settings expect "RS256".*change the setting/s,
      ),
    })
  })
})

it('a test sign-in warns if UserInfo fails, because a sign-in goes on without it', async () => {
  await open()
  Object.assign(provider.faults, { claimsInUserinfoOnly: true, userinfoResponse: { status: 403 } })
  const line = linesOf(await testSignIn(scene())).find(({ title }) => title === 'UserInfo')
  expect(line).toMatchObject({
    result: 'warning',
    text: expect.stringMatching(/failed.*UserInfo responded with status 403.*access token/s),
  })
})

const now = Math.floor(Date.now() / 1000)

describe('a failed test sign-in reports the step, the cause and the remedy if', () => {
  it.each<[what: string, faults: Faults, title: string, why: RegExp, remedy: RegExp]>([
    [
      'the user cancels',
      { authorizeError: { error: 'access_denied' } },
      'Authorization response received',
      /access_denied/,
      /cancelled/,
    ],
    [
      'the provider returns its own error text',
      { authorizeError: { error: 'consent_required', error_description: 'AADSTS65001: no consent' } },
      'Authorization response received',
      /reported by a browser, unverified: the error "consent_required" \(AADSTS65001\): "AADSTS65001: no consent"/,
      /administrator must consent/,
    ],
    [
      'the authorization response is from another issuer',
      { callbackParams: { iss: 'https://evil.example' } },
      'Authorization response received',
      /iss/,
      /compare the issuer/,
    ],
    [
      'the client secret is wrong',
      { tokenError: { status: 401, body: { error: 'invalid_client' } } },
      'Code redeemed',
      /invalid_client/,
      /client secret is wrong/,
    ],
    [
      'the redirect URI is wrong',
      { tokenError: { body: { error: 'invalid_grant' } } },
      'Code redeemed',
      /invalid_grant/,
      /redirect URI/,
    ],
    [
      'the token endpoint fails',
      { tokenResponse: { status: 500 } },
      'Code redeemed',
      /500/,
      /token endpoint/,
    ],
    ['the token endpoint drops the connection', { tokenDrop: true }, 'Code redeemed', /./, /within 5 s/],
    ['the token response is truncated', { tokenMidway: true }, 'Code redeemed', /./, /within 5 s/],
    ['the token response is HTML', { tokenResponse: { body: '<html>' } }, 'Code redeemed', /./, /as JSON/],
    [
      'the token response contains no ID token',
      { tokenAnswer: { id_token: undefined } },
      'Code redeemed',
      /id_token/,
      /an ID token/,
    ],
    [
      'the ID token is signed with a shared secret',
      { alg: 'HS256-client-secret' },
      'ID token: algorithm',
      /The ID token uses "HS256", but the settings expect "RS256" or "PS256" or "ES256" or "EdDSA".*alg/,
      /HS256/,
    ],
    ['the ID token is not a token', { tamper: () => 'no-token' }, 'ID token: algorithm', /./, /algorithm/],
    [
      'the ID token has expired',
      { claims: { exp: now - 3600 } },
      'ID token: times',
      new RegExp(`The ID token has ${now - 3600}\\..*exp`),
      /clocks/,
    ],
    ['the ID token has no expiry', { claims: { exp: undefined } }, 'ID token: times', /exp/, /clocks/],
    [
      'the issuer differs',
      { claims: { iss: 'https://evil.example' } },
      'ID token: issuer',
      /The ID token has "https:\/\/evil\.example", but the settings expect "http.*iss/,
      /exactly as it appears in the ID token/,
    ],
    [
      'the audience is another client',
      { claims: { aud: 'another-client' } },
      'ID token: audience',
      /The ID token has "another-client", but the settings expect "portal-at-provider".*aud/,
      /client ID/,
    ],
    [
      'the audience includes another client',
      { claims: { aud: ['portal-at-provider', 'b'] } },
      'ID token: audience',
      /aud/,
      /client ID|only/,
    ],
    [
      'the nonce differs',
      { claims: { nonce: 'another' } },
      'ID token: nonce',
      /nonce/,
      /nonce of the request/,
    ],
    [
      'the nonce is missing',
      { claims: { nonce: undefined } },
      'ID token: nonce',
      /nonce/,
      /nonce of the request/,
    ],
    ['the signature is wrong', { signature: 'bad' }, 'ID token: signature', /signature/, /key set/],
    ['the key is not published', { kid: 'unknown' }, 'ID token: signature', /key/, /kid/],
    ['the keys cannot be fetched', { jwksDrop: true }, 'ID token: signature', /./, /within 5 s/],
    [
      'the ID token has the type of another token',
      { header: { typ: 'at+jwt' } },
      'ID token: format',
      /typ/,
      /does not follow the standard/,
    ],
    [
      'UserInfo has another subject',
      { claimsInUserinfoOnly: true, userinfoClaims: { sub: 'eve' } },
      'UserInfo',
      /sub/,
      /same subject/,
    ],
    [
      'the subject is invalid',
      { claims: { sub: 'x'.repeat(300) } },
      'Identity',
      /subject/,
      /is not reliable/,
    ],
    [
      'the token was issued to another party',
      { claims: { azp: 'another' } },
      'Identity',
      /azp/,
      /is not reliable/,
    ],
    [
      'the client requires DPoP',
      { requiresDpop: true },
      'Code redeemed',
      /DPoP proof is missing/,
      /Turn on “Tokens bound to a key \(DPoP\)” in the settings/,
    ],
    [
      'the client must push its requests',
      { pushedRequests: 'client' },
      'Authorization response received',
      /Pushed Authorization Request is only allowed/,
      /Turn on “Pushed authorization requests \(PAR\)” in the settings/,
    ],
    [
      'the client requires Mutual TLS',
      {
        tokenError: {
          body: {
            error: 'invalid_request',
            error_description: 'Client Certification missing for MTLS HoK Token Binding',
          },
        },
      },
      'Code redeemed',
      /MTLS/,
      /Mutual TLS, which is not supported/,
    ],
    [
      'the ID token is encrypted',
      { encrypts: 'id-token' },
      'ID token: algorithm',
      /JWE/,
      /encrypts the ID tokens or UserInfo responses of this client, which is not supported/,
    ],
    [
      'the UserInfo response is encrypted',
      { claimsInUserinfoOnly: true, encrypts: 'userinfo' },
      'UserInfo',
      /JWE/,
      /encrypts the ID tokens or UserInfo responses of this client, which is not supported/,
    ],
    ['the token was issued in the future', { claims: { iat: now + 3600 } }, 'Clocks', /future/, /NTP/],
  ])('%s', async (_what, faults, title, why, remedy) => {
    await open()
    Object.assign(provider.faults, faults)
    const report = await testSignIn(scene())
    expect(report.status).toBe(200)
    expect(textOf(report.body)).toContain('The test sign-in with Draft failed')
    expect(report.body).not.toContain('undefined')
    const lines = linesOf(report)
    const failed = lines.findIndex(({ result }) => result === 'failed')
    expect(lines[failed]).toMatchObject({ title, text: expect.stringMatching(why) })
    expect(lines[failed]!.text).toMatch(remedy)
    expect(new Set(lines.slice(failed + 1).map(({ result }) => result))).toEqual(
      new Set(failed < 15 ? ['not-reached'] : []),
    )
    expect(outlookIn(report)).toContain(`What went wrong: ${title}`)
    await expectNothingChanged()
    await expectNoSecrets(report)
    expect((await draft()).testSignInAt).toBeUndefined()
    expect(await events()).toMatchObject([{ slug: 'draft', actor: 'grace', outcome: 'failed' }])
    expect(portal.logs.at(-1)).toMatchObject({ level: 'warn', message: 'a test sign-in failed' })
  })

  it('the provider refuses the client secret with a challenge', async () => {
    await open()
    provider.faults.tokenResponse = { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="x"' } }
    const report = await testSignIn(scene())
    expect(linesOf(report).find(({ result }) => result === 'failed')).toMatchObject({
      title: 'Code redeemed',
      text: expect.stringMatching(/status 401.*client secret is wrong/),
    })
  })

  it('some checks did not run, which it does not report as passed', async () => {
    await open()
    // The library checks for a nonce before it compares the issuer and the audience.
    provider.faults.claims = { nonce: undefined, iss: 'https://evil.example' }
    const results = Object.fromEntries(
      linesOf(await testSignIn(scene())).map(({ title, result }) => [title, result]),
    )
    expect(results).toMatchObject({
      'ID token: algorithm': 'ok',
      'ID token: issuer': 'not-reached',
      'ID token: audience': 'not-reached',
      'ID token: nonce': 'failed',
    })
  })

  it.each<[what: string, faults: Faults, title: string]>([
    ['a key that is not published', { kid: 'unknown' }, 'ID token: signature'],
    ['a wrong signature', { signature: 'foreign-key' }, 'ID token: signature'],
    ['UserInfo', { claimsInUserinfoOnly: true, userinfoClaims: { sub: 'other' } }, 'UserInfo'],
  ])('because of %s, and quotes no value of a step that succeeded', async (_what, faults, title) => {
    await open()
    Object.assign(provider.faults, faults)
    const { body } = await testSignIn(scene())
    const [wrong = ''] = /<section class="sso-outlook sso-outlook-failed"[\s\S]*?<\/section>/.exec(body) ?? []
    expect(textOf(wrong)).toContain(`What went wrong: ${title}`)
    expect(textOf(wrong)).not.toMatch(/RS256|settings expect|status 200/)
  })

  it('the provider cannot be reached when it starts', async () => {
    await open()
    await portal.sso.providers.update('draft', { displayName: 'Draft 2' })
    provider.faults.discoveryDrop = true
    const { url, token } = await portal.sso.testSignIns.link('draft', { actor: 'cli' })
    const report = await testSignInWith(scene(), url)
    expect(linesOf(report)[0]).toMatchObject({ title: 'Provider reached', result: 'failed' })
    expect(
      new Set(
        linesOf(report)
          .slice(1)
          .map(({ result }) => result),
      ),
    ).toEqual(new Set(['not-reached']))
    expect(await portal.sso.testSignIns.outcome(token)).toBe('failed')
    expect(await events()).toEqual([
      { slug: 'draft', actor: 'cli', outcome: 'failed', reason: 'provider_unavailable' },
    ])
  })
})

describe('a test sign-in with Entra', () => {
  let entra: EntraLookAlike
  beforeAll(async () => {
    entra = await startEntraLookAlike()
  })
  afterAll(() => entra.close())
  beforeEach(() => entra.reset())

  async function openEntra(tenant: string): Promise<void> {
    await open({ mailer: codes })
    const row = { slug: 'entra', displayName: 'Entra', enabled: false, ...entra.row(tenant) }
    await portal.connect(entra, row)
  }
  const failedLine = (report: Seen) => linesOf(report).find(({ result }) => result === 'failed')

  it('for all organizations reports the issuer of the tenant and the claims that are read', async () => {
    await openEntra('organizations')
    entra.signsIn({ email: 'ada@example.com' })
    const report = await testSignIn(scene(), 'entra')
    expect(textOf(report.body)).toContain('The test sign-in with Entra passed')
    const lines = linesOf(report)
    expect(lines.find(({ title }) => title === 'ID token: issuer')!.text).toContain(entra.issuerOf(contoso))
    expect(lines.find(({ title }) => title === 'E-mail address verified')).toMatchObject({
      result: 'warning',
      text: expect.stringMatching(/xms_edov.*list the tenants/),
    })
    expect(textOf(report.body)).toMatch(/tid 11111111.*oid aaaaaaaa/)
  })

  it('by a user of another tenant reports that tenant', async () => {
    await openEntra(`${contoso} ${fabrikam}`)
    entra.signsIn({ tid: '33333333-aaaa-4bbb-8ccc-000000000003' })
    const report = await testSignIn(scene(), 'entra')
    expect(failedLine(report)).toMatchObject({
      title: 'ID token: issuer',
      text: expect.stringMatching(/tenant 33333333-aaaa.*add this tenant/),
    })
    // No other check of the token is reported as passed.
    expect(linesOf(report).filter(({ result }) => result === 'ok')).toHaveLength(3)
  })

  it('reports that an administrator must consent', async () => {
    await openEntra(contoso)
    entra.faults.authorizeError = entraError('access_denied', 65001).authorizeError
    expect(failedLine(await testSignIn(scene(), 'entra'))!.text).toMatch(
      /AADSTS65001.*administrator must consent/,
    )
  })
})

describe('the claims in a report', () => {
  it('are escaped text of limited length, marked if not read, without tokens and values of the exchange', async () => {
    await open()
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`claim_${at}`, at]))
    provider.person = {
      ...provider.person,
      name: '<img src=x onerror=alert(1)>\u202eadA',
      access_token: 'hidden-one',
      nested: { token: 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.x' },
      upstream: { tenant: 'north', deeper: [{ refresh_token: 'hidden-two' }] },
      long: 'x'.repeat(10_000),
      '<b>bold</b>': 'y',
      groups: ['admins'],
      ...many,
    }
    const report = await testSignIn(scene())
    const { body } = report
    expect(body).not.toMatch(/<img|<b>/)
    expect(body).not.toContain('\u202e')
    expect(body).toContain('&lt;img src=x onerror=alert(1)&gt;')
    expect(body).not.toMatch(/hidden-one|hidden-two|x{400}/)
    const rows = [...body.matchAll(/<th scope="row">([\s\S]*?)<\/th>/g)].map(([, html]) => textOf(html!))
    expect(rows).toHaveLength(60)
    expect(textOf(body)).toMatch(/\d+ more claims are not shown/)
    expect(rows).toEqual(expect.arrayContaining(['sub', 'email', 'groups not read']))
    expect(rows.join()).not.toContain('nonce')
    expect(textOf(body)).toContain('{"tenant":"north","deeper":[{"refresh_token":"(not shown)"}]}')
    await expectNoSecrets(report)
  })

  it('do not break the report with invalid times or deep nesting', async () => {
    await open()
    provider.faults.claims = { updated_at: -1e20 }
    expect(textOf((await testSignIn(scene())).body)).toContain('-100000000000000000000')
    const depth = 100_000
    const deep = `${'['.repeat(depth)}${']'.repeat(depth)}`
    provider.faults.claimsInUserinfoOnly = true
    provider.faults.userinfoResponse = {
      body: `{"sub":"ada","email":"ada@example.com","email_verified":true,"deep":${deep}}`,
    }
    const { status, body } = await testSignIn(scene())
    expect([status, textOf(body)]).toEqual([200, expect.stringContaining('nested too deeply to be shown')])
  })

  it('do not break the report if one of them causes the refusal of the token', async () => {
    await open()
    provider.faults.claims = { nbf: -1e20 }
    const { status, body } = await testSignIn(scene())
    expect([status, textOf(body)]).toEqual([200, expect.stringContaining('is not a valid time')])
  })
})

describe('an attacker who misuses a test sign-in', () => {
  it('cannot start one by a URL: a draft has no login URL, and no query turns an attempt into a test', async () => {
    await open()
    for (const query of ['', '?test=1', '?purpose[kind]=test', '?token=x'])
      expect((await visitor.get(`${portal.url}/login/draft${query}`)).status).toBe(404)
    const landed = await visitor.open(`${portal.url}/login/acme?test=1&returnTo=/portal`)
    expect(landed.url).toBe(`${portal.url}/portal`)
  })

  it('cannot use a draft’s callback without an attempt, or with one that is not a test', async () => {
    await open()
    await portal.sso.providers.enable('draft', { withoutTestSignIn: true })
    const { location } = await visitor.get(`${portal.url}/login/draft`)
    await portal.sso.providers.disable('draft')
    expect((await visitor.open(location!)).status).toBe(404)
    expect(await isSignedIn()).toBe(false)
    expect((await visitor.get(`${portal.url}/login/draft/callback?code=x&state=x`)).status).toBe(404)
    expect(await events()).toEqual([])
  })

  it('is not signed in if the provider is enabled during the test sign-in', async () => {
    await open()
    const page = await press(scene(), (await portal.sso.testSignIns.link('draft')).url)
    await portal.sso.providers.enable('draft', { withoutTestSignIn: true })
    expect((await onward(scene(), page)).status).toBe(409)
    await expectNothingChanged()
  })

  it('passes no test if the settings change before the response', async () => {
    await open()
    const page = await press(scene(), (await portal.sso.testSignIns.link('draft')).url)
    await portal.sso.providers.update('draft', { trustsEmail: true })
    expect((await onward(scene(), page)).status).toBe(409)
    expect((await draft()).testSignInAt).toBeUndefined()
  })

  it('passes no test if the settings change while the response is processed', async () => {
    const ada = { id: '1', email: 'ada@example.com', name: 'Ada' }
    await open({
      users: {
        findById: async () => ada,
        async findByEmail() {
          await portal.sso.providers.update('draft', { prompt: 'login' })
          return ada
        },
        create: async () => ada,
      },
    })
    expect((await testSignIn(scene())).status).toBe(409)
    expect((await draft()).testSignInAt).toBeUndefined()
    expect(await events()).toEqual([])
  })

  it('cannot use the response of one provider in the test sign-in of another', async () => {
    await open()
    await portal.connect(other, { slug: 'second', enabled: false })
    const page = await press(scene(), (await portal.sso.testSignIns.link('draft')).url)
    const answer = new URL((await visitor.get(next(page)!)).location!)
    answer.pathname = '/login/second/callback'
    expect((await visitor.get(answer.href)).status).toBe(404)
    expect(await events()).toEqual([])
  })

  it('cannot make a victim finish the attacker’s test sign-in, nor finish one twice', async () => {
    await open()
    const page = await press(scene(), (await portal.sso.testSignIns.link('draft')).url)
    const answer = (await visitor.get(next(page)!)).location!
    expect((await new Visitor().get(answer)).status).toBe(404)
    expect((await visitor.get(answer)).status).toBe(200)
    expect((await visitor.get(answer)).status).toBe(400)
    expect(await events()).toHaveLength(1)
  })
})

describe('a link to a test sign-in', () => {
  it('can be opened repeatedly, and starts one test sign-in', async () => {
    await open()
    const { url, token, expiresAt } = await portal.sso.testSignIns.link('draft', { actor: 'cli' })
    expect(url).toBe(`${portal.url}/login/draft/test-sign-in?token=${token}`)
    expect(expiresAt.getTime() - Date.now()).toBeLessThanOrEqual(15 * 60_000)
    for (let at = 0; at < 3; at++) expect((await new Visitor().get(url)).status).toBe(200)
    expect(await portal.sso.testSignIns.outcome(token)).toBe('waiting')
    await testSignInWith(scene(), url)
    expect(await portal.sso.testSignIns.outcome(token)).toBe('passed')
    expect((await visitor.get(url)).status).toBe(410)
    expect((await visitor.post(`${portal.url}/login/draft/test-sign-in`, { token })).status).toBe(410)
    expect(await events()).toMatchObject([{ actor: 'cli', outcome: 'passed' }])
  })

  it('works for one of ten concurrent requests', async () => {
    await open()
    const { token } = await portal.sso.testSignIns.link('draft')
    const statuses = await Promise.all(
      Array.from({ length: 10 }, async () => {
        return (await new Visitor().post(`${portal.url}/login/draft/test-sign-in`, { token })).status
      }),
    )
    expect(statuses.sort()).toEqual([200, ...Array.from({ length: 9 }, () => 410)])
  })

  it.each<[what: string, change: (url: URL) => void]>([
    ['another token', (url) => url.searchParams.set('token', 'A'.repeat(43))],
    ['two tokens', (url) => url.searchParams.append('token', 'x')],
    ['no token', (url) => url.searchParams.delete('token')],
    [
      'another provider',
      (url) => {
        url.pathname = '/login/acme/test-sign-in'
      },
    ],
  ])('is refused with %s, and the refusal is an event', async (_what, change) => {
    await open()
    const url = new URL((await portal.sso.testSignIns.link('draft')).url)
    change(url)
    expect((await visitor.get(url.href)).status).toBe(410)
    const token = url.searchParams.get('token') ?? ''
    expect((await visitor.post(url.origin + url.pathname, { token })).status).toBe(
      _what === 'two tokens' ? 200 : 410,
    )
    expect(await events('sign-in-failed')).toMatchObject(
      Array.from({ length: _what === 'two tokens' ? 1 : 2 }, () => ({ code: 'link_expired' })),
    )
  })

  it('expires after 15 minutes, as does an unfinished test that was started with it', async () => {
    await open()
    const { url, token } = await portal.sso.testSignIns.link('draft')
    const past = new Date(Date.now() - 1000).toISOString()
    await portal.knex('sso_one_time_links').update({ expires_at: past })
    expect((await visitor.get(url)).status).toBe(410)
    expect((await visitor.post(`${portal.url}/login/draft/test-sign-in`, { token })).status).toBe(410)
    expect(await portal.sso.testSignIns.outcome(token)).toBe('expired')
    const begun = await portal.sso.testSignIns.link('draft')
    await press(scene(), begun.url)
    expect(await portal.sso.testSignIns.outcome(begun.token)).toBe('waiting')
    const longAgo = new Date(Date.now() - 16 * 60_000).toISOString()
    await portal.knex('sso_one_time_links').whereNotNull('used_at').update({ used_at: longAgo })
    expect(await portal.sso.testSignIns.outcome(begun.token)).toBe('expired')
    expect(await portal.sso.testSignIns.outcome('an unknown token')).toBe('expired')
  })

  it('is stored only as a digest', async () => {
    await open()
    const { token } = await portal.sso.testSignIns.link('draft')
    expect(JSON.stringify(await portal.knex('sso_one_time_links'))).not.toContain(token)
  })

  it('cannot be created for a provider that does not exist', async () => {
    await open()
    await expect(portal.sso.testSignIns.link('nobody')).rejects.toThrow('no provider is called "nobody"')
  })
})

describe('enabling a provider', () => {
  const enable = (how = {}) => portal.sso.providers.enable('draft', how)

  it('requires a passed test sign-in, and the error message explains it', async () => {
    await open()
    await expect(enable()).rejects.toThrow(
      /no test sign-in has passed .*"draft".*providers test-sign-in draft/,
    )
    provider.faults.signature = 'bad'
    await testSignIn(scene())
    await expect(enable()).rejects.toThrow('no test sign-in has passed')
    provider.reset()
    await testSignIn(scene())
    await enable({ actor: 'grace' })
    expect(await draft()).toMatchObject({ enabled: true, testSignInAt: expect.any(String) })
    expect(await events('provider-changed')).toEqual([
      { slug: 'draft', actor: 'grace', change: 'enabled', testSignIn: 'passed' },
    ])
  })

  it('requires a new test sign-in only after a change that affects sign-in', async () => {
    await open({ mailer: codes })
    await testSignIn(scene())
    const { providers } = portal.sso
    const soon = '2030-01-31'
    await providers.update('draft', { displayName: 'Draft!', logout: 'portal', clientSecretExpiresAt: soon })
    expect((await draft()).testSignInAt).toBeDefined()
    for (const change of [
      { emailClaim: 'upn' },
      { trustsEmail: true },
      { clientSecret: provider.clientSecret },
      { prompt: 'login' as const },
      { emailClaim: null },
    ]) {
      await testSignIn(scene())
      expect((await draft()).testSignInAt).toBeDefined()
      await providers.update('draft', change)
      expect(await draft()).toMatchObject({ testSignInAt: undefined, testSignInUserId: undefined })
    }
    await expect(enable()).rejects.toThrow('no test sign-in has passed')
  })

  it('without a test sign-in is recorded in the event, as for a provider connected from code', async () => {
    await open()
    await enable({ withoutTestSignIn: true, actor: 'grace' })
    expect(await events('provider-changed')).toEqual([
      { slug: 'draft', actor: 'grace', change: 'enabled', testSignIn: 'overridden' },
    ])
    expect(await events('provider-connected')).toMatchObject([
      { slug: 'acme', enabled: true, testSignIn: 'overridden' },
      { slug: 'draft', enabled: false },
    ])
    expect((await events('provider-connected'))[1]).not.toHaveProperty('test-sign-in')
  })

  it('that is already enabled requires nothing', async () => {
    await open()
    await portal.sso.providers.enable('acme')
    expect(await events('provider-changed')).toEqual([{ slug: 'acme', actor: 'code', change: 'enabled' }])
  })
})

describe('the first provider of a portal, which disables the classic login', () => {
  const enable = () => portal.sso.providers.enable('draft')
  const openFirst = async (options = {}) => {
    await open(options)
    await portal.sso.providers.disable('acme')
  }

  it('is enabled after a test sign-in of an existing user', async () => {
    await openFirst()
    await testSignIn(scene())
    await enable()
    expect((await visitor.open(`${portal.url}/login/draft?returnTo=/portal`)).url).toBe(
      `${portal.url}/portal`,
    )
  })

  it.each([
    ['no known user', { email: 'new@example.com' }],
    ['an address that has to be verified', { email_verified: false }],
  ])('is not enabled if the test sign-in ended with %s', async (_what, person) => {
    await openFirst({ mailer: codes })
    provider.person = { ...provider.person, ...person }
    await testSignIn(scene())
    await expect(enable()).rejects.toThrow(
      /ended without an existing user.*only sign-in method.*`portal-sso users add`/,
    )
    // With another enabled provider, it can be enabled.
    await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
    await enable()
  })

  describe('ends on a report with', () => {
    const begin = async () =>
      await onward(scene(), await visitor.post(`${portal.url}/admin/sso/draft/test-sign-in`))
    const next = ({ body }: Seen) =>
      textOf(/<section class="sso-next"[\s\S]*?<\/section>/.exec(body)?.[0] ?? '')

    it('the steps, and a button that enables it', async () => {
      await openFirst()
      const report = await begin()
      expect(next(report)).toContain('Next: enable it')
      expect(report.body).toContain('aria-current="step"><span class="admin-step-mark" aria-hidden="true">4<')
      const enabled = await visitor.post(`${portal.url}/admin/sso/draft/enable`)
      expect([enabled.status, (await draft()).enabled]).toEqual([303, true])
      // Nothing is left to do.
      expect(next(await begin())).toBe('')
    })

    it.each<[what: string, options: TestPortalOptions, person: object, next: string, href: string]>([
      [
        'a user who is new',
        {},
        { email: 'new@example.com' },
        'test with an account that the portal knows',
        'action="/admin/sso/draft/test-sign-in"',
      ],
      [
        'an address that needs a code',
        { mailer: codes },
        { email_verified: false },
        'choose whose addresses you trust',
        'href="/admin/sso/draft/trust"',
      ],
      [
        'an address that needs a code, without a mailer',
        {},
        { email_verified: false },
        'choose whose addresses you trust',
        'href="/admin/sso/draft/trust"',
      ],
      [
        'a user who is deactivated',
        {},
        { email: 'off@example.com' },
        'correct it, and test again',
        'href="/admin/sso/draft/edit"',
      ],
    ])('what is missing after %s, and a button for it', async (_what, options, person, text, href) => {
      await openFirst(options)
      await portal.sso.users.create({ email: 'off@example.com', name: 'Off', fields: {} })
      await portal.knex('sso_users').where({ email: 'off@example.com' }).update({ active: false })
      provider.person = { ...provider.person, ...person }
      const report = await begin()
      expect(next(report)).toContain(`Next: ${text}`)
      expect(report.body).toContain(href)
      expect(report.body).not.toContain('/draft/enable')
    })

    it('a button that enables it if a code would lead to the signed-in administrator', async () => {
      await open({ mailer: codes })
      await visitor.open(`${portal.url}/login/acme`)
      await portal.sso.providers.disable('acme')
      provider.person = { ...provider.person, email_verified: false }
      const report = await begin()
      expect(outlookIn(report)).toContain('You would then be signed in as the same user as now.')
      expect(next(report)).toContain('Next: enable it')
      await enable()
      // A code for another user proves nothing about the administrator's own way in.
      await portal.sso.users.create({ email: 'grace@example.com', name: 'Grace', fields: {} })
      await portal.sso.providers.disable('draft')
      provider.person = { ...provider.person, sub: 'grace', email: 'grace@example.com' }
      const other = await begin()
      expect(next(other)).toContain('choose whose addresses you trust')
      expect(other.body).not.toContain('Grace')
    })
  })

  it('is not enabled if the test sign-in is more than twelve hours old', async () => {
    await openFirst()
    await testSignIn(scene())
    const testedAgo = (hours: number) =>
      portal
        .knex('sso_providers')
        .where({ slug: 'draft' })
        .update({ test_sign_in_at: new Date(Date.now() - hours * 3_600_000).toISOString() })
    await testedAgo(12.1)
    await expect(enable()).rejects.toThrow(/older than 12 hours.*only sign-in method/)
    await testedAgo(11.9)
    await enable()
  })

  it('is determined separately for each portal', async () => {
    await open()
    await portal.connect(provider, { portal: 'south', enabled: false })
    await portal
      .knex('sso_providers')
      .where({ portal: 'south' })
      .update({ test_sign_in_at: new Date().toISOString() })
    await expect(portal.sso.providers.enable('acme', { portal: 'south' })).rejects.toThrow(
      'only sign-in method',
    )
  })
})
