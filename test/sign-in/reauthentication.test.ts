import { afterEach, describe, expect, it, jest } from '@jest/globals'
import type { Express } from 'express'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import type { PortalSso } from '../../lib/index.ts'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import type { Claims, Faults } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { postResponse, useProvider } from '../support/scene.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

const multiFactor = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor'
const provider = await useProvider()
const open = closedAfterEach()
afterEach(() => void jest.restoreAllMocks())

/** Mounts pages that require a recent or a strong authentication. */
function mountGuarded(app: Express, sso: PortalSso): void {
  app.use(sso.session())
  app.get('/basket', (req, res) => {
    Object.assign(req.session, { basket: req.query.put ?? (req.session as { basket?: string }).basket })
    res.json((req.session as { basket?: string }).basket ?? null)
  })
  app.post('/classic', async (req, res) => {
    req.login((await sso.users.findByEmail('ada@example.com'))!, () => res.send('in'))
  })
  app.post('/password', (req, res) => {
    sso.markAuthenticated(req)
    res.send('marked')
  })
  app.use('/recent', sso.guard({ maxAge: '15m' }), (req, res) => void res.json(req.user))
  app.use('/strong', sso.guard({ acr: [multiFactor, 'mfa'] }), (req, res) => void res.json(req.user))
  app.use('/both', sso.guard({ maxAge: 60, acr: 'mfa' }), (_req, res) => void res.send('in'))
  mountDefault(app, sso)
}

async function portalWithAda(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortal({ mount: mountGuarded, ...options })
  open.push(portal)
  await portal.connect(provider)
  for (const name of ['ada', 'grace'])
    await portal.sso.users.create({ email: `${name}@example.com`, name, fields: {} })
  return portal
}

const ago = (minutes: number) => Math.floor(Date.now() / 1000) - minutes * 60

/** @param claims additional claims of the ID token */
async function signIn(portal: TestPortal, claims: Claims = {}, visitor = new Visitor()): Promise<Visitor> {
  provider.faults.claims = { ...claims }
  await visitor.open(`${portal.url}/login/acme`)
  expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  return visitor
}

/** Opens a page and returns the parameters of the resulting authorization request. */
async function authorizationParameters(
  portal: TestPortal,
  visitor: Visitor,
  path: string,
): Promise<Record<string, string>> {
  const redirect = await visitor.get(portal.url + path)
  expect(redirect.status).toBe(302)
  const { location } = await visitor.get(redirect.location!)
  return Object.fromEntries(new URL(location!).searchParams)
}

const requestsFor = (name: string) =>
  provider.requests.filter(({ path }) => path === '/authorize').map(({ query }) => query.get(name))

const causeOf = (portal: TestPortal) => portal.logs.at(-1)!.fields.cause

