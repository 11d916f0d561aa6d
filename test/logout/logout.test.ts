import { beforeEach, describe, expect, it } from '@jest/globals'
import type { Express } from 'express'
import session, { MemoryStore } from 'express-session'
import { decodeJwt } from 'jose'
import knexModule from 'knex'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import type { PortalSso } from '../../lib/index.ts'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { type Claims, type Faults, startFaultyProvider } from '../support/faulty-provider.ts'
import { responded } from '../support/http-requests.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()

beforeEach(() => {
  provider.person.sid = 'session-1'
})

async function emptyPortal(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortal(options)
  open.push(portal)
  return portal
}

async function portalWithAda(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortalWithAda(provider, options)
  open.push(portal)
  return portal
}

async function signIn(portal: TestPortal, { sid }: { sid?: string } = {}): Promise<Visitor> {
  if (sid !== undefined) provider.person.sid = sid
  const visitor = new Visitor()
  await visitor.open(`${portal.url}/login/acme`)
  expect(await isIn(visitor, portal)).toBe(true)
  return visitor
}

async function isIn(visitor: Visitor, portal: TestPortal): Promise<boolean> {
  return (await visitor.get(`${portal.url}/portal`)).status === 200
}

/** Mounts a host with its own express-session and this store. */
const withStoreOf = (store: session.Store) => (app: Express, sso: PortalSso) => {
  app.use(session({ store, secret: 'of the host', resave: false, saveUninitialized: false, rolling: true }))
  app.use(sso.router())
  app.use('/portal', sso.guard(), (_req, res) => {
    res.send('in')
  })
}

const backFrom = 'also signed out of Acme'

