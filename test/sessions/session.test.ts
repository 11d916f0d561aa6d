import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import express from 'express'
import session from 'express-session'
import { Passport } from 'passport'
import { createClient } from 'redis'
import request from 'supertest'
import { EmailTakenError, normaliseEmail, type User, type UserDirectory } from '../../lib/index.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis, startOwnRedis } from '../support/redis.ts'
import { signal } from '../support/signal.ts'
import { Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
const open = closedAfterEach()

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(() => provider.reset())

async function portalWithAda(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortal(options)
  open.push(portal)
  await portal.connect(provider)
  if (!options.users)
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} }, 'default')
  return portal
}

async function signIn(portal: TestPortal, visitor = new Visitor()): Promise<Visitor> {
  await visitor.open(`${portal.url}/login/acme`)
  return visitor
}

const status = async (visitor: Visitor, portal: TestPortal) =>
  (await visitor.get(`${portal.url}/portal`)).status

describe('a session', () => {
  it('gets a new id at sign-in, so that a planted one is worth nothing (session fixation)', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.get('/plant', (req, res) => {
          Object.assign(req.session, { basket: 1 })
          res.send('planted')
        })
        mountDefault(app, sso)
      },
    })
    const attacker = new Visitor()
    await attacker.get(`${portal.url}/plant`)
    const victim = attacker.clone()
    await signIn(portal, victim)
    expect(await status(victim, portal)).toBe(200)
    expect(await status(attacker, portal)).toBe(302)
    expect(victim.cookies.get(portal.url)!.get('portal-sso')).not.toBe(
      attacker.cookies.get(portal.url)!.get('portal-sso'),
    )
  })

  it('has an HttpOnly, SameSite=Lax cookie; on https a Secure one with the __Host- prefix', async () => {
    const portal = await portalWithAda({ baseUrl: 'https://portal.example' })
    const start = await request(portal.app).get('/login/acme').set('x-forwarded-proto', 'https')
    const [attempt] = start.headers['set-cookie'] as unknown as string[]
    expect(attempt).toMatch(
      /^__Host-sso-attempt-[^;]+; Max-Age=14400; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    )
    const callback = new URL((await new Visitor().get(start.headers.location!)).location!)
    expect(callback.origin).toBe('https://portal.example')
    const finish = await request(portal.app)
      .get(callback.pathname + callback.search)
      .set('x-forwarded-proto', 'https')
      .set('cookie', attempt!.split(';')[0]!)
    expect(finish.status).toBe(303)
    const cookie = (finish.headers['set-cookie'] as unknown as string[]).find((each) =>
      each.includes('portal-sso'),
    )
    expect(cookie).toMatch(
      /^__Host-portal-sso=[^;]+; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    )
  })

  it('is not begun where a proxy hides that it spoke TLS: a page that says so instead of a circle', async () => {
    const portal = await portalWithAda({ baseUrl: 'https://portal.example' })
    const start = await request(portal.app).get('/login/acme')
    const callback = new URL((await new Visitor().get(start.headers.location!)).location!)
    const finish = await request(portal.app)
      .get(callback.pathname + callback.search)
      .set('cookie', (start.headers['set-cookie'] as unknown as string[])[0]!.split(';')[0]!)
    expect(finish.status).toBe(500)
    expect(portal.logs.at(-1)!.fields.cause).toContain('X-Forwarded-Proto: https')
  })

  it('is never built from the Host header', async () => {
    const portal = await portalWithAda()
    const { headers } = await request(portal.app)
      .get('/login/acme')
      .set({ host: 'evil.example', 'x-forwarded-host': 'evil.example' })
    expect(new URL(headers.location!).searchParams.get('redirect_uri')).toBe(
      `${portal.url}/login/acme/callback`,
    )
  })

  it('belongs to one portal and is worthless in another', async () => {
    const portal = await portalWithAda({ portal: (req) => req.get('x-portal') ?? 'default' })
    const visitor = await signIn(portal)
    expect(await status(visitor, portal)).toBe(200)
    const elsewhere = await visitor.get(`${portal.url}/portal`, { 'x-portal': 'south' })
    expect(elsewhere.status).toBe(302)
    expect(await status(visitor, portal)).toBe(200)
  })

  it('of an attempt begun in one portal cannot be finished in another', async () => {
    const portal = await portalWithAda({ portal: (req) => req.get('x-portal') ?? 'default' })
    await portal.connect(provider, { portal: 'south' })
    const visitor = new Visitor()
    const start = await visitor.get(`${portal.url}/login/acme`)
    const callback = (await visitor.get(start.location!)).location!
    const seen = await visitor.get(callback, { 'x-portal': 'south' })
    expect(seen.status).toBe(400)
    expect(portal.logs.at(-1)!.fields.cause).toContain('another provider')
  })

  it('ends at the next request when the user is switched off or removed', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await portal.knex('sso_users').update({ active: false })
    expect(await status(visitor, portal)).toBe(302)
    await portal.knex('sso_users').update({ active: true })
    // It is gone for good, not asleep.
    expect(await status(visitor, portal)).toBe(302)
    const again = await signIn(portal)
    await portal.knex('sso_users').delete()
    expect(await status(again, portal)).toBe(302)
  })

  it('that is over leaves nothing to whoever holds its cookie of what the host kept in it', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.post('/note', (req, res) => {
          Object.assign(req.session, { note: 'for Ada only' })
          res.send('noted')
        })
        app.get('/note', (req, res) => {
          res.json(req.session)
        })
        mountDefault(app, sso)
      },
    })
    const visitor = await signIn(portal)
    await visitor.post(`${portal.url}/note`)
    const thief = visitor.clone()
    expect((await thief.get(`${portal.url}/note`)).body).toContain('for Ada only')
    await portal.knex('sso_sessions').delete()
    for (const each of [thief.clone(), thief])
      expect((await each.get(`${portal.url}/note`)).body).not.toContain('Ada')
  })

  it('is refused to a user who is switched off', async () => {
    const portal = await portalWithAda()
    await signIn(portal)
    await portal.knex('sso_users').update({ active: false })
    const visitor = new Visitor()
    expect((await visitor.open(`${portal.url}/login/acme`)).status).toBe(403)
    expect(await status(visitor, portal)).toBe(302)
  })

  it.each([false, 0, null, 'false', 'no'])(
    'is refused, and ends, where the directory says active: %j',
    async (active) => {
      let now: unknown = true
      const ada = () => ({ id: '7', email: 'ada@example.com', name: 'Ada', active: now }) as User
      const users: UserDirectory = {
        findById: async () => ada(),
        findByEmail: async () => ada(),
        create: async () => ada(),
      }
      const portal = await portalWithAda({ users })
      const visitor = await signIn(portal)
      expect(await status(visitor, portal)).toBe(200)
      now = active
      expect(await status(visitor, portal)).toBe(302)
      expect((await new Visitor().open(`${portal.url}/login/acme`)).status).toBe(403)
    },
  )

  it('is not begun for somebody whom the directory makes, but who waits for approval', async () => {
    const waiting: User[] = []
    const users: UserDirectory = {
      findById: async (id) => waiting.find((each) => each.id === id),
      findByEmail: async (email) => waiting.find((each) => each.email === email),
      create: async ({ email, name }) => {
        waiting.push({ id: '1', email, name, active: false })
        return waiting[0]!
      },
    }
    const portal = await portalWithAda({ users })
    const visitor = await signIn(portal)
    const seen = await visitor.post(`${portal.url}/register`, { name: 'Ada' })
    expect(seen.status).toBe(403)
    expect(await status(visitor, portal)).toBe(302)
    expect(await portal.knex('sso_events').orderByRaw('rowid').pluck('kind')).toEqual([
      'provider-connected',
      'registered',
      'sign-in-failed',
    ])
    expect((await visitor.open(`${portal.url}/login/acme`)).status).toBe(403)
  })

  it('is not begun by a sign-in that failed because Redis was late, even when the write lands after all', async () => {
    const client = await connectRedis()
    open.push({ close: () => client.close() })
    let late = 0
    const redis = {
      get: (key: string) => client.get(key),
      del: (keys: string[]) => client.del(keys),
      eval: () => Promise.reject(new Error('not asked for')),
      expire: (key: string, seconds: number) => client.expire(key, seconds),
      async set(...args: Parameters<typeof client.set>) {
        await new Promise((resolve) => setTimeout(resolve, late))
        return await client.set(...args)
      },
    }
    const portal = await portalWithAda({ redis })
    const visitor = new Visitor()
    const start = await visitor.get(`${portal.url}/login/acme`)
    const callback = (await visitor.get(start.location!)).location!
    late = 2300
    expect((await visitor.get(callback)).status).toBe(503)
    late = 0
    await new Promise((resolve) => setTimeout(resolve, 2600))
    expect(await status(visitor, portal)).toBe(302)
    expect(await portal.knex('sso_sessions')).toHaveLength(0)
  })

  it('leaves nothing behind in the index when its person signs in again', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await signIn(portal, visitor)
    await signIn(portal, visitor)
    expect(await portal.knex('sso_sessions')).toHaveLength(1)
  })

  it('keeps no ID token that is larger than a logout needs', async () => {
    const redis = await connectRedis()
    open.push({ close: () => redis.close() })
    const portal = await portalWithAda({ redis })
    provider.faults.claims = { groups: Array(5000).fill('a group with a long name') }
    const visitor = await signIn(portal)
    const id = decodeURIComponent(visitor.cookies.get(portal.url)!.get('portal-sso')!).slice(2).split('.')[0]
    expect((await redis.get(`portal-sso:session:${id}`))!.length).toBeLessThan(2000)
  })

  it.each([
    ['in the process', async () => undefined],
    ['in Redis', connectRedis],
  ])(
    'kept %s that has ended does not come back by a request that was running meanwhile and writes into it',
    async (_where, connect) => {
      const redis = await connect()
      if (redis) open.push({ close: () => redis.close() })
      const [arrived, goOn] = [signal(), signal()]
      const portal = await portalWithAda({
        redis,
        mount(app, sso) {
          mountDefault(app, sso)
          app.get('/slow', (req, res, next) => {
            arrived.give()
            goOn.given
              .then(() => {
                Object.assign(req.session, { basket: 1 })
                res.send('written')
              })
              .catch(next)
          })
          app.get('/basket', (req, res) => {
            res.json((req.session as { basket?: number }).basket ?? 0)
          })
        },
      })
      const visitor = await signIn(portal)
      const thief = visitor.clone()
      const slow = thief.get(`${portal.url}/slow`)
      await arrived.given
      await visitor.post(`${portal.url}/logout`)
      goOn.give()
      expect((await slow).body).toBe('written')
      expect(await status(thief, portal)).toBe(302)
      // One that goes on keeps what is written into it.
      await signIn(portal, visitor)
      await visitor.get(`${portal.url}/slow`)
      expect((await visitor.get(`${portal.url}/basket`)).body).toBe('1')
    },
  )

  it('ends after its absolute time, however busy it is', async () => {
    const portal = await portalWithAda({ session: { absoluteHours: 1 / 3600 } })
    const visitor = await signIn(portal)
    expect(await status(visitor, portal)).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 1100))
    expect(await status(visitor, portal)).toBe(302)
  })

  it('ends after its idle time', async () => {
    const portal = await portalWithAda({ session: { idleMinutes: 1 / 60 } })
    const visitor = await signIn(portal)
    expect(await status(visitor, portal)).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 1100))
    expect(await status(visitor, portal)).toBe(302)
  })

  it('is indexed while it runs, without its id in plain', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const [row] = await portal.knex('sso_sessions')
    expect(row).toMatchObject({ portal: 'default', issuer: provider.issuer, subject: 'ada' })
    const cookie = decodeURIComponent(visitor.cookies.get(portal.url)!.get('portal-sso')!)
    expect(JSON.stringify(row)).not.toContain(cookie.slice(2).split('.')[0])
    await visitor.post(`${portal.url}/logout`)
    expect(await portal.knex('sso_sessions')).toHaveLength(0)
  })

  it('in the process says so loudly, and is refused in production', async () => {
    const portal = await portalWithAda()
    expect(portal.logs.some(({ message }) => message.startsWith('SESSIONS ARE KEPT IN THIS PROCESS'))).toBe(
      true,
    )
    const before = process.env.NODE_ENV
    process.env.NODE_ENV = 'production'
    try {
      expect(() => portal.sso.session()).toThrow(/redis: give a connected `redis` client/)
      expect(() => portal.sso.session({ own: true })).not.toThrow()
    } finally {
      process.env.NODE_ENV = before
    }
  })
})

