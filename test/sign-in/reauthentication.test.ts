import { describe, expect, it } from '@jest/globals'
import type { Express } from 'express'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import type { PortalSso } from '../../lib/index.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import type { Claims } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

const multiFactor = 'http://schemas.openid.net/pape/policies/2007/06/multi-factor'
const provider = await useProvider()
const open = closedAfterEach()

/** Pages for which it is not enough to be signed in. */
function mountGuarded(app: Express, sso: PortalSso): void {
  app.use(sso.session())
  app.get('/basket', (req, res) => {
    Object.assign(req.session, { basket: req.query.put ?? (req.session as { basket?: string }).basket })
    res.json((req.session as { basket?: string }).basket ?? null)
  })
  app.post('/classic', async (req, res) => {
    req.login((await sso.users.findByEmail('ada@example.com'))!, () => res.send('in'))
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

/** @param claims of the ID token, beside those of everybody */
async function signIn(portal: TestPortal, claims: Claims = {}, visitor = new Visitor()): Promise<Visitor> {
  provider.faults.claims = { ...claims }
  await visitor.open(`${portal.url}/login/acme`)
  expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  return visitor
}

/** What the provider is asked when somebody wants to see a page. */
async function askedFor(portal: TestPortal, visitor: Visitor, path: string): Promise<Record<string, string>> {
  const turnedAway = await visitor.get(portal.url + path)
  expect(turnedAway.status).toBe(302)
  const { location } = await visitor.get(turnedAway.location!)
  return Object.fromEntries(new URL(location!).searchParams)
}

const causeOf = (portal: TestPortal) => portal.logs.at(-1)!.fields.cause

describe('a guard with maxAge', () => {
  it('admits a user who authenticated a moment ago', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(10) })
    expect((await visitor.get(`${portal.url}/recent/page`)).status).toBe(200)
  })

  it('sends all other users to their own provider to authenticate again, and back', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    const asked = await askedFor(portal, visitor, '/recent/page?of=mine')
    expect(asked).toMatchObject({ max_age: '900', prompt: 'login' })
    expect(asked).not.toHaveProperty('acr_values')
    provider.faults.claims = { auth_time: ago(0) }
    const seen = await visitor.open(`${portal.url}/recent/page?of=mine`)
    expect([seen.status, seen.url]).toEqual([200, `${portal.url}/recent/page?of=mine`])
  })

  it('asks again when that was long ago, also of a session that was in use all the time', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(14) })
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(200)
    expect((await visitor.get(`${portal.url}/both`)).status).toBe(302)
  })

  it('asks a user whose provider sent no auth_time', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(302)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  })

  it('cannot be weakened by the provider’s row', async () => {
    const portal = await portalWithAda()
    await portal.sso.providers.update('acme', {
      prompt: 'consent',
      authorizationParameters: { max_age: '86400', acr_values: 'weak', prompt: 'none' },
    })
    const visitor = await signIn(portal)
    expect(await askedFor(portal, visitor, '/both')).toMatchObject({
      max_age: '60',
      acr_values: 'mfa',
      prompt: 'login',
    })
  })

  it.each<[what: string, claims: Claims, title: string, ways: string[], cause: string]>([
    [
      'says nothing of when',
      {},
      'We could not confirm who you are',
      ['Choose a provider', 'Back to Portal'],
      'no valid auth_time',
    ],
    [
      'speaks of the future',
      { auth_time: ago(-60) },
      'We could not confirm who you are',
      ['Choose a provider', 'Back to Portal'],
      'no valid auth_time',
    ],
    [
      'asked nobody',
      { auth_time: ago(16) },
      'A new sign-in is required',
      ['Try again', 'Choose a provider', 'Back to Portal'],
      'older than max_age',
    ],
  ])(
    'refuses the response of a provider that %s, once, and keeps the session',
    async (_what, claims, title, ways, cause) => {
      const portal = await portalWithAda()
      const visitor = await signIn(portal, { auth_time: ago(20) })
      provider.faults.claims = claims
      const refused = await visitor.open(`${portal.url}/recent`)
      expect([refused.status, refused.url.startsWith(`${portal.url}/login/acme/callback`)]).toEqual([
        403,
        true,
      ])
      expect(refused.body).toContain(title)
      expect([...refused.body.matchAll(/<a [^>]*>([^<]+)<\/a>/g)].map(([, label]) => label)).toEqual(ways)
      expect(refused.body.includes('href="/login/acme?returnTo=%2Frecent&amp;max_age=900"')).toBe(
        ways.includes('Try again'),
      )
      expect(refused.body).toContain('href="/login?returnTo=%2Frecent&amp;max_age=900"')
      expect(causeOf(portal)).toContain(cause)
      expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
      expect((await visitor.get(`${portal.url}/recent`)).status).toBe(302)
    },
  )

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
    const turnedAway = await visitor.get(`${portal.url}/recent`)
    const there = new URL((await visitor.get(turnedAway.location!)).location!)
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

  it('leads back from a posted form to our page with the form, and to no other site', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { auth_time: ago(20) })
    const post = async (referer: string) => {
      const seen = await visitor.post(`${portal.url}/recent`, {}, { referer })
      expect(seen.location).toBeUndefined()
      return [seen.status, new URL(next(seen)!, portal.url).searchParams.get('returnTo')]
    }
    // No redirect: the policy of the form's page would be applied to the provider's site, too.
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
    expect(picker.body).toContain('Sign in to Portal')
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

  it('takes whom the host signed in itself at its word, for as long', async () => {
    const portal = await portalWithAda()
    const visitor = new Visitor()
    await visitor.post(`${portal.url}/classic`)
    expect((await visitor.get(`${portal.url}/recent`)).status).toBe(200)
    expect((await visitor.get(`${portal.url}/strong`)).location).toContain(
      '/login?returnTo=%2Fstrong&acr_values=',
    )
  })
})