describe('signing out at the provider too', () => {
  it('happens after the session here has ended, with all parameters that the provider needs', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const thief = visitor.clone()
    const sent = await visitor.post(`${portal.url}/logout`)
    expect(await isIn(thief, portal)).toBe(false)
    expect(sent.status).toBe(200)
    expect(sent.headers.get('cache-control')).toBe('no-store')
    const there = new URL(next(sent)!)
    expect(there.origin + there.pathname).toBe(`${provider.issuer}/logout`)
    const { id_token_hint, state, ...others } = Object.fromEntries(there.searchParams)
    expect(others).toEqual({
      client_id: provider.clientId,
      post_logout_redirect_uri: `${portal.url}/logout/done`,
    })
    expect(decodeJwt(id_token_hint!)).toMatchObject({ iss: provider.issuer, sub: 'ada' })
    expect(state).toMatch(/^[\w-]{32}$/)

    const done = await visitor.follow(sent)
    expect(done.url).toBe(`${portal.url}/logout/done?state=${state}`)
    expect(done.body).toContain(backFrom)
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toContain(id_token_hint)
  })

  it('is confirmed once, only in the same browser and with the same state', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const other = await signIn(portal)
    const { location } = await visitor.get(next(await visitor.post(`${portal.url}/logout`))!)
    await other.post(`${portal.url}/logout`)
    const done = `${portal.url}/logout/done`
    const plain = async (who: Visitor, url: string) => {
      const seen = await who.get(url)
      expect(seen.status).toBe(200)
      expect(seen.body).toContain('You are signed out')
      expect(seen.body).not.toContain(backFrom)
    }
    await plain(visitor, done) // missing
    await plain(visitor, `${done}?state=`)
    await plain(visitor, `${done}?state=unknown`)
    await plain(visitor, `${location}&state=unknown`)
    await plain(other, location!) // another browser's
    await plain(new Visitor(), location!)
    // None of these has used up the state.
    expect((await visitor.get(location!)).body).toContain(backFrom)
    await plain(visitor, location!) // replayed
  })

  it.each<[what: string, endpoint: unknown]>([
    ['none', undefined],
    ['a script', 'javascript:alert(1)'],
    ['an http URL', 'http://idp.example/logout'],
    ['a path', '/logout'],
    ['a host with a policy delimiter', 'https://idp.example;sandbox/logout'],
    ['a host with a policy wildcard', 'https://*.example/logout'],
    ['credentials', 'https://ada:secret@idp.example/logout'],
    ['a number', 42],
  ])('is skipped if the provider has %s for it; signing in still works', async (_what, endpoint) => {
    provider.faults.discovery = { end_session_endpoint: endpoint }
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const { headers } = await visitor.get(`${portal.url}/logout`)
    expect(headers.get('content-security-policy')).toContain("form-action 'self';")
    const sent = await visitor.post(`${portal.url}/logout`)
    expect(sent.location).toBe(`${portal.url}/logout/done`)
    expect(await isIn(visitor, portal)).toBe(false)
    const { body } = await visitor.follow(sent)
    expect(body).toContain('You may still be signed in at your sign-in service')
  })

  it('uses the normalised URL of the endpoint, and keeps its query except our parameters', async () => {
    provider.faults.discovery = { end_session_endpoint: 'https://ID%2Eexample/out?p=b2c&state=planted#top' }
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const there = new URL(next(await visitor.post(`${portal.url}/logout`))!)
    expect(there.href).toMatch(/^https:\/\/id\.example\/out\?p=b2c&/)
    expect(there.searchParams.getAll('state')).toEqual([expect.stringMatching(/^[\w-]{32}$/)])
    expect(there.hash).toBe('')
  })

  it('omits the hint if it makes the URL too long', async () => {
    provider.faults.claims = { groups: Array(120).fill('a group with a long name') }
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const location = next(await visitor.post(`${portal.url}/logout`))
    expect(location!.length).toBeLessThan(4096)
    expect(Object.fromEntries(new URL(location!).searchParams)).toMatchObject({
      client_id: provider.clientId,
      state: expect.any(String),
    })
    expect(new URL(location!).searchParams.has('id_token_hint')).toBe(false)
  })

  it('keeps the response headers small enough for a proxy with a limit of 4 KB: the URL is in the page', async () => {
    provider.faults.claims = { groups: Array(75).fill('a group with a long name') }
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const sent = await visitor.post(`${portal.url}/logout`)
    expect(new URL(next(sent)!).searchParams.get('id_token_hint')!.length).toBeGreaterThan(2800)
    const headers = [...sent.headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')
    // The rest is for headers that the host sets, for example with helmet.
    expect(headers.length).toBeLessThan(2000)
    expect(visitor.cookieNames(portal.url)).toEqual(expect.arrayContaining(['sso-signed-out', 'sso-logout']))
  })

  it.each<[what: string, change: (portal: TestPortal) => Promise<unknown>]>([
    ['removed', ({ sso }) => sso.providers.remove('acme')],
    ['disabled', ({ sso }) => sso.providers.disable('acme')],
    [
      'down, and changed since its metadata was cached',
      async ({ knex }) => {
        await knex('sso_providers').increment('version')
        provider.faults.discoveryDrop = true
      },
    ],
    [
      'not responding, and changed since its metadata was cached',
      async ({ knex }) => {
        await knex('sso_providers').increment('version')
        provider.faults.discoveryHang = true
      },
    ],
    [
      'unknown because the database is down',
      async ({ knex }) => {
        for (const table of ['sso_providers', 'sso_sessions', 'sso_events'])
          await knex.schema.dropTable(table)
      },
    ],
  ])('does not prevent signing out here when the provider is %s', async (_what, change) => {
    // The default. With 0, no user can be loaded while the database is down.
    const portal = await portalWithAda({ session: { userCacheSeconds: 5 } })
    const visitor = await signIn(portal)
    const thief = visitor.clone()
    await change(portal)
    const sent = await visitor.post(`${portal.url}/logout`)
    expect([sent.status, sent.location]).toEqual([303, `${portal.url}/logout/done`])
    expect(await isIn(thief, portal)).toBe(false)
  })

  it.each<[where: string, options: TestPortalOptions]>([
    ['without a user cache', { session: { userCacheSeconds: 0 } }],
    ['with the host’s own store', { mount: withStoreOf(new session.MemoryStore()) }],
  ])(
    'works while the database is down, %s, and the session stays ended afterwards',
    async (_where, options) => {
      const portal = await portalWithAda(options)
      const visitor = await signIn(portal)
      const thief = visitor.clone()
      await portal.knex.schema.renameTable('sso_sessions', 'away')
      // Without the database, the guard refuses every session.
      expect(await isIn(visitor, portal)).toBe(false)
      const sent = await visitor.post(`${portal.url}/logout?by=button`)
      expect([sent.status, next(sent)]).toEqual([200, expect.stringContaining(`${provider.issuer}/logout?`)])
      await portal.knex.schema.renameTable('away', 'sso_sessions')
      expect(await isIn(thief, portal)).toBe(false)
    },
  )

  it('does not send the hint to another provider that has the same slug now', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const other = await startFaultyProvider({ clientId: 'other' })
    open.push(other)
    await portal.sso.providers.remove('acme')
    await portal.connect(other)
    const sent = await visitor.post(`${portal.url}/logout`)
    expect(sent.location).toBe(`${portal.url}/logout/done`)
  })

  it('sends the client ID to which the hint was issued, even from another portal', async () => {
    const portal = await portalWithAda({ portal: (req) => req.get('x-portal') ?? 'default' })
    await portal.connect(provider, { portal: 'south' })
    await portal.knex('sso_providers').where({ portal: 'south' }).update({ client_id: 'another' })
    const visitor = await signIn(portal)
    const sent = await visitor.post(`${portal.url}/logout`, {}, { 'x-portal': 'south' })
    expect(new URL(next(sent)!).searchParams.get('client_id')).toBe(provider.clientId)
    expect(await isIn(visitor, portal)).toBe(false)
    expect(await portal.knex('sso_events').where({ kind: 'signed-out' }).pluck('portal')).toEqual(['default'])
  })

  it('is skipped for a user whom the host signed in itself', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.post('/classic', async (req, res) => {
          req.login((await sso.users.findByEmail('ada@example.com'))!, () => res.send('in'))
        })
        mountDefault(app, sso)
      },
    })
    const visitor = new Visitor()
    await visitor.post(`${portal.url}/classic`)
    expect(await isIn(visitor, portal)).toBe(true)
    expect((await visitor.post(`${portal.url}/logout`)).location).toBe(`${portal.url}/logout/done`)
    expect(await isIn(visitor, portal)).toBe(false)
  })

  it('needs no exception in the Content-Security-Policy: the page navigates by itself, and has a link', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const asked = await visitor.get(`${portal.url}/logout`)
    expect(asked.body).toContain('sign out of Acme as well')
    const sent = await visitor.post(`${portal.url}/logout`)
    expect(sent.location).toBeUndefined()
    expect(sent.body).toContain(`href="${next(sent)!.replaceAll('&', '&amp;')}"`)
    for (const { headers } of [asked, sent, await visitor.follow(sent)])
      expect(headers.get('content-security-policy')).toContain("form-action 'self';")
  })

  it('is a redirect for a script', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const { status, location } = await visitor.post(
      `${portal.url}/logout`,
      {},
      { accept: '*/*', 'sec-fetch-dest': 'empty' },
    )
    expect([status, location]).toEqual([303, expect.stringContaining(`${provider.issuer}/logout?`)])
  })

  it('is skipped if the provider’s row says so', async () => {
    const portal = await portalWithAda()
    await portal.sso.providers.update('acme', { logout: 'portal' })
    const visitor = await signIn(portal)
    expect((await visitor.get(`${portal.url}/logout`)).body).not.toContain('Acme')
    const done = await visitor.follow(await visitor.post(`${portal.url}/logout`))
    expect(done.body).toContain('You may still be signed in at your sign-in service')
  })

  describe('if the row lets the user choose', () => {
    async function signInAtAskingPortal(): Promise<{ portal: TestPortal; visitor: Visitor; thief: Visitor }> {
      const portal = await portalWithAda()
      await portal.sso.providers.update('acme', { logout: 'ask' })
      const visitor = await signIn(portal)
      return { portal, visitor, thief: visitor.clone() }
    }

    it('happens only if the user chooses it', async () => {
      const { portal, visitor } = await signInAtAskingPortal()
      const { body } = await visitor.get(`${portal.url}/logout`)
      expect(body).toContain('name="where" value="there">Sign out of Acme too')
      expect(body).toContain('name="where" value="here">Sign out of Portal only')
      const here = await visitor.post(`${portal.url}/logout`, { where: 'here' })
      expect([next(here), await isIn(visitor, portal)]).toEqual([`${portal.url}/logout/done`, false])
      const other = await signIn(portal)
      const there = await other.follow(await other.post(`${portal.url}/logout`, { where: 'there' }))
      expect(there.body).toContain(backFrom)
    })

    it.each([{}, { where: 'elsewhere' }])(
      'asks after the session here has ended, if the form contained %j',
      async (form) => {
        const { portal, visitor, thief } = await signInAtAskingPortal()
        const asked = await visitor.post(`${portal.url}/logout`, form as Record<string, string>)
        expect(await isIn(thief, portal)).toBe(false)
        expect([asked.status, next(asked)]).toEqual([200, undefined])
        expect(asked.body).toContain('You are still signed in to Acme')
        const [, href] = /href="([^"]*)">Sign out of Acme too/.exec(asked.body)!
        const done = await visitor.open(href!.replaceAll('&amp;', '&'))
        expect(done.body).toContain(backFrom)
      },
    )
  })

  it('works with an express-session of the host’s own', async () => {
    const portal = await portalWithAda({ mount: withStoreOf(new MemoryStore()) })
    const visitor = await signIn(portal)
    const done = await visitor.follow(await visitor.post(`${portal.url}/logout`))
    expect(done.body).toContain(backFrom)
    expect(await isIn(visitor, portal)).toBe(false)
  })
})