describe('a guard with maxAge', () => {
  it('admits a user who authenticated a moment ago', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(10) })
    expect((await visitor.get(`${portal.url}/recent/page`)).status).toBe(200)
  })

  it('sends all other users to their own provider to authenticate again, then back to the page', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    const parameters = await authorizationParameters(portal, visitor, '/recent/page?of=mine')
    expect(parameters).toMatchObject({ max_age: '900' })
    expect(parameters).not.toHaveProperty('prompt')
    expect(parameters).not.toHaveProperty('acr_values')
    provider.faults.claims = { auth_time: ago(0) }
    const seen = await visitor.open(`${portal.url}/recent/page?of=mine`)
    expect([seen.status, seen.url]).toEqual([200, `${portal.url}/recent/page?of=mine`])
  })

  it('requires a new authentication after that time, even if the session was in use', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(14) })
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(200)
    expect((await visitor.get(`${portal.url}/both`)).status).toBe(302)
  })

  it('requires a new authentication if the provider sent no auth_time', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(302)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  })

  it('cannot be weakened by the settings of the provider', async () => {
    const portal = await portalWithAda()
    await portal.sso.providers.update('acme', {
      prompt: 'consent',
      maxAge: 86_400,
      acr: ['weak', 'mfa'],
      authorizationParameters: { prompt: 'none' },
    })
    const visitor = await signIn(portal, { auth_time: ago(20), acr: 'weak' })
    expect(await authorizationParameters(portal, visitor, '/both')).toMatchObject({
      max_age: '60',
      acr_values: 'mfa',
      prompt: 'consent',
    })
    // Nor is the second request, without `max_age`.
    provider.faults.claims = { auth_time: ago(20), acr: 'mfa' }
    provider.requests.length = 0
    expect((await visitor.open(`${portal.url}/both`)).status).toBe(403)
    expect(requestsFor('prompt')).toEqual(['consent', 'login'])
  })

  it.each<[what: string, claims: Claims, title: string, links: string[], cause: string]>([
    [
      'omits auth_time',
      {},
      'We could not confirm who you are',
      ['Sign out at Acme, then sign in', 'Choose a sign-in service', 'Back to Portal'],
      'no valid auth_time',
    ],
    [
      'sends an auth_time in the future',
      { auth_time: ago(-60) },
      'We could not confirm who you are',
      ['Sign out at Acme, then sign in', 'Choose a sign-in service', 'Back to Portal'],
      'no valid auth_time',
    ],
    [
      'did not re-authenticate the user',
      { auth_time: ago(16) },
      'A new sign-in is required',
      ['Sign out at Acme, then sign in', 'Choose a sign-in service', 'Back to Portal'],
      'older than max_age',
    ],
  ])(
    'refuses the response of a provider that %s, without a redirect loop, and keeps the session',
    async (_what, claims, title, links, cause) => {
      const portal = await portalWithAda()
      const visitor = await signIn(portal, { auth_time: ago(20) })
      provider.faults.claims = claims
      const refused = await visitor.open(`${portal.url}/recent`)
      expect([refused.status, refused.url.startsWith(`${portal.url}/login/acme/callback`)]).toEqual([
        403,
        true,
      ])
      expect(refused.body).toContain(title)
      expect([...refused.body.matchAll(/<a [^>]*>([^<]+)<\/a>/g)].map(([, label]) => label)).toEqual(links)
      expect(refused.body).toContain('Sign out there, then sign in again.')
      expect(refused.body).toContain(`href="${provider.issuer}/logout?client_id=`)
      expect(requestsFor('max_age').slice(-2)).toEqual(['900', null])
      expect(refused.body).toContain('href="/login?returnTo=%2Frecent&amp;max_age=900"')
      expect(causeOf(portal)).toContain(cause)
      expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
      expect((await visitor.get(`${portal.url}/recent`)).status).toBe(302)
    },
  )

  it.each<[what: string, faults: Partial<Faults>, asked: (string | null)[][]]>([
    ['responds with 500 to max_age with prompt=login', { failsOnMaxAgeWithPrompt: true }, [['900', null]]],
    [
      'responds with 500 to max_age with prompt=login, and ignores max_age',
      { failsOnMaxAgeWithPrompt: true, ignoresMaxAge: true },
      [
        ['900', null],
        [null, 'login'],
      ],
    ],
    [
      'asks only for prompt=login',
      { ignoresMaxAge: true },
      [
        ['900', null],
        [null, 'login'],
      ],
    ],
    ['sends auth_time only for max_age', { authTimeOnlyForMaxAge: true }, [['900', null]]],
    ['asks only for max_age', { ignoresPromptLogin: true }, [['900', null]]],
  ])('admits a user whose provider %s', async (_what, faults, asked) => {
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    Object.assign(provider.faults, { keepsSession: true, ...faults })
    const portal = await portalWithAda()
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    clock.pass(20 * 60_000)
    provider.requests.length = 0
    const seen = await visitor.open(`${portal.url}/recent`)
    expect([seen.status, seen.url]).toEqual([200, `${portal.url}/recent`])
    expect(requestsFor('max_age').map((maxAge, at) => [maxAge, requestsFor('prompt')[at]])).toEqual(asked)
  })

  it('never sends max_age together with prompt=login, whatever the row and the browser ask for', async () => {
    const portal = await portalWithAda()
    provider.faults.failsOnMaxAgeWithPrompt = true
    await portal.sso.providers.update('acme', { prompt: 'login', maxAge: 3600 })
    for (const query of [
      '',
      '?max_age=60',
      '?max_age=60&account=other',
      '?restarted=1&account=other&max_age=60',
    ])
      await new Visitor().open(`${portal.url}/login/acme${query}`)
    const pairs = requestsFor('max_age').map((maxAge, at) => [maxAge, requestsFor('prompt')[at]])
    expect(pairs.length).toBeGreaterThan(4)
    expect(pairs).not.toContainEqual([expect.any(String), 'login'])
  })

  it('sends a browser to the provider twice at most, even if each response asks for another attempt', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    provider.requests.length = 0
    const refused = await visitor.open(`${portal.url}/recent`)
    expect([refused.status, requestsFor('state').length]).toEqual([403, 2])
    // The back button restarts an attempt once, and this is the last time.
    await visitor.open(refused.url)
    expect(requestsFor('state').length).toBeLessThanOrEqual(4)
  })

  it('retries after a response by form_post without a redirect, which `form-action` would block', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    await portal.sso.providers.update('acme', { responseMode: 'form_post' })
    const theirs = await visitor.open(`${portal.url}/recent`)
    provider.faults.claims = { auth_time: ago(20) }
    const onward = await postResponse({ portal, visitor }, theirs)
    provider.faults.claims = { auth_time: ago(0) }
    expect(await postResponse({ portal, visitor }, onward)).toMatchObject({
      status: 200,
      url: `${portal.url}/recent`,
    })
  })

  it('cannot be bypassed by removing or weakening the requirement in the address bar', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    for (const query of [
      '',
      '?max_age=99999999',
      '?max_age=-1',
      '?max_age=1e9',
      '?max_age=',
      '?max_age=1&max_age=2',
    ]) {
      await visitor.open(`${portal.url}/login/acme${query}`)
      expect((await visitor.get(`${portal.url}/recent`)).status).toBe(302)
    }
  })

  it('cannot be bypassed by removing `prompt` and `max_age` from the request to the provider', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    const redirect = await visitor.get(`${portal.url}/recent`)
    const there = new URL((await visitor.get(redirect.location!)).location!)
    there.searchParams.delete('prompt')
    there.searchParams.delete('max_age')
    expect((await visitor.open(there.href)).status).toBe(403)
  })

  it('tells a client that accepts no HTML what is missing and where to sign in', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    const seen = await visitor.get(`${portal.url}/both`, { accept: 'application/json' })
    expect(seen.status).toBe(401)
    expect(JSON.parse(seen.body)).toMatchObject({
      code: 'reauthentication_required',
      login: '/login/acme?max_age=60&acr_values=mfa',
    })
  })

  it('returns from a posted form to the page with the form, and to no other site', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    const post = async (referer: string) => {
      const seen = await visitor.post(`${portal.url}/recent`, {}, { referer })
      expect(seen.location).toBeUndefined()
      return [seen.status, new URL(next(seen)!, portal.url).searchParams.get('returnTo')]
    }
    // No redirect: Chrome would apply `form-action` of the form's page to the provider.
    expect(await post(`${portal.url}/recent/form?of=mine#x`)).toEqual([200, '/recent/form?of=mine'])
    for (const referer of ['https://evil.example/form', '', 'nonsense', `${portal.url}//evil.example`])
      expect(await post(referer)).toEqual([200, null])
  })

  it('shows the picker with the requirement if the session’s provider is gone', async () => {
    const portal = await portalWithAda()
    await portal.connect(provider, { slug: 'second', displayName: 'Second' })
    const visitor = await signIn(portal, { auth_time: ago(20) })
    await portal.sso.providers.disable('acme')
    const picker = await visitor.open(`${portal.url}/recent`)
    expect(picker.url).toBe(`${portal.url}/login?returnTo=%2Frecent&max_age=900`)
    expect(picker.body).toContain('href="/login/second?returnTo=%2Frecent&amp;max_age=900"')
    expect(picker.body).toContain('For your security, please sign in again to continue.')
  })

  it('explains the picker only to users who have to authenticate again', async () => {
    const portal = await portalWithAda()
    const picker = await new Visitor().open(`${portal.url}/recent`)
    expect(picker.body).toContain('<h1>Sign in</h1>')
    expect(picker.body).not.toContain('sso-notice')
  })

  it('shows the picker if another provider has the slug now', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    await portal.knex('sso_providers').update({ issuer: 'https://another.example' })
    expect((await visitor.get(`${portal.url}/recent`)).location).toBe(
      `${portal.url}/login?returnTo=%2Frecent&max_age=900`,
    )
  })

  it('accepts a recent `req.login` of the host as an authentication, but without acr', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    await visitor.post(`${portal.url}/classic`)
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(200)
    expect((await visitor.get(`${portal.url}/strong`)).location).toContain(
      '/login?returnTo=%2Fstrong&acr_values=',
    )
  })
})

