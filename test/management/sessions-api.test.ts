import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { PortalSsoOptions, User } from '../../lib/index.ts'
import { takeClock } from '../support/clock.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { signIn } from '../support/scene.ts'
import { textOf } from '../support/test-sign-in.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const firefox = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0'

let acme: FaultyProvider
let other: FaultyProvider
let portal: TestPortal
let ada: User
/** Sends the header by which the test host recognizes administrators. */
let admin: Visitor

beforeAll(async () => {
  acme = await startFaultyProvider()
  other = await startFaultyProvider({ clientId: 'other' })
})
afterAll(() => Promise.all([acme.close(), other.close()]))
beforeEach(async () => {
  admin = new Visitor({ 'x-admin': 'yes' })
  await open()
})
afterEach(() => portal.close())

async function open(options: Partial<PortalSsoOptions> = {}): Promise<void> {
  acme.reset()
  other.reset()
  portal = await startPortal({
    ...options,
    portal: (req) => (req.get('x-portal') === 'south' ? 'south' : 'default'),
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: (req) => req.get('x-admin') === 'yes' }))
    },
  })
  await portal.connect(acme)
  await portal.connect(other, { slug: 'other', displayName: 'Other' })
  ada = await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
}

async function startSession(slug = 'acme', headers: Record<string, string> = {}): Promise<Visitor> {
  const visitor = new Visitor(headers)
  await signIn({ portal, visitor }, slug)
  expect(await isSignedIn(visitor)).toBe(true)
  return visitor
}

const isSignedIn = async (visitor: Visitor) => (await visitor.get(`${portal.url}/portal`)).status === 200
const list = async () => await portal.sso.sessions.list({ userId: ada.id })
const ended = async () =>
  (await portal.knex('sso_events').where({ kind: 'sessions-ended' }).orderBy('at')).map(
    ({ portal, user_id: userId, provider, actor, detail }) => ({ portal, userId, provider, actor, detail }),
  )