describe('after signing out, on a shared machine,', () => {
  const promptAt = async (portal: TestPortal, visitor: Visitor, slug = 'acme') =>
    new URL((await visitor.get(`${portal.url}/login/${slug}`)).location!).searchParams.get('prompt')

  it.each(['provider', 'portal', 'ask'] as const)(
    'every provider must ask for the account, until a user has signed in (row: %s)',
    async (logout) => {
      const portal = await portalWithAda()
      await portal.sso.providers.update('acme', { logout })
      await portal.connect(provider, { slug: 'google', displayName: 'Google', preset: 'google' })
      await portal.sso.providers.update('google', { prompt: null })
      const visitor = await signIn(portal)
      expect(await promptAt(portal, visitor)).toBeNull()
      await visitor.post(`${portal.url}/logout`)
      expect((await visitor.get(`${portal.url}/login`)).body).toContain(
        'You may be asked to choose your account again.',
      )
      expect(await promptAt(portal, visitor)).toBe('login')
      expect(await promptAt(portal, visitor, 'google')).toBe('select_account')
      expect(await promptAt(portal, new Visitor())).toBeNull()
      await visitor.open(`${portal.url}/login/acme`)
      expect(await isIn(visitor, portal)).toBe(true)
      expect(await promptAt(portal, visitor)).toBeNull()
    },
  )

  describe('the login page says that the provider will ask who the user is', () => {
    const notice = async (portal: TestPortal, visitor: Visitor) =>
      /<p class="sso-notice[^>]*>([^<]*)/.exec((await visitor.get(`${portal.url}/login`)).body)?.[1]
    const willAsk = 'You signed out. Your sign-in service will ask who you are.'
    const mayAsk = 'You signed out. You may be asked to choose your account again.'

    async function signOut(faults: Partial<Faults>): Promise<{ portal: TestPortal; visitor: Visitor }> {
      Object.assign(provider.faults, { keepsSession: true, ...faults })
      const portal = await portalWithAda()
      await portal.sso.providers.update('acme', { logout: 'portal' })
      const visitor = await signIn(portal)
      // A test sign-in with an enabled provider does not change its version.
      await portal.knex('sso_providers').update({ reauthentication: 'proven' })
      await visitor.post(`${portal.url}/logout`)
      return { portal, visitor }
    }

    it('only if the last test sign-in proved it for every provider', async () => {
      const { portal, visitor } = await signOut({})
      expect(await notice(portal, visitor)).toBe(willAsk)
      await portal.connect(provider, { slug: 'second', displayName: 'Second' })
      expect(await notice(portal, visitor)).toBe(mayAsk)
    })

    it.each<[what: string, faults: Partial<Faults>, next: string]>([
      ['asks', {}, willAsk],
      ['does not ask', { ignoresPromptLogin: true }, mayAsk],
      ['sends no auth_time', { ignoresPromptLogin: true, authTimeOnlyForMaxAge: true }, willAsk],
    ])('until the auth_time of a next sign-in shows that it did not: it %s', async (_what, faults, next) => {
      const clock = takeClock()
      open.push({ close: async () => clock.back() })
      const { portal, visitor } = await signOut(faults)
      clock.pass(60_000)
      await visitor.open(`${portal.url}/login/acme`)
      expect(await isIn(visitor, portal)).toBe(true)
      await visitor.post(`${portal.url}/logout`)
      expect(await notice(portal, visitor)).toBe(next)
    })
  })

  it('a row with `prompt=login` keeps this prompt', async () => {
    const portal = await portalWithAda()
    await portal.connect(provider, {
      slug: 'google',
      displayName: 'Google',
      preset: 'google',
      prompt: 'login',
    })
    const visitor = await signIn(portal)
    await visitor.post(`${portal.url}/logout`)
    expect(await promptAt(portal, visitor, 'google')).toBe('login')
  })

  it('providers still must ask after a refused sign-in', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await visitor.post(`${portal.url}/logout`)
    provider.faults.authorizeError = { error: 'access_denied' }
    expect((await visitor.open(`${portal.url}/login/acme`)).status).toBe(403)
    expect(await promptAt(portal, visitor)).toBe('login')
  })

  it.each<[string, (visitor: Visitor, address: string) => Promise<Seen>]>([
    ['a button', (visitor, address) => visitor.post(address)],
    ['a link', (visitor, address) => visitor.get(address)],
  ])(
    'providers must ask, even if the session was over before the user signed out by %s',
    async (_what, leave) => {
      const portal = await portalWithAda()
      const visitor = await signIn(portal)
      await portal.sso.providers.disable('acme', { endSessions: true })
      await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
      expect(next(await leave(visitor, `${portal.url}/logout`))).toBe(`${portal.url}/logout/done`)
      expect(await promptAt(portal, visitor)).toBe('login')
    },
  )

  it('providers need not ask, if the user only opened the confirmation page', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await visitor.get(`${portal.url}/logout`)
    expect(await promptAt(portal, visitor)).toBeNull()
  })

  it('providers need not ask, if the session expired or was revoked', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await portal.sso.providers.disable('acme', { endSessions: true })
    await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
    expect(await isIn(visitor, portal)).toBe(false)
    expect(await promptAt(portal, visitor)).toBeNull()
  })
})