describe('the guard', () => {
  it('sends pages to the picker and back, without letting them be stored', async () => {
    const portal = await portalWithAda()
    const { status, headers } = await request(portal.app).get('/portal/a?b=1').set('accept', 'text/html')
    expect(status).toBe(302)
    expect(headers.location).toBe('/login?returnTo=%2Fportal%2Fa%3Fb%3D1')
    expect(headers['cache-control']).toBe('no-store')
  })

  it('answers clients that want JSON with 401 and a problem', async () => {
    const portal = await portalWithAda()
    const { status, headers, body } = await request(portal.app)
      .get('/portal')
      .set('accept', 'application/json')
    expect(status).toBe(401)
    expect(headers['content-type']).toContain('application/problem+json')
    expect(body).toMatchObject({ status: 401, code: 'not_signed_in', login: '/login' })
  })

  it("answers a page's own script with 401, though it accepts anything", async () => {
    const portal = await portalWithAda()
    const { status } = await request(portal.app)
      .get('/portal')
      .set({ accept: '*/*', 'sec-fetch-dest': 'empty' })
    expect(status).toBe(401)
  })

  it('keeps no deep link to a post, which could not be asked for again', async () => {
    const portal = await portalWithAda()
    const { status, headers } = await request(portal.app).post('/portal/order').set('accept', 'text/html')
    expect([status, headers.location]).toEqual([303, '/login'])
  })

  it("keeps quiet where the host's own time limit has answered already", async () => {
    let slow = 0
    const ada = { id: '7', email: 'ada@example.com', name: 'Ada' }
    const users: UserDirectory = {
      findById: async () => {
        await new Promise((resolve) => setTimeout(resolve, slow))
        return ada
      },
      findByEmail: async () => ada,
      create: async () => ada,
    }
    const portal = await portalWithAda({
      users,
      mount(app, sso) {
        app.use(session({ secret: 'of the host', resave: false, saveUninitialized: false }))
        app.use(sso.router())
        app.use((_req, res, next) => {
          setTimeout(() => res.headersSent || res.status(503).end('too slow'), 100)
          next()
        })
        app.use('/portal', sso.guard(), (_req, res) => {
          res.send('in')
        })
      },
    })
    const visitor = await signIn(portal)
    slow = 300
    expect(await visitor.get(`${portal.url}/portal`)).toMatchObject({ status: 503, body: 'too slow' })
    await new Promise((resolve) => setTimeout(resolve, 400))
    slow = 0
    expect(await status(visitor, portal)).toBe(200)
  })

  it('says what to mount when there is no session', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use('/portal', sso.guard())
      },
    })
    const { status } = await request(portal.app).get('/portal').set('accept', 'text/html')
    expect(status).toBe(500)
    expect(portal.logs.at(-1)!.fields.cause).toContain('mount `app.use(sso.session())`')
  })

  it('works where the router is mounted below a path', async () => {
    const portal = await portalWithAda({
      mountPath: '/auth',
      mount(app, sso) {
        app.use(sso.session())
        app.use('/auth', sso.router())
        app.use('/portal', sso.guard(), (_req, res) => {
          res.send('in')
        })
      },
    })
    const visitor = new Visitor()
    const picker = await visitor.open(`${portal.url}/portal`)
    expect(picker.url).toContain('/auth/login?returnTo=')
    expect(picker.body).toContain('href="/auth/login/acme?returnTo=%2Fportal"')
    expect((await visitor.get(`${portal.url}/auth/login/assets/portal-sso.css`)).status).toBe(200)
    const landed = await visitor.open(`${portal.url}/auth/login/acme?returnTo=/portal`)
    expect(landed).toMatchObject({ url: `${portal.url}/portal`, body: 'in' })
  })
})