describe('sso.sessions', () => {
  it('lists the sessions of a user or a provider, newest first, with details that a user recognizes', async () => {
    await startSession('acme', { 'user-agent': firefox })
    await startSession('other')
    const sessions = await list()
    expect(sessions.map(({ provider }) => provider)).toEqual(['other', 'acme'])
    expect(sessions[1]).toEqual({
      id: expect.stringMatching(/^[\w-]{43}$/),
      userId: ada.id,
      provider: 'acme',
      browser: 'Firefox',
      os: 'Windows',
      location: '127.0.0.0/24',
      startedAt: expect.stringMatching(/Z$/),
      lastSeenAt: expect.stringMatching(/Z$/),
    })
    expect(await portal.sso.sessions.list({ provider: 'acme' })).toEqual([sessions[1]])
    expect(await portal.sso.sessions.count({ userId: ada.id })).toBe(2)
  })

  it('returns ids that cannot be used to open a session', async () => {
    const visitor = await startSession()
    const [session] = await list()
    const cookie = visitor.cookies.get(new URL(portal.url).origin)!.get('portal-sso')!
    expect(decodeURIComponent(cookie)).not.toContain(session!.id)
    const thief = new Visitor({ cookie: `portal-sso=s%3A${session!.id}` })
    expect(await isSignedIn(thief)).toBe(false)
  })

  it('ends one session and returns true if it was valid; the others stay valid', async () => {
    const first = await startSession()
    const second = await startSession()
    const [newest] = await list()
    expect(await portal.sso.sessions.end(newest!.id, { actor: 'root' })).toBe(true)
    expect([await isSignedIn(first), await isSignedIn(second)]).toEqual([true, false])
    expect(await portal.sso.sessions.end(newest!.id)).toBe(false)
    expect(await ended()).toEqual([
      { portal: 'default', userId: ada.id, provider: null, actor: 'root', detail: '{"sessions":1}' },
    ])
  })

  it('ends all sessions of a deactivated user at once', async () => {
    await portal.close()
    await open({ session: { userCacheSeconds: 60 } })
    const visitors = [await startSession(), await startSession('other')]
    await portal.knex('sso_users').update({ active: false })
    expect(await Promise.all(visitors.map(isSignedIn))).toEqual([true, true])
    expect(await portal.sso.sessions.endAll({ userId: ada.id })).toBe(2)
    expect(await Promise.all(visitors.map(isSignedIn))).toEqual([false, false])
    expect(await ended()).toEqual([
      { portal: 'default', userId: ada.id, provider: null, actor: 'code', detail: '{"sessions":2}' },
    ])
  })

  it('ends exactly the sessions started with a provider, also after it was disabled or removed', async () => {
    const second = await startSession('other')
    for (const act of ['disable', 'remove'] as const) {
      const first = await startSession()
      await portal.sso.providers[act]('acme')
      expect(await isSignedIn(first)).toBe(true)
      expect(await portal.sso.sessions.endAll({ provider: 'acme' })).toBe(1)
      expect(await isSignedIn(first)).toBe(false)
      if (act === 'disable') await portal.sso.providers.enable('acme', { withoutTestSignIn: true })
    }
    expect(await isSignedIn(second)).toBe(true)
    expect((await ended()).map(({ provider }) => provider)).toEqual(['acme', 'acme'])
  })

  it('also ends the sessions of an older provider with the same slug when the current one is disabled', async () => {
    const before = await startSession()
    await portal.sso.providers.remove('acme')
    await portal.connect(acme)
    const after = await startSession()
    expect(await portal.sso.sessions.count({ provider: 'acme' })).toBe(2)
    await portal.sso.providers.disable('acme', { endSessions: true })
    expect([await isSignedIn(before), await isSignedIn(after)]).toEqual([false, false])
  })

  it('neither lists nor ends sessions of another portal', async () => {
    const visitor = await startSession()
    const [session] = await list()
    expect(await portal.sso.sessions.list({ userId: ada.id }, { portal: 'south' })).toEqual([])
    expect(await portal.sso.sessions.end(session!.id, { portal: 'south' })).toBe(false)
    expect(await portal.sso.sessions.endAll({ userId: ada.id }, { portal: 'south' })).toBe(0)
    await expect(portal.sso.sessions.endAll({ provider: 'acme' }, { portal: 'south' })).rejects.toThrow(
      'no provider is called "acme" in the portal "south"',
    )
    expect(await isSignedIn(visitor)).toBe(true)
    expect(await ended()).toEqual([])
  })

  it.each([
    ['empty', {}],
    ['missing', undefined],
    ['a user whose id is missing', { userId: undefined }],
    ['an empty id', { userId: '' }],
    ['not a text', { userId: { $ne: '' } }],
    ['a NUL', { userId: 'a\0' }],
    ['a user and a provider', { userId: 'ada', provider: 'acme' }],
    ['a mistyped provider', { provider: 'acmee' }],
  ])('ends no session and throws when the filter is %s', async (_what, filter) => {
    const visitor = await startSession()
    await expect(portal.sso.sessions.endAll(filter as never)).rejects.toMatchObject({
      name: 'ManagementError',
    })
    expect(await portal.sso.sessions.end('a\0')).toBe(false)
    expect(await isSignedIn(visitor)).toBe(true)
  })

  it('counts valid sessions only, not those whose idle time has expired', async () => {
    const clock = takeClock()
    try {
      await startSession('acme')
      clock.pass(31 * 60_000)
      const [dead] = await portal.knex('sso_sessions').pluck('id')
      const visitor = await startSession('acme')
      const filter = { provider: 'acme' }
      expect(await portal.sso.sessions.list(filter)).toHaveLength(1)
      expect(await portal.sso.sessions.count(filter)).toBe(1)
      expect(await portal.sso.sessions.end(dead)).toBe(false)
      expect(await portal.sso.sessions.endAll(filter)).toBe(1)
      expect([await isSignedIn(visitor), await portal.knex('sso_sessions')]).toEqual([false, []])
    } finally {
      clock.back()
    }
  })

  it('ends more sessions than one SQL statement can contain', async () => {
    const at = new Date().toISOString()
    const later = new Date(Date.now() + 3_600_000).toISOString()
    const rows = Array.from({ length: 1200 }, (_, number) => ({
      id: String(number),
      portal: 'default',
      user_id: `user ${number % 400}`,
      provider: 'acme',
      session: 'sealed under a secret that is gone',
      created_at: at,
      last_seen_at: at,
      expires_at: later,
    }))
    await portal.knex.batchInsert('sso_sessions', rows, 50)
    expect(await portal.sso.sessions.list({ provider: 'acme' })).toHaveLength(1000)
    expect(await portal.sso.sessions.count({ provider: 'acme' })).toBe(1200)
    expect(await portal.sso.sessions.endAll({ provider: 'acme' })).toBe(1200)
    expect(await portal.sso.sessions.list({ provider: 'acme' })).toEqual([])
  })
})