describe('`req.login` for the user who is already signed in', () => {
  it('is not a new authentication after a sign-in with a provider', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(60), acr: 'mfa' })
    await visitor.post(`${portal.url}/classic`)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
    expect((await visitor.get(`${portal.url}/recent`)).location).toContain('/login/acme?')
    expect((await visitor.get(`${portal.url}/strong`)).status).toBe(200)
  })

  it('is not a new authentication after a login of the host', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    await visitor.post(`${portal.url}/classic`)
    jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 20 * 60_000)
    expect((await visitor.post(`${portal.url}/classic`)).body).toBe('in')
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
    expect((await visitor.get(`${portal.url}/recent`)).location).toContain('/login?')
  })
})

describe('`sso.markAuthenticated`', () => {
  it('makes the session fresh, without the acr of the older authentication', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(60), acr: 'mfa' })
    expect((await visitor.post(`${portal.url}/password`)).body).toBe('marked')
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(200)
    expect((await visitor.get(`${portal.url}/strong`)).location).toContain('acr_values=')
    expect((await visitor.get(`${portal.url}/both`)).status).toBe(302)
    jest.spyOn(Date, 'now').mockReturnValue(Date.now() + 16 * 60_000)
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(302)
  })

  it('keeps its effect if the host refreshes the session afterwards', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(60) })
    await visitor.post(`${portal.url}/password`)
    await visitor.post(`${portal.url}/classic`)
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(200)
  })

  it('is refused without a signed-in user', async () => {
    const portal = await portalWithAda()
    expect((await new Visitor().post(`${portal.url}/password`)).status).toBe(401)
  })
})