describe('signing out', () => {
  it('ends the session here, and leads to a page that says so', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const thief = visitor.clone()
    const done = await visitor.follow(await visitor.post(`${portal.url}/logout`))
    expect(done.status).toBe(200)
    expect(done.url).toMatch(`${portal.url}/logout/done?state=`)
    expect(done.body).toContain('You are signed out')
    expect(await status(visitor, portal)).toBe(302)
    expect(await status(thief, portal)).toBe(302)
  })

  it('asks first when it is only a link', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const asked = await visitor.get(`${portal.url}/logout`)
    expect(asked.body).toContain('<form')
    expect(await status(visitor, portal)).toBe(200)
  })

  it.each([
    ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }],
    ['a sibling domain', { 'sec-fetch-site': 'same-site', origin: 'https://blog.portal.example' }],
    ['an old browser on another site', { 'sec-fetch-site': undefined, origin: 'https://evil.example' }],
    ['who does not say', { 'sec-fetch-site': undefined, origin: undefined }],
  ])('is not for %s to do (CSRF)', async (_who, headers) => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const cookie = [...visitor.cookies.get(portal.url)!].map(([name, value]) => `${name}=${value}`).join('; ')
    const post = request(portal.app).post('/logout').set('cookie', cookie).set('accept', 'text/html')
    for (const [name, value] of Object.entries(headers)) if (value) post.set(name, value)
    expect((await post).status).toBe(403)
    expect(await status(visitor, portal)).toBe(200)
  })

  it('works in an old browser that says only Origin', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const cookie = [...visitor.cookies.get(portal.url)!].map(([name, value]) => `${name}=${value}`).join('; ')
    const { status: answered } = await request(portal.app)
      .post('/logout')
      .set({ cookie, origin: portal.url, accept: 'text/html' })
    expect(answered).toBe(200)
    expect(await status(visitor, portal)).toBe(302)
  })
})