const logoutToken = (claims: Claims) => signLogoutToken(provider, claims)

/** Sends a logout token like a provider, without cookies. */
async function deliver(portal: TestPortal, token: string, { slug = 'acme', headers = {} } = {}) {
  return await fetch(`${portal.url}/logout/${slug}/backchannel`, {
    method: 'POST',
    body: new URLSearchParams({ logout_token: token }),
    headers,
  })
}

describe('a logout token', () => {
  it('that names a session ends only that one, and gets an empty response', async () => {
    const portal = await portalWithAda()
    const heard: unknown[] = []
    portal.sso.events.on('signed-out', (each) => heard.push(each))
    const [first, second] = [await signIn(portal, { sid: 'one' }), await signIn(portal, { sid: 'two' })]
    const answer = await deliver(portal, await logoutToken({ sid: 'one' }))
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('set-cookie')).toBeNull()
    expect([await isIn(first, portal), await isIn(second, portal)]).toEqual([false, true])
    expect(await portal.knex('sso_sessions').pluck('sid')).toEqual(['two'])
    expect(heard).toEqual([
      {
        kind: 'signed-out',
        portal: 'default',
        userId: expect.any(String),
        provider: 'acme',
        detail: { actor: 'provider', sessions: 1 },
      },
    ])
  })

  it('that names a subject ends all of its sessions from that provider, and no others', async () => {
    const portal = await portalWithAda({ portal: (req) => req.get('x-portal') ?? 'default' })
    const other = await startFaultyProvider({ clientId: 'other' })
    open.push(other)
    await portal.connect(other, { slug: 'other', displayName: 'Other' })
    await portal.connect(provider, { portal: 'south' })
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} }, { portal: 'south' })
    await portal.sso.users.create({ email: 'grace@example.com', name: 'Grace', fields: {} })

    const adas = [await signIn(portal, { sid: 'one' }), await signIn(portal, { sid: 'two' })]
    const elsewhere = new Visitor()
    await elsewhere.open(`${portal.url}/login/other`)
    const south = new Visitor({ 'x-portal': 'south' })
    await south.open(`${portal.url}/login/acme`)
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true }
    const grace = await signIn(portal)

    expect((await deliver(portal, await logoutToken({ sub: 'ada' }))).status).toBe(200)
    for (const ada of adas) expect(await isIn(ada, portal)).toBe(false)
    for (const each of [elsewhere, south, grace]) expect(await isIn(each, portal)).toBe(true)
    const [told, ...more] = await portal.knex('sso_events').where({ kind: 'signed-out' })
    expect([JSON.parse(told.detail), more]).toEqual([{ actor: 'provider', sessions: 2 }, []])
  })

  it('that names a session and a subject ends it only if they match', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal, { sid: 'one' })
    expect((await deliver(portal, await logoutToken({ sid: 'one', sub: 'grace' }))).status).toBe(200)
    expect(await isIn(visitor, portal)).toBe(true)
    expect((await deliver(portal, await logoutToken({ sid: 'one', sub: 'ada' }))).status).toBe(200)
    expect(await isIn(visitor, portal)).toBe(false)
  })

  it('that names a session and a subject also ends the subject’s sessions without a session id', async () => {
    const portal = await portalWithAda()
    await portal.sso.users.create({ email: 'grace@example.com', name: 'Grace', fields: {} })
    const other = await signIn(portal, { sid: 'two' })
    delete provider.person.sid
    const withoutSid = await signIn(portal)
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true }
    const grace = await signIn(portal)
    expect((await deliver(portal, await logoutToken({ sid: 'one', sub: 'ada' }))).status).toBe(200)
    expect(await isIn(withoutSid, portal)).toBe(false)
    for (const each of [other, grace]) expect(await isIn(each, portal)).toBe(true)
    // Without a subject, the token names only one session.
    expect((await deliver(portal, await logoutToken({ sid: 'one' }))).status).toBe(200)
    expect(await isIn(grace, portal)).toBe(true)
  })

  it('is accepted if no session matches', async () => {
    const portal = await portalWithAda()
    expect((await deliver(portal, await logoutToken({ sub: 'nobody-here' }))).status).toBe(200)
    expect(await portal.knex('sso_events').where({ kind: 'signed-out' })).toHaveLength(0)
  })

  it('has the same effect with the cookies and origin of a browser', async () => {
    const portal = await portalWithAda()
    const [ada, bystander] = [await signIn(portal, { sid: 'one' }), await signIn(portal, { sid: 'two' })]
    const [[name, value]] = [...bystander.cookies.get(portal.url)!].filter(
      ([each]) => each === 'portal-sso',
    ) as [[string, string]]
    const headers = {
      'sec-fetch-site': 'cross-site',
      origin: 'https://evil.example',
      cookie: `${name}=${value}`,
    }
    expect((await deliver(portal, await logoutToken({ sid: 'one' }), { headers })).status).toBe(200)
    expect([await isIn(ada, portal), await isIn(bystander, portal)]).toEqual([false, true])
    expect((await bystander.get(`${portal.url}/logout/acme/backchannel`)).status).toBe(404)
  })

  it('of a disabled provider still ends its sessions', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await portal.sso.providers.disable('acme')
    expect((await deliver(portal, await logoutToken({ sub: 'ada' }))).status).toBe(200)
    expect(await isIn(visitor, portal)).toBe(false)
  })

  it('ends sessions in the host’s own store, even while it is down', async () => {
    class FailingStore extends MemoryStore {
      isDown = false
      override destroy(id: string, done?: (error?: unknown) => void): void {
        if (this.isDown) done?.(new Error('down'))
        else super.destroy(id, done)
      }
    }
    const store = new FailingStore()
    const portal = await portalWithAda({ mount: withStoreOf(store) })
    const visitor = await signIn(portal)
    store.isDown = true
    expect((await deliver(portal, await logoutToken({ sub: 'ada' }))).status).toBe(200)
    expect(await isIn(visitor, portal)).toBe(false)
    expect(portal.logs.some(({ fields }) => String(fields.cause).endsWith('down'))).toBe(true)
  })

  it.each<[what: string, claims: Claims]>([
    ['with exp', {}],
    ['without exp', { exp: undefined }],
  ])('%s fails while the provider’s keys are unavailable, and can be repeated', async (_what, claims) => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const token = await logoutToken({ sub: 'ada', ...claims })
    const dropCachedKeys = () => portal.sso.providers.enable('acme')
    await dropCachedKeys()
    provider.faults.jwksResponse = { status: 500, body: 'down' }
    expect((await deliver(portal, token)).status).toBe(503)
    expect(await isIn(visitor, portal)).toBe(true)
    delete provider.faults.jwksResponse
    await dropCachedKeys()
    expect((await deliver(portal, token)).status).toBe(200)
    expect(await isIn(visitor, portal)).toBe(false)
  })

  it('without exp can be repeated after our 503, until it was processed', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const token = await logoutToken({ sub: 'ada', exp: undefined })
    await portal.knex.schema.renameTable('sso_logout_tokens', 'away')
    expect((await deliver(portal, token)).status).toBe(503)
    await portal.knex.schema.renameTable('away', 'sso_logout_tokens')
    expect((await deliver(portal, token)).status).toBe(200)
    expect(await isIn(visitor, portal)).toBe(false)
    expect((await deliver(portal, token)).status).toBe(400)
  })

  it('is accepted on any instance, once', async () => {
    const redis = await connectRedis()
    open.push({ close: async () => redis.destroy() })
    const database = knexModule(sqliteConfig(':memory:'))
    open.push({ close: () => database.destroy() })
    const north = await portalWithAda({ redis, database })
    const south = await emptyPortal({ redis, database })
    const visitor = await signIn(north)
    const token = await logoutToken({ sub: 'ada' })
    expect((await deliver(south, token)).status).toBe(200)
    expect(await isIn(visitor, north)).toBe(false)
    const again = await signIn(north)
    expect((await deliver(north, token)).status).toBe(400)
    expect(north.logs.at(-1)!.fields.cause).toBe('it was received before (jti)')
    expect(await isIn(again, north)).toBe(true)
  })
})