describe('a guard with acr', () => {
  it('admits users with a required acr, and requests one from all others', async () => {
    const portal = await portalWithAda()
    for (const acr of ['mfa', multiFactor])
      expect((await (await signIn(portal, { acr })).get(`${portal.url}/strong`)).status).toBe(200)
    const visitor = await signIn(portal, { acr: 'password' })
    const parameters = await authorizationParameters(portal, visitor, '/strong')
    expect(parameters.acr_values).toBe(`${multiFactor} mfa`)
    expect(parameters).not.toHaveProperty('max_age')
    expect(parameters).not.toHaveProperty('prompt')
    provider.faults.claims = { acr: 'mfa' }
    expect((await visitor.open(`${portal.url}/strong`)).status).toBe(200)
  })

  it.each<[what: string, claims: Claims]>([
    ['no acr', {}],
    ['a weaker acr', { acr: 'password' }],
    ['all acr values in one string', { acr: `${multiFactor} mfa` }],
    ['a list of acr values', { acr: ['mfa'] }],
  ])('refuses an ID token with %s', async (_what, claims) => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    provider.faults.claims = claims
    const refused = await visitor.open(`${portal.url}/strong`)
    expect([refused.status, refused.body.includes('Extra verification is required')]).toEqual([403, true])
    expect(causeOf(portal)).toContain('acr')
  })

  it('makes the picker mention the extra verification step', async () => {
    const portal = await portalWithAda()
    const picker = await new Visitor().open(`${portal.url}/strong`)
    expect(picker.body).toContain('requires an extra verification step')
  })

  it('ignores acr and auth_time in the authorization response, which the browser can change', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    provider.faults.callbackParams = { acr: 'mfa', acr_values: 'mfa', auth_time: String(ago(0)) }
    expect((await visitor.open(`${portal.url}/strong`)).status).toBe(403)
  })
})

describe('a user who authenticates again', () => {
  const basket = async (portal: TestPortal, visitor: Visitor) =>
    JSON.parse((await visitor.get(`${portal.url}/basket`)).body) as string | null
  const sessionOf = (portal: TestPortal, visitor: Visitor) =>
    visitor.cookies.get(portal.url)!.get('portal-sso')

  it('gets a new session with the data of the old one, which ends', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    await visitor.get(`${portal.url}/basket?put=a+lamp`)
    const before = visitor.clone()
    provider.faults.claims = { auth_time: ago(0) }
    expect((await visitor.open(`${portal.url}/recent`)).status).toBe(200)
    expect(await basket(portal, visitor)).toBe('a lamp')
    expect(sessionOf(portal, visitor)).not.toBe(sessionOf(portal, before))
    expect((await before.get(`${portal.url}/portal`)).status).toBe(302)
    expect(await portal.knex('sso_sessions')).toHaveLength(1)
  })

  it('as another user gets a session without the data of the previous user', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    await visitor.get(`${portal.url}/basket?put=a+lamp`)
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true }
    provider.faults.claims = { auth_time: ago(0) }
    const seen: Seen = await visitor.open(`${portal.url}/recent`)
    expect(seen.body).toContain('grace@example.com')
    expect(await basket(portal, visitor)).toBeNull()
  })
})