describe('sessions in Redis', () => {
  it('live there with the idle time as their time to live', async () => {
    const redis = await connectRedis()
    open.push({ close: () => redis.close() })
    const portal = await portalWithAda({ redis })
    const visitor = await signIn(portal)
    expect(await status(visitor, portal)).toBe(200)
    const id = decodeURIComponent(visitor.cookies.get(portal.url)!.get('portal-sso')!).slice(2).split('.')[0]
    const seconds = await redis.ttl(`portal-sso:session:${id}`)
    expect(seconds).toBeGreaterThan(1700)
    expect(seconds).toBeLessThanOrEqual(1800)
  })

  it('and while Redis is away guarded pages say 503 within 2 s and never "signed out"; then all is as before', async () => {
    const server = await startOwnRedis()
    open.push({ close: () => server.stop() })
    const redis = createClient({ url: server.url, socket: { reconnectStrategy: 50 } })
    redis.on('error', () => {})
    await redis.connect()
    open.push({ close: async () => redis.destroy() })
    const portal = await portalWithAda({ redis })
    const visitor = await signIn(portal)
    await server.stop()
    const away = await visitor.get(`${portal.url}/portal`)
    expect(away.status).toBe(503)
    expect(away.headers.get('retry-after')).toBe('5')
    expect(portal.logs.at(-1)!.fields.code).toBe('session_unavailable')
    await server.start()
    // An in-memory Redis comes back empty: what counts is that the portal is back by itself.
    const back = async () => {
      for (let attempts = 0; attempts < 100; attempts++) {
        const { status } = await visitor.get(`${portal.url}/portal`)
        if (status !== 503) return status
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      return 503
    }
    expect(await back()).toBe(302)
    expect(await status(await signIn(portal, visitor), portal)).toBe(200)
  })
})

describe('a host of its own kind', () => {
  it('keeps its own express-session', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(session({ secret: 'of the host', resave: false, saveUninitialized: false, name: 'hosts' }))
        app.use(sso.router())
        app.use('/portal', sso.guard(), (_req, res) => {
          res.send('in')
        })
      },
    })
    const visitor = await signIn(portal)
    expect(visitor.cookieNames(portal.url)).toContain('hosts')
    expect(await status(visitor, portal)).toBe(200)
  })

  it('has who is signed in before each of its own pages, too, from its own express-session alone', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use('/bare', sso.session({ own: true }))
        app.use(session({ secret: 'of the host', resave: false, saveUninitialized: false, name: 'hosts' }))
        app.use(sso.session({ own: true }))
        app.use(sso.router())
        app.get('/portal', (req, res) => void res.json(req.user ?? null))
      },
    })
    const visitor = await signIn(portal)
    expect(JSON.parse((await visitor.get(`${portal.url}/portal`)).body)).toMatchObject({
      email: 'ada@example.com',
    })
    expect(visitor.cookieNames(portal.url)).not.toContain('portal-sso')
    expect(portal.logs.filter(({ message }) => message.startsWith('SESSIONS ARE KEPT'))).toEqual([])
    expect((await visitor.get(`${portal.url}/bare`)).status).toBe(500)
    expect(portal.logs.at(-1)!.fields.cause).toContain('or express-session of your own, before this')
  })

  it('keeps its own Passport: what that keeps in the session is left alone', async () => {
    const own = new Passport()
    own.serializeUser((user, done) => done(null, (user as User).id))
    own.deserializeUser((id, done) =>
      done(null, typeof id === 'string' ? { id, email: 'classic@example.com' } : false),
    )
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.post('/classic', own.initialize(), own.session(), (req, res) => {
          req.login({ id: 'classic' }, () => res.send('in'))
        })
        app.use(sso.router())
        app.get('/whoami', own.session(), (req, res) => {
          res.json(req.user ?? null)
        })
        app.use('/portal', sso.guard(), (_req, res) => {
          res.send('in')
        })
      },
    })
    const classic = new Visitor()
    await classic.post(`${portal.url}/classic`)
    // Our middleware meets the host's value twice and leaves it alone.
    await classic.get(`${portal.url}/login`)
    expect(JSON.parse((await classic.get(`${portal.url}/whoami`)).body)).toMatchObject({ id: 'classic' })
  })

  it('initializes its own Passport in between, and the session is still ours: bound, and over when she is switched off', async () => {
    const own = new Passport()
    own.serializeUser((user, done) => done(null, (user as User).id))
    own.deserializeUser((id, done) => done(null, { id: String(id), email: 'ada@example.com' }))
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.use(own.initialize())
        app.use(own.session())
        mountDefault(app, sso)
      },
    })
    provider.person = { sub: 'new', email: 'new@example.com', email_verified: true, name: 'New' }
    const visitor = await signIn(portal)
    await visitor.post(`${portal.url}/register`, { name: 'New' })
    expect(await status(visitor, portal)).toBe(200)
    await portal.knex('sso_users').update({ active: false })
    expect(await status(visitor, portal)).toBe(302)
  })

  it('signs somebody in by req.login, as its classic login does, and the guard lets them pass', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.post('/classic', async (req, res) => {
          const user = await sso.users.findByEmail('ada@example.com', 'default')
          req.login(user!, () => res.send('in'))
        })
        mountDefault(app, sso)
      },
    })
    const visitor = new Visitor()
    await visitor.post(`${portal.url}/classic`)
    expect(await status(visitor, portal)).toBe(200)
  })

  it('keeps its own users, with ids and fields of its own', async () => {
    const people = new Map<string, User & { department: string }>([
      ['7', { id: '7', email: 'ada@example.com', name: 'Ada', department: 'Research' }],
    ])
    const users: UserDirectory = {
      findById: async (id) => people.get(id),
      findByEmail: async (email) => [...people.values()].find((each) => normaliseEmail(each.email) === email),
      create: async ({ email, name }) => {
        const user = { id: String(people.size + 7), email, name, department: 'none yet' }
        people.set(user.id, user)
        return user
      },
    }
    const portal = await portalWithAda({ users })
    const visitor = await signIn(portal)
    const { user } = JSON.parse((await visitor.get(`${portal.url}/portal`)).body) as { user: object }
    expect(user).toMatchObject({ id: '7', department: 'Research' })
    expect(await portal.knex('sso_users')).toHaveLength(0)
    // HR removes her and enters her anew: the link to the old entry does not lock her out.
    people.clear()
    people.set('99', { id: '99', email: 'ada@example.com', name: 'Ada', department: 'Board' })
    const again = await signIn(portal)
    expect(await status(again, portal)).toBe(200)
    expect(await portal.knex('sso_identities').pluck('user_id')).toEqual(['99'])
  })

  it('has numbers for ids: everybody signs in, twice at once too, as one user', async () => {
    const ada = { id: 7 as never as string, email: 'ada@example.com', name: 'Ada' }
    const users: UserDirectory = {
      findById: async (id) => (String(id) === '7' ? ada : undefined),
      findByEmail: async () => ada,
      create: async () => {
        throw new EmailTakenError()
      },
    }
    const portal = await portalWithAda({ users })
    const twice = await Promise.all([signIn(portal), signIn(portal)])
    for (const visitor of twice) expect(await status(visitor, portal)).toBe(200)
    expect(await portal.knex('sso_identities').pluck('user_id')).toEqual(['7'])
  })

  it('whose database compares addresses loosely does not hand over the account of a look-alike', async () => {
    const users: UserDirectory = {
      findById: async (id) => ({ id, email: 'ada@example.com', name: 'Ada' }),
      findByEmail: async () => ({ id: '7', email: 'ada@example.com', name: 'Ada' }),
      create: async () => {
        throw new EmailTakenError()
      },
    }
    const portal = await portalWithAda({ users })
    provider.person = { sub: 'x', email: 'ad\u00e0@example.com', email_verified: true }
    expect(await status(await signIn(portal), portal)).toBe(302)
  })

  it('mounts it into Express without leaving anything in other routes', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.use(sso.router())
        app.get('/plain', (_req, res) => {
          res.send('plain')
        })
        app.use(express.json())
      },
    })
    const { headers } = await request(portal.app).get('/plain')
    expect(headers['content-security-policy']).toBeUndefined()
    expect(headers['set-cookie']).toBeUndefined()
  })
})