it('`req.login` of the signed-in user by the host is no new authentication', async () => {
  const portal = await portalWithAda()
  const visitor = await signIn(portal, { auth_time: ago(60), acr: 'mfa' })
  await visitor.post(`${portal.url}/classic`)
  expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  expect((await visitor.get(`${portal.url}/recent`)).location).toContain('/login/acme?')
  expect((await visitor.get(`${portal.url}/strong`)).status).toBe(200)
})

describe('a guard with acr', () => {
  it('admits users who signed in with one of these, and requests one of them from all others', async () => {
    const portal = await portalWithAda()
    for (const acr of ['mfa', multiFactor])
      expect((await (await signIn(portal, { acr })).get(`${portal.url}/strong`)).status).toBe(200)
    const visitor = await signIn(portal, { acr: 'password' })
    const asked = await askedFor(portal, visitor, '/strong')
    expect(asked.acr_values).toBe(`${multiFactor} mfa`)
    expect(asked).not.toHaveProperty('max_age')
    expect(asked).not.toHaveProperty('prompt')
    provider.faults.claims = { acr: 'mfa' }
    expect((await visitor.open(`${portal.url}/strong`)).status).toBe(200)
  })

  it.each<[what: string, claims: Claims]>([
    ['nothing of how', {}],
    ['a weaker way', { acr: 'password' }],
    ['all of them at once', { acr: `${multiFactor} mfa` }],
    ['a list', { acr: ['mfa'] }],
  ])('refuses an answer that says %s', async (_what, claims) => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    provider.faults.claims = claims
    const refused = await visitor.open(`${portal.url}/strong`)
    expect([refused.status, refused.body.includes('Extra verification is required')]).toEqual([403, true])
    expect(causeOf(portal)).toContain('acr')
  })

  it('has the picker say that it asks for more than signing in', async () => {
    const portal = await portalWithAda()
    const picker = await new Visitor().open(`${portal.url}/strong`)
    expect(picker.body).toContain('requires an extra verification step')
  })

  it('believes nothing that the browser says of it', async () => {
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

  it('gets a new session with the portal’s data, and the old one ends', async () => {
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

  it('as another user finds no data of the previous one', async () => {
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
  it('users are asked once more, and pass then', async () => {
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
    // Signed in there: an ordinary sign-in asks nothing, and says nothing of when.
    expect((await visitor.open(`${portal.url}/login/real?returnTo=/portal`)).url).toBe(`${portal.url}/portal`)
    const asked = await visitor.open(`${portal.url}/recent`)
    expect(asked.url).toContain(`${real.issuer}/sign-in/`)
    expect(await choose(asked)).toMatchObject({ status: 200, url: `${portal.url}/recent` })

    // Who is not signed in anywhere shows who they are once, not twice.
    visitor.cookies.clear()
    const picker = await visitor.open(`${portal.url}/recent`)
    const [, href = ''] = /href="(\/login\/real[^"]*)"/.exec(picker.body) ?? []
    const askedOnce = await visitor.open(portal.url + href.replaceAll('&amp;', '&'))
    expect(await choose(askedOnce)).toMatchObject({ status: 200, url: `${portal.url}/recent` })
  })
})

it('a client that accepts no HTML learns at once what the sign-in requires', async () => {
  const portal = await portalWithAda()
  const seen = await new Visitor().get(`${portal.url}/both`, { accept: 'application/json' })
  const login = '/login?max_age=60&acr_values=mfa'
  expect(JSON.parse(seen.body)).toMatchObject({ code: 'not_signed_in', login })
})

describe('a guard’s options that are wrong', () => {
  it.each<[options: unknown, sentence: RegExp]>([
    [{ maxAge: '15 minutes' }, /maxAge: write seconds/],
    [{ maxAge: 'm' }, /maxAge/],
    [{ maxAge: -1 }, /maxAge/],
    [{ maxAge: 10 }, /half a minute at least/],
    [{ maxAge: Number.NaN }, /maxAge/],
    // Too long for the address that demands it: nobody would ever have met it, nor be told so.
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
  ])('%j: a sentence says what to write', async (options, sentence) => {
    const portal = await startPortal()
    open.push(portal)
    expect(() => portal.sso.guard(options as object)).toThrow(sentence)
  })
})