describe('at a real provider', () => {
  it('a user authenticates again once, and is then admitted', async () => {
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    const portal = await portalWithAda()
    const clientSecret = 'a secret of the test'
    const real = await startIdentityProvider({
      name: 'Real',
      port: 0,
      clientId: 'portal',
      clientName: 'Portal',
      clientSecret,
      redirectUris: [portal.sso.providers.redirectUri('real')],
      people: [{ id: 'ada', name: 'Ada', email: 'ada@example.com', emailVerified: true, hint: '' }],
    })
    open.push(real)
    await portal.sso.providers.connect({
      slug: 'real',
      displayName: 'Real',
      issuer: real.issuer,
      clientId: 'portal',
      clientSecret,
    })
    const visitor = new Visitor()
    const choose = async (page: Seen) => {
      const [, action = ''] = /<form[^>]*action="([^"]*)"/.exec(page.body) ?? []
      return await visitor.follow(await visitor.post(new URL(action, page.url).href, { person: 'ada' }))
    }
    await choose(await visitor.open(`${portal.url}/login/real`))
    // An ordinary sign-in uses the provider's session, without a prompt and without auth_time.
    expect((await visitor.open(`${portal.url}/login/real?returnTo=/portal`)).url).toBe(`${portal.url}/portal`)
    // A user who authenticated there a moment ago is not asked again.
    expect((await visitor.open(`${portal.url}/recent`)).url).toBe(`${portal.url}/recent`)
    clock.pass(20 * 60_000)
    const prompted = await visitor.open(`${portal.url}/recent`)
    expect(prompted.url).toContain(`${real.issuer}/sign-in/`)
    expect(await choose(prompted)).toMatchObject({ status: 200, url: `${portal.url}/recent` })

    // A user without any session authenticates once, not twice.
    visitor.cookies.clear()
    const picker = await visitor.open(`${portal.url}/recent`)
    const [, href = ''] = /href="(\/login\/real[^"]*)"/.exec(picker.body) ?? []
    const firstPrompt = await visitor.open(portal.url + href.replaceAll('&amp;', '&'))
    expect(await choose(firstPrompt)).toMatchObject({ status: 200, url: `${portal.url}/recent` })
  })
})

it('a client that accepts no HTML gets the requirement with the first response', async () => {
  const portal = await portalWithAda()
  const seen = await new Visitor().get(`${portal.url}/both`, { accept: 'application/json' })
  const login = '/login?max_age=60&acr_values=mfa'
  expect(JSON.parse(seen.body)).toMatchObject({ code: 'not_signed_in', login })
})

describe('invalid guard options', () => {
  it.each<[options: unknown, sentence: RegExp]>([
    [{ maxAge: '15 minutes' }, /maxAge: write seconds/],
    [{ maxAge: 'm' }, /maxAge/],
    [{ maxAge: -1 }, /maxAge/],
    [{ maxAge: 10 }, /half a minute at least/],
    [{ maxAge: Number.NaN }, /maxAge/],
    // Too long for a sign-in link, so no sign-in could meet the requirement.
    [{ maxAge: 1e9 }, /a year at most/],
    [{ maxAge: '99999999h' }, /maxAge/],
    [{ maxAge: null }, /maxAge/],
    [{ acr: [] }, /acr: write one or several/],
    [{ acr: 'two words' }, /acr/],
    [{ acr: '' }, /acr/],
    [{ acr: ['mfa', ''] }, /acr/],
    [{ acr: [1] }, /acr/],
    [{ acr: ['x'.repeat(100), 'y'.repeat(100)] }, /together at most 200 characters/],
    [{ maxage: 60 }, /there is no option `maxage`/],
  ])('%j: the error says what to write', async (options, sentence) => {
    const portal = await startPortal()
    open.push(portal)
    expect(() => portal.sso.guard(options as object)).toThrow(sentence)
  })
})