describe('the sessions page', () => {
  const page = (path: string) => admin.get(`${portal.url}/admin/sso${path}`)
  const post = (path: string, form: Record<string, string>, headers: Record<string, string> = {}) =>
    admin.post(`${portal.url}/admin/sso${path}`, form, headers)
  const done = async (path: string, form: Record<string, string>) => {
    const seen = await post(path, form)
    expect([seen.status, seen.location]).toEqual([303, expect.any(String)])
    return await admin.get(seen.location!)
  }
  const text = ({ body }: Seen) => textOf(body)

  it('finds sessions by e-mail address, user id and provider; no e-mail address appears in a URL', async () => {
    await startSession('acme', { 'user-agent': firefox })
    for (const user of [' Ada@Example.com ', ada.id]) {
      const seen = await done('/sessions', { user })
      expect(seen.url).toBe(`${portal.url}/admin/sso/sessions?user=${ada.id}`)
      expect(text(seen)).toContain('Ada Lovelace ada@example.com')
      expect(text(seen)).toContain('Firefox, Windows 127.0.0.0/24 Acme')
    }
    expect(text(await done('/sessions', { provider: 'acme' }))).toContain('1 active session')
  })

  it.each([
    ['an unknown e-mail address', { user: 'nobody@example.com' }, 'No user with this name, address or ID'],
    ['an unknown user id', { user: 'nobody' }, 'No user with this name, address or ID'],
    ['text that databases reject', { user: 'a\0b' }, 'the id of a user'],
    ['an unknown provider', { provider: 'acmee' }, 'No provider is called'],
    ['a user and a provider', { user: 'ada@example.com', provider: 'acme' }, 'either a user or a provider'],
    ['empty', {}, 'either a user or a provider'],
  ])('shows a message when the input is %s', async (_what, form, message) => {
    const seen = await admin.follow(await post('/sessions', form as Record<string, string>))
    expect(seen.status).toBe(422)
    expect(text(seen)).toMatch(new RegExp(message))
  })

  it('ends one session with a click, and reports if it had already ended', async () => {
    const first = await startSession()
    const [session] = await list()
    const second = await startSession()
    const form = { user: ada.id, id: session!.id }
    expect(text(await done('/sessions/end', form))).toContain('The session has ended')
    expect([await isSignedIn(first), await isSignedIn(second)]).toEqual([false, true])
    expect(text(await done('/sessions/end', form))).toContain('This session had already ended.')
  })

  it.each(['user', 'provider'])(
    'ends all sessions of a %s after a confirmation that shows their number',
    async (name) => {
      const visitors = [await startSession(), await startSession()]
      const filter = { [name]: name === 'user' ? ada.id : 'acme' }
      const confirmation = await page(`/sessions/end?${new URLSearchParams(filter)}`)
      expect(text(confirmation)).toContain('Active sessions 2')
      expect(await Promise.all(visitors.map(isSignedIn))).toEqual([true, true])
      const seen = await done('/sessions/end', filter)
      expect(text(seen)).toMatch(/The sessions have ended.* No active sessions/)
      expect(await Promise.all(visitors.map(isSignedIn))).toEqual([false, false])
      expect(await ended()).toMatchObject([{ actor: 'admin', detail: '{"sessions":2}' }])
      expect(text(await page('/events?kind=sessions-ended'))).toMatch(/Sessions ended .*2 sessions ended\./)
    },
  )

  it('opens with the newest sessions of the portal and their users, page by page', async () => {
    const grace = await portal.sso.users.create({ email: 'g@example.com', name: 'Grace Hopper', fields: {} })
    const at = (second: number) => new Date(Date.now() - 60_000 + Math.floor(second) * 1000).toISOString()
    const row = (n: number) => ({
      id: String(n).padStart(43, 'x'),
      portal: n === 0 ? 'south' : 'default',
      user_id: n % 2 ? ada.id : grace.id,
      provider: 'acme',
      location: `place ${n}.`,
      session: 'sealed under a secret that is gone',
      // Several start in the same millisecond.
      created_at: at(n / 10),
      last_seen_at: at(0),
      expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    })
    await portal.knex.batchInsert(
      'sso_sessions',
      Array.from({ length: 71 }, (_, n) => row(n)),
      50,
    )
    const places = ({ body }: Seen) => [...body.matchAll(/place (\d+)\./g)].map(([, n]) => Number(n))
    const expected = Array.from({ length: 70 }, (_, n) => 70 - n)
    for (const filter of ['', '?provider=acme']) {
      const statements: string[] = []
      portal.knex.on('query', ({ sql }: { sql: string }) => void statements.push(sql))
      const first = await page(`/sessions${filter}`)
      expect(statements.filter((sql) => /sso_users/.test(sql))).toHaveLength(1)
      portal.knex.removeAllListeners('query')
      expect(text(first)).toContain('Grace Hopper g@example.com')
      expect(places(first)).toEqual(expected.slice(0, 50))
      const [, next = ''] = /href="([^"]*before=[^"]*)"/.exec(first.body) ?? []
      const second = await admin.get(portal.url + next.replaceAll('&amp;', '&'))
      expect(places(second)).toEqual(expected.slice(50))
      expect([text(first), text(second)].map((each) => each.includes('Older'))).toEqual([true, false])
    }
    // A mark that is not ours shows the first page.
    expect(places(await page('/sessions?before=%00'))).toEqual(expected.slice(0, 50))
  })

  it('finds people by a part of their name or address', async () => {
    for (const name of ['Grace Hopper', 'Grace_Kelly'])
      await portal.sso.users.create({ email: `${name.slice(6)}@example.com`, name, fields: {} })
    const several = await post('/sessions', { user: 'gRACE' })
    expect([several.status, several.url]).toEqual([200, `${portal.url}/admin/sso/sessions`])
    expect(text(several)).toContain('2 users for “gRACE”')
    expect(text(several)).toContain('Grace Hopper Hopper@example.com')
    expect(text(await done('/sessions', { user: 'lovelace' }))).toContain('Ada Lovelace ada@example.com')
    // `_` is no pattern.
    expect(text(await done('/sessions', { user: 'grace_' }))).toContain('Grace_Kelly')
    expect((await post('/sessions', { user: '%' })).status).toBe(422)
    const south = { 'x-portal': 'south' }
    expect((await post('/sessions', { user: 'grace' }, south)).status).toBe(422)
  })

  it('asks the directory of the host for a part of a name, if it has a search', async () => {
    await portal.close()
    const grace = { id: 'g', email: 'g@example.com', name: 'Grace Hopper' }
    const users = {
      findById: async (id: string) => (id === 'g' ? grace : undefined),
      findByEmail: async () => undefined,
      create: () => Promise.reject(new Error('closed')),
    }
    portal = await startPortal({
      users: { ...users, search: async (name: string) => (name === 'hopper' ? [grace] : []) },
      mount: (app, sso) => {
        mountDefault(app, sso)
        app.use('/admin/sso', sso.admin({ authorize: () => true }))
      },
    })
    expect(text(await done('/sessions', { user: 'hopper' }))).toContain('Grace Hopper g@example.com')
    expect((await post('/sessions', { user: 'grace' })).status).toBe(422)
  })

  it('shows how many of many sessions have ended, on any instance', async () => {
    const now = new Date().toISOString()
    const id = '00000000-0000-4000-8000-000000000000'
    const ending = { id, requested_at: now, total: 100_000, done: 17_250 }
    const selection = JSON.stringify({ portal: 'default', provider: 'acme' })
    await portal.knex('sso_session_endings').insert({ ...ending, selection })
    const path = `/sessions/ending?provider=acme&id=${id}`
    const seen = await page(path)
    expect(text(seen)).toContain('17,250 of 100,000 sessions ended')
    expect(seen.body).toContain(`content="2; url=/admin/sso${path.replace('&', '&amp;')}"`)
    const finished = expect.stringContaining('/sessions?provider=acme&done=sessionsEnded')
    const south = await admin.get(`${portal.url}/admin/sso${path}`, { 'x-portal': 'south' })
    expect(south.location).toEqual(finished)
    expect((await page('/sessions/ending?provider=acme&id=%00')).location).toEqual(finished)
    await portal.knex('sso_session_endings').delete()
    expect((await page(path)).location).toEqual(finished)
  })

  it('unlinks an identity after a question: its sessions end, and its address does not bring it back', async () => {
    const visitor = await startSession()
    const [identity] = await portal.sso.identities.list(ada.id)
    const form = { user: ada.id, id: identity!.id }
    const question = await page(`/sessions/unlink?${new URLSearchParams(form)}`)
    expect(text(question)).toContain('Unlink Acme from Ada Lovelace?')
    expect(text(question)).toContain('It is the only sign-in method of this user.')
    expect(await isSignedIn(visitor)).toBe(true)
    const seen = await done('/sessions/identity', { ...form, action: 'unlink' })
    expect(text(seen)).toContain('Unlinked. Its sessions have ended')
    expect(text(seen)).toContain('Allow again')
    expect(await isSignedIn(visitor)).toBe(false)
    expect(await portal.sso.identities.list(ada.id)).toEqual([])
    expect(await portal.knex('sso_events').where({ kind: 'unlinked' })).toMatchObject([
      { user_id: ada.id, provider: 'acme', actor: 'admin' },
    ])
    const refused = await signIn({ portal, visitor: new Visitor() }, 'acme')
    expect(refused.body).toContain('This sign-in method was removed')
    const [blocked] = await portal.sso.identities.listBlocked(ada.id)
    await done('/sessions/identity', { user: ada.id, id: blocked!.id, action: 'allow' })
    await startSession()
  })

  it('unlinks no identity of another user or portal, and none twice', async () => {
    const visitor = await startSession()
    const [identity] = await portal.sso.identities.list(ada.id)
    const form = { user: ada.id, id: identity!.id, action: 'unlink' }
    expect((await post('/sessions/identity', { ...form, user: 'somebody' })).status).toBe(422)
    expect((await post('/sessions/identity', form, { 'x-portal': 'south' })).status).toBe(422)
    expect((await post('/sessions/identity', { ...form, id: 'a\0' })).status).toBe(422)
    expect((await page(`/sessions/unlink?user=somebody&id=${identity!.id}`)).status).toBe(422)
    expect(await isSignedIn(visitor)).toBe(true)
    await portal.sso.identities.unlink(ada.id, identity!.id)
    await expect(portal.sso.identities.unlink(ada.id, identity!.id)).rejects.toMatchObject({
      code: 'not_found',
    })
  })

  it('ends nothing without a filter, nor by a POST from another site', async () => {
    const visitor = await startSession()
    expect((await post('/sessions/end', {})).status).toBe(422)
    expect((await post('/sessions/end', { user: ada.id, provider: 'acme' })).status).toBe(422)
    const elsewhere = { 'sec-fetch-site': 'cross-site', origin: 'https://attacker.example' }
    expect((await post('/sessions/end', { user: ada.id }, elsewhere)).status).toBe(403)
    expect((await page('/sessions/end')).status).toBe(404)
    expect(await isSignedIn(visitor)).toBe(true)
  })

  it('shows and ends no session of another portal', async () => {
    const visitor = await startSession()
    const [session] = await list()
    const south = { 'x-portal': 'south' }
    const shown = await admin.get(`${portal.url}/admin/sso/sessions?user=${ada.id}`, south)
    expect(shown.body).not.toContain('ada@example.com')
    expect(shown.body).not.toContain(session!.id)
    await post('/sessions/end', { user: ada.id, id: session!.id }, south)
    await post('/sessions/end', { user: ada.id }, south)
    expect((await post('/sessions/end', { provider: 'acme' }, south)).status).toBe(422)
    expect(await isSignedIn(visitor)).toBe(true)
  })

  it('is for administrators only', async () => {
    const visitor = await startSession()
    const [session] = await list()
    for (const path of ['/sessions', `/sessions?user=${ada.id}`, `/sessions/end?user=${ada.id}`])
      expect((await visitor.get(`${portal.url}/admin/sso${path}`)).status).toBe(404)
    const form = { user: ada.id, id: session!.id }
    expect((await visitor.post(`${portal.url}/admin/sso/sessions/end`, form)).status).toBe(404)
    expect(await isSignedIn(visitor)).toBe(true)
  })

  it('escapes markup in user agents and user names', async () => {
    const markup = '<img src=x onerror=alert(1)>'
    await portal.knex('sso_users').update({ name: markup })
    await startSession('acme', { 'user-agent': `${markup}/1.0` })
    await portal.knex('sso_sessions').update({ browser: markup, location: markup })
    for (const path of [
      `/sessions?user=${ada.id}`,
      '/sessions?provider=acme',
      `/sessions/end?user=${ada.id}`,
    ]) {
      const { status, body } = await page(path)
      expect([path, status]).toEqual([path, 200])
      expect(body).not.toContain('<img src=x')
    }
  })

  it('is linked from the event log and from a provider, which shows the number of sessions', async () => {
    await startSession()
    expect((await page('/events')).body).toContain(`/admin/sso/sessions?user=${ada.id}`)
    const { body } = await page('/acme')
    expect(body).toContain('/admin/sso/sessions?provider=acme')
    expect(textOf(body)).toContain('Active sessions 1')
    for (const act of ['disable', 'remove'])
      expect(textOf((await page(`/acme/${act}`)).body)).toContain('(1 active session)')
  })
})