describe('a logout token of a real provider (oidc-provider), where a user signs out in one browser,', () => {
  type Names = 'session' | 'person'

  async function portalWithRealProvider(names: Names): Promise<TestPortal> {
    const portal = await emptyPortal()
    const { providers, users } = portal.sso
    const real = await startIdentityProvider({
      name: 'Northwind ID',
      port: 0,
      clientId: 'portal',
      clientName: 'Portal',
      clientSecret: 'a secret of the portal at the provider',
      redirectUris: [providers.redirectUri('acme')],
      postLogoutRedirectUris: [providers.postLogoutRedirectUri()],
      backChannelLogout: { uri: providers.backChannelLogoutUri('acme'), names },
      people: [{ id: 'ada', name: 'Ada', email: 'ada@example.com', emailVerified: true, hint: '' }],
    })
    open.push(real)
    const clientSecret = 'a secret of the portal at the provider'
    await providers.connect({ slug: 'acme', issuer: real.issuer, clientId: 'portal', clientSecret })
    await users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    return portal
  }

  /** Presses the button with this name and value on a provider's page. */
  async function press(visitor: Visitor, page: Seen, name: string, value: string): Promise<Seen> {
    const [, action] = /action="([^"]+)"/.exec(page.body)!
    const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(page.body) ?? []
    const posted = await visitor.post(new URL(action!, page.url).href, {
      [name]: value,
      ...(xsrf && { xsrf }),
    })
    return await visitor.follow(posted)
  }

  async function arrive(portal: TestPortal, visitor = new Visitor()): Promise<Visitor> {
    const page = await visitor.open(`${portal.url}/login/acme`)
    if (page.url.includes('/sign-in/')) await press(visitor, page, 'person', 'ada')
    expect(await isIn(visitor, portal)).toBe(true)
    return visitor
  }

  /** Resolves when the portal has responded to the provider's logout token. */
  async function signOut(portal: TestPortal, visitor: Visitor): Promise<void> {
    const delivered = responded('/logout/acme/backchannel')
    const question = await visitor.follow(await visitor.post(`${portal.url}/logout`))
    const done = await press(visitor, question, 'logout', 'yes')
    expect(done.url).toMatch(`${portal.url}/logout/done?state=`)
    expect(done.body).toContain('also signed out of acme')
    await delivered
  }

  it('ends the session in the other browser, if it names the subject', async () => {
    const portal = await portalWithRealProvider('person')
    const [one, other] = [await arrive(portal), await arrive(portal)]
    await signOut(portal, one)
    expect(await isIn(other, portal)).toBe(false)
  })

  it('ends only sessions of that provider session, if it names the session', async () => {
    const portal = await portalWithRealProvider('session')
    const one = await arrive(portal)
    // A second session here that uses the same session at the provider.
    const twin = one.clone()
    twin.cookies.delete(portal.url)
    await arrive(portal, twin)
    const other = await arrive(portal)
    await signOut(portal, one)
    expect(await isIn(twin, portal)).toBe(false)
    expect(await isIn(other, portal)).toBe(true)
  })
})
