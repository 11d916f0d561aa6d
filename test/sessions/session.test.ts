import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, jest } from '@jest/globals'
import express from 'express'
import session from 'express-session'
import { Passport, type Strategy, type StrategyCreated } from 'passport'
import { createClient } from 'redis'
import request from 'supertest'
import { EmailTakenError, normaliseEmail, type User, type UserDirectory } from '../../lib/index.ts'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { mountDefault, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis, startOwnRedis } from '../support/redis.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { signal } from '../support/signal.ts'
import { Visitor } from '../support/visitor.ts'

const minute = 60_000
const provider = await useProvider()
const open = closedAfterEach()

async function portalWithAda(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortalWithAda(provider, options)
  open.push(portal)
  return portal
}

async function signIn(portal: TestPortal, visitor = new Visitor()): Promise<Visitor> {
  await visitor.open(`${portal.url}/login/acme`)
  return visitor
}

async function connectForTest() {
  const redis = await connectRedis()
  open.push({ close: () => redis.close() })
  return redis
}

const status = async (visitor: Visitor, portal: TestPortal) =>
  (await visitor.get(`${portal.url}/portal`)).status

describe('a session', () => {
  it('gets a new id at sign-in, so that a planted one is worthless (session fixation)', async () => {
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

  it('has an HttpOnly, SameSite=Lax cookie, which on https is Secure with the __Host- prefix', async () => {
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
      // As some proxies write it.
      .set('x-forwarded-proto', 'HTTPS, http')
      .set('cookie', attempt!.split(';')[0]!)
    expect(finish.status).toBe(303)
    const cookie = (finish.headers['set-cookie'] as unknown as string[]).find((each) =>
      each.includes('portal-sso'),
    )
    expect(cookie).toMatch(
      /^__Host-portal-sso=[^;]+; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/,
    )
  })

  it('is not started behind a proxy that does not report TLS: an error page instead of a redirect loop', async () => {
    const portal = await portalWithAda({ baseUrl: 'https://portal.example' })
    const start = await request(portal.app).get('/login/acme')
    const callback = new URL((await new Visitor().get(start.headers.location!)).location!)
    const finish = await request(portal.app)
      .get(callback.pathname + callback.search)
      .set('cookie', (start.headers['set-cookie'] as unknown as string[])[0]!.split(';')[0]!)
    expect(finish.status).toBe(500)
    expect(portal.logs.at(-1)!.fields.cause).toContain('X-Forwarded-Proto: https')
  })

  it('never depends on the Host header', async () => {
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

  it('cannot be started in another portal than the one where the sign-in began', async () => {
    const portal = await portalWithAda({ portal: (req) => req.get('x-portal') ?? 'default' })
    await portal.connect(provider, { portal: 'south' })
    const visitor = new Visitor()
    const start = await visitor.get(`${portal.url}/login/acme`)
    const callback = (await visitor.get(start.location!)).location!
    const seen = await visitor.get(callback, { 'x-portal': 'south' })
    expect(seen.status).toBe(400)
    expect(portal.logs.at(-1)!.fields.cause).toContain('another provider')
  })

  it('ends at the next request when the user is deactivated or deleted', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await portal.knex('sso_users').update({ active: false })
    expect(await status(visitor, portal)).toBe(302)
    await portal.knex('sso_users').update({ active: true })
    // Reactivating the user does not bring it back.
    expect(await status(visitor, portal)).toBe(302)
    const again = await signIn(portal)
    await portal.knex('sso_users').delete()
    expect(await status(again, portal)).toBe(302)
  })

  it('that was revoked shows the holder of its cookie none of the host’s session data', async () => {
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

  it('is refused to a deactivated user', async () => {
    const portal = await portalWithAda()
    await signIn(portal)
    await portal.knex('sso_users').update({ active: false })
    const visitor = new Visitor()
    expect((await visitor.open(`${portal.url}/login/acme`)).status).toBe(403)
    expect(await status(visitor, portal)).toBe(302)
  })

  it.each([false, 0, null, 'false', 'no'])(
    'is refused, and ends, when the directory returns active: %j',
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

  it('is not started for a new user who still waits for approval', async () => {
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

  it('is not started by a sign-in that failed because Redis was slow, even if the write succeeds later', async () => {
    const client = await connectRedis()
    open.push({ close: () => client.close() })
    const writes: Promise<unknown>[] = []
    let held: Promise<void> | undefined
    const redis = {
      get: (key: string) => client.get(key),
      del: (keys: string[]) => client.del(keys),
      eval: client.eval.bind(client),
      expire: (key: string, seconds: number) => client.expire(key, seconds),
      async set(...args: Parameters<typeof client.set>) {
        const write = (held ?? Promise.resolve()).then(() => client.set(...args))
        writes.push(write)
        return await write
      },
    }
    const portal = await portalWithAda({ redis })
    const visitor = new Visitor()
    const start = await visitor.get(`${portal.url}/login/acme`)
    const callback = (await visitor.get(start.location!)).location!
    const goOn = signal()
    held = goOn.given
    expect((await visitor.get(callback)).status).toBe(503)
    held = undefined
    goOn.give()
    await Promise.all(writes)
    expect(await status(visitor, portal)).toBe(302)
    expect(await portal.knex('sso_sessions')).toHaveLength(0)
  })

  it('leaves no row behind when its user signs in again', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    await signIn(portal, visitor)
    await signIn(portal, visitor)
    expect(await portal.knex('sso_sessions')).toHaveLength(1)
  })

  it('does not store a large ID token', async () => {
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
    'kept %s that was revoked is not recreated by a concurrent request that writes into it',
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
      // A valid session keeps what is written into it.
      await signIn(portal, visitor)
      await visitor.get(`${portal.url}/slow`)
      expect((await visitor.get(`${portal.url}/basket`)).body).toBe('1')
    },
  )

  it('expires after its absolute limit, even while it is used', async () => {
    const portal = await portalWithAda({ session: { absoluteHours: 2, idleMinutes: 90 } })
    const visitor = await signIn(portal)
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    clock.pass(60 * minute)
    expect(await status(visitor, portal)).toBe(200)
    clock.pass(59 * minute)
    expect(await status(visitor, portal)).toBe(200)
    clock.pass(2 * minute)
    expect(await status(visitor, portal)).toBe(302)
  })

  it('expires after its idle time', async () => {
    const portal = await portalWithAda({ session: { idleMinutes: 10 } })
    const visitor = await signIn(portal)
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    clock.pass(9 * minute)
    expect(await status(visitor, portal)).toBe(200)
    clock.pass(11 * minute)
    expect(await status(visitor, portal)).toBe(302)
  })

  it('has a row while it is valid, without its id in plain text', async () => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const [row] = await portal.knex('sso_sessions')
    expect(row).toMatchObject({ portal: 'default', issuer: provider.issuer, subject: 'ada' })
    const cookie = decodeURIComponent(visitor.cookies.get(portal.url)!.get('portal-sso')!)
    expect(JSON.stringify(row)).not.toContain(cookie.slice(2).split('.')[0])
    await visitor.post(`${portal.url}/logout`)
    expect(await portal.knex('sso_sessions')).toHaveLength(0)
  })

  it('in the process is logged as a warning, and refused in production', async () => {
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

describe('the session of a visitor without a cookie', () => {
  const mount: TestPortalOptions['mount'] = (app, sso) => {
    app.use(sso.session())
    app.get('/basket', (req, res) => {
      const session = req.session as { basket?: number }
      session.basket = (session.basket ?? 0) + 1
      res.json({ basket: session.basket, hasId: req.sessionID === req.session.id })
    })
    app.get('/late', (req, res) => {
      res.send('late')
      Object.assign(req.session, { late: true })
    })
    app.get('/null', (req, res) => {
      req.session = null as never
      res.json({ session: req.session, isAuthenticated: req.isAuthenticated() })
    })
    app.get('/fields', (req, res) => {
      res.json({ has: 'session' in req && 'sessionID' in req, store: typeof req.sessionStore.get })
    })
    mountDefault(app, sso)
  }

  it('is opened when the host reads it, and stored when the host changes it', async () => {
    const portal = await portalWithAda({ mount, redis: await connectForTest() })
    const visitor = new Visitor()
    for (const basket of [1, 2])
      expect(JSON.parse((await visitor.get(`${portal.url}/basket`)).body)).toEqual({ basket, hasId: true })
    expect(visitor.cookieNames(portal.url)).toEqual(['portal-sso'])
    expect(JSON.parse((await new Visitor().get(`${portal.url}/fields`)).body)).toEqual({
      has: true,
      store: 'function',
    })
  })

  it('is opened for other spellings of the cookie, which sign nobody in', async () => {
    const portal = await portalWithAda({ mount })
    const visitor = await signIn(portal)
    const value = visitor.cookies.get(portal.url)!.get('portal-sso')!
    const get = async (cookie: string) => (await new Visitor().get(`${portal.url}/portal`, { cookie })).status
    expect(await get(`portal-sso=${value}`)).toBe(200)
    for (const cookie of [`portal-sso =${value}`, `Portal-SSO=${value}`, `"portal-sso"=${value}`, value])
      expect([cookie, await get(cookie)]).toEqual([cookie, 302])
  })

  it('is one session, also for middleware that derives a request of its own', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session(), (req, _res, next) => {
          Object.assign((Object.create(req) as typeof req).session, { derived: true })
          next()
        })
        app.get('/session', (req, res) => void res.json(req.session))
      },
    })
    const response = await new Visitor().get(`${portal.url}/session`)
    expect(JSON.parse(response.body)).toMatchObject({ derived: true })
    expect(response.headers.getSetCookie()).toHaveLength(1)
  })

  it('is neither opened nor stored otherwise, and sets no cookie', async () => {
    const portal = await portalWithAda({ mount })
    for (const path of ['/', '/portal', '/fields', '/late', '/null']) {
      const { headers } = await new Visitor().get(portal.url + path)
      expect([path, headers.get('set-cookie')]).toEqual([path, null])
    }
    const { body } = await new Visitor().get(`${portal.url}/null`)
    expect(JSON.parse(body)).toEqual({ session: null, isAuthenticated: false })
  })
})

describe('a session that nobody changes', () => {
  it('is not written, and what the host changes in it is, also in our part', async () => {
    const redis = await connectForTest()
    const portal = await portalWithAda({
      redis,
      session: { userCacheSeconds: 5 },
      mount(app, sso) {
        mountDefault(app, sso)
        app.get('/nested', (req, res) => {
          const session = req.session as { filter?: { tags: string[] } }
          session.filter ??= { tags: [] }
          if (req.query.tag) session.filter.tags.push(String(req.query.tag))
          res.json(session.filter)
        })
        app.get('/mark', (req, res) => {
          sso.markAuthenticated(req)
          res.send('marked')
        })
        app.get('/count', (req, res) => {
          const { user } = (req.session as unknown as { passport: { user: { visits?: { count: number } } } })
            .passport
          user.visits ??= { count: 0 }
          user.visits.count++
          res.json(user.visits)
        })
        app.get('/dump', (req, res) => void res.json(req.session))
      },
    })
    const visitor = await signIn(portal)
    const onSet = jest.spyOn(redis, 'set')
    const writes = async (path: string) => {
      onSet.mockClear()
      const { body, headers } = await visitor.get(portal.url + path)
      // express-session renews the cookie of a changed session.
      expect(headers.get('set-cookie') !== null).toBe(onSet.mock.calls.length === 1)
      return [onSet.mock.calls.length, body]
    }
    expect((await writes('/portal'))[0]).toBe(0)
    expect(await writes('/nested')).toEqual([1, '{"tags":[]}'])
    expect(await writes('/nested')).toEqual([0, '{"tags":[]}'])
    expect(await writes('/nested?tag=a')).toEqual([1, '{"tags":["a"]}'])
    expect(await writes('/mark')).toEqual([1, 'marked'])
    expect(await writes('/nested?tag=b')).toEqual([1, '{"tags":["a","b"]}'])
    // A page or a log line with the whole session does not contain the ID token.
    expect((await writes('/dump'))[1]).not.toContain('eyJ')
    expect((await writes('/portal'))[0]).toBe(0)
    for (const count of [1, 2, 3]) expect(await writes('/count')).toEqual([1, JSON.stringify({ count })])
  })
})

describe('a session whose cookie was verified before', () => {
  const sends: Record<string, (res: express.Response, change: () => void) => void> = {
    'before its headers'(res, change) {
      change()
      res.write('sent')
      res.end()
    },
    'after its headers'(res, change) {
      res.write('sent')
      change()
      res.end()
    },
    'and calls `end` twice'(res, change) {
      change()
      res.end('sent')
      res.end('again')
    },
    'and calls `end` twice without a change'(res) {
      res.end('sent')
      res.end('again')
    },
  }
  const mount: TestPortalOptions['mount'] = (app, sso) => {
    app.use(sso.session())
    app.get('/send/:how', (req, res) => {
      // As middleware that compresses: each function that it wraps must be called once.
      const { end, write } = res
      res.write = ((chunk: string) => Reflect.apply(write, res, [`<${chunk}`])) as typeof write
      res.end = ((chunk = '') => Reflect.apply(end, res, [`${chunk}>`])) as typeof end
      const session = req.session as { changes?: number }
      sends[req.params.how]?.(res, () => {
        session.changes = (session.changes ?? 0) + 1
      })
    })
    app.get('/destroy', (req, res) => req.session.destroy(() => res.send('destroyed')))
    app.get('/changes', (req, res) => void res.json((req.session as { changes?: number }).changes ?? 0))
    mountDefault(app, sso)
  }

  it('is stored when the host changes it', async () => {
    const portal = await portalWithAda({
      mount,
      redis: await connectForTest(),
      session: { userCacheSeconds: 5 },
    })
    const visitor = await signIn(portal)
    const get = async (path: string) => await visitor.get(portal.url + path)
    const sent: unknown[] = []
    for (const how of Object.keys(sends)) {
      const { body, headers } = await get(`/send/${encodeURIComponent(how)}`)
      sent.push([how, body, headers.getSetCookie().length, (await get('/changes')).body])
    }
    expect(sent).toEqual([
      ['before its headers', '<sent>', 1, '1'],
      ['after its headers', '<sent>', 0, '2'],
      ['and calls `end` twice', 'sent>', 1, '3'],
      ['and calls `end` twice without a change', 'sent>', 0, '3'],
    ])
  })

  it('ends when the host destroys it, and for a cookie with another signature', async () => {
    const portal = await portalWithAda({ mount, redis: await connectForTest() })
    const visitor = await signIn(portal)
    const value = visitor.cookies.get(portal.url)!.get('portal-sso')!
    const statusWith = async (cookie: string) =>
      (await new Visitor().get(`${portal.url}/portal`, { cookie: `portal-sso=${cookie}` })).status
    const forged = value.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))
    for (const expected of [200, 200]) expect(await statusWith(value)).toBe(expected)
    for (const cookie of [forged, value.split('.')[0]!, `${value}.A`])
      expect(await statusWith(cookie)).toBe(302)
    await visitor.get(`${portal.url}/destroy`)
    expect(await statusWith(value)).toBe(302)
  })
})

describe('the guard', () => {
  it('redirects pages to the sign-in page and back, and prevents caching', async () => {
    const portal = await portalWithAda()
    const { status, headers } = await request(portal.app).get('/portal/a?b=1').set('accept', 'text/html')
    expect(status).toBe(302)
    expect(headers.location).toBe('/login?returnTo=%2Fportal%2Fa%3Fb%3D1')
    expect(headers['cache-control']).toBe('no-store')
  })

  it('responds to JSON clients with 401 and a problem document', async () => {
    const portal = await portalWithAda()
    const { status, headers, body } = await request(portal.app)
      .get('/portal')
      .set('accept', 'application/json')
    expect(status).toBe(401)
    expect(headers['content-type']).toContain('application/problem+json')
    expect(body).toMatchObject({ status: 401, code: 'not_signed_in', login: '/login' })
  })

  it("responds to a page's own script with 401, although it accepts anything", async () => {
    const portal = await portalWithAda()
    const { status } = await request(portal.app)
      .get('/portal')
      .set({ accept: '*/*', 'sec-fetch-dest': 'empty' })
    expect(status).toBe(401)
  })

  it('redirects a navigation that a service worker passes on', async () => {
    const portal = await portalWithAda()
    const { status, headers } = await request(portal.app)
      .get('/portal')
      .set({ accept: 'text/html,*/*;q=0.8', 'sec-fetch-dest': 'empty', 'sec-fetch-mode': 'navigate' })
    expect([status, headers.location]).toEqual([302, '/login?returnTo=%2Fportal'])
  })

  it('keeps no deep link to a POST, which cannot be repeated', async () => {
    const portal = await portalWithAda()
    const { status, headers } = await request(portal.app).post('/portal/order').set('accept', 'text/html')
    expect([status, headers.location]).toEqual([303, '/login'])
  })

  it("does nothing if the host's own time limit has already responded", async () => {
    const asked = signal()
    const goOn = signal()
    let slow = false
    const ada = { id: '7', email: 'ada@example.com', name: 'Ada' }
    const users: UserDirectory = {
      findById: async () => {
        if (slow) {
          asked.give()
          await goOn.given
        }
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
          if (slow) asked.given.then(() => res.status(503).end('too slow')).catch(next)
          next()
        })
        app.use('/portal', sso.guard(), (_req, res) => {
          res.send('in')
        })
      },
    })
    const visitor = await signIn(portal)
    slow = true
    expect(await visitor.get(`${portal.url}/portal`)).toMatchObject({ status: 503, body: 'too slow' })
    slow = false
    goOn.give()
    expect(await status(visitor, portal)).toBe(200)
  })

  it('names the missing middleware when there is no session', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use('/portal', sso.guard())
      },
    })
    const { status } = await request(portal.app).get('/portal').set('accept', 'text/html')
    expect(status).toBe(500)
    expect(portal.logs.at(-1)!.fields.cause).toContain('mount `app.use(sso.session())`')
  })

  it('works when the router is mounted below a path', async () => {
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

describe('a form of a user who cannot be checked again after its body was read', () => {
  it('is refused with 503, but signs the user out', async () => {
    let calls = Number.NEGATIVE_INFINITY
    const ada = { id: '7', email: 'ada@example.com', name: 'Ada' }
    const users: UserDirectory = {
      findById: async () => (++calls === 2 ? Promise.reject(new Error('unavailable')) : ada),
      findByEmail: async () => ada,
      create: async () => ada,
    }
    const portal = await portalWithAda({ users, session: { userCacheSeconds: 0 } })
    const [visitor] = [await signIn(portal), await signIn(portal)]
    const sessions = () => portal.knex('sso_sessions').pluck('id')
    calls = 0
    expect((await visitor.post(`${portal.url}/account/security/end-others`, [])).status).toBe(503)
    expect(await sessions()).toHaveLength(2)
    calls = 0
    expect((await visitor.post(`${portal.url}/logout`, [])).status).not.toBe(503)
    expect(await sessions()).toHaveLength(1)
  })
})

describe('signing out', () => {
  it('ends the session here, and shows a page that says so', async () => {
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
    ['a request without origin headers', { 'sec-fetch-site': undefined, origin: undefined }],
  ])('is refused to %s (CSRF)', async (_who, headers) => {
    const portal = await portalWithAda()
    const visitor = await signIn(portal)
    const cookie = [...visitor.cookies.get(portal.url)!].map(([name, value]) => `${name}=${value}`).join('; ')
    const post = request(portal.app).post('/logout').set('cookie', cookie).set('accept', 'text/html')
    for (const [name, value] of Object.entries(headers)) if (value) post.set(name, value)
    expect((await post).status).toBe(403)
    expect(await status(visitor, portal)).toBe(200)
  })

  it('works in an old browser that sends only Origin', async () => {
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
  it('have the idle time as their time to live', async () => {
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

  it('make guarded pages respond with 503 within 2 s, never "signed out", while Redis is down; they recover on their own', async () => {
    const server = await startOwnRedis()
    open.push({ close: () => server.stop() })
    const redis = createClient({ url: server.url, socket: { reconnectStrategy: 50 } })
    redis.on('error', () => {})
    await redis.connect()
    open.push({ close: async () => redis.destroy() })
    const portal = await portalWithAda({ redis })
    const visitor = await signIn(portal)
    await server.stop()
    const during = await visitor.get(`${portal.url}/portal`)
    expect(during.status).toBe(503)
    expect(during.headers.get('retry-after')).toBe('5')
    expect(portal.logs.at(-1)!.fields.code).toBe('session_unavailable')
    await server.start()
    // The in-memory Redis restarts empty, so the old session is gone; the portal reconnects by itself.
    while ((await status(visitor, portal)) === 503) await sleep(50)
    expect(await status(visitor, portal)).toBe(302)
    expect(await status(await signIn(portal, visitor), portal)).toBe(200)
  })
})

describe('a session that Redis could not read', () => {
  it('is not deleted, although pages responded with 503 in the meantime', async () => {
    const client = await connectRedis()
    open.push({ close: () => client.close() })
    let isDown = false
    const redis = {
      get: async (key: string) => (isDown ? Promise.reject(new Error('read ECONNRESET')) : client.get(key)),
      set: client.set.bind(client),
      del: (keys: string[]) => client.del(keys),
      eval: client.eval.bind(client),
      expire: (key: string, seconds: number) => client.expire(key, seconds),
    }
    const portal = await portalWithAda({ redis })
    const visitor = await signIn(portal)
    isDown = true
    expect(await status(visitor, portal)).toBe(503)
    isDown = false
    expect(await status(visitor, portal)).toBe(200)
  })
})

describe('a host', () => {
  it('can keep its own express-session', async () => {
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

  it('gets `req.user` on its own pages from its own express-session alone', async () => {
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
    expect(portal.logs.at(-1)!.fields.cause).toContain('or your own express-session, before this')
  })

  it('can keep its own Passport, whose session data stays untouched', async () => {
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
    // Our middleware sees the host's value twice and leaves it alone.
    await classic.get(`${portal.url}/login`)
    expect(JSON.parse((await classic.get(`${portal.url}/whoami`)).body)).toMatchObject({ id: 'classic' })
  })

  it('can sign in users with strategies of its own Passport, and the guard admits them', async () => {
    const own = new Passport()
    const portal = await portalWithAda({
      mount(app, sso) {
        own.use('password', {
          async authenticate(this: StrategyCreated<Strategy>) {
            this.success((await sso.users.findByEmail('ada@example.com'))!)
          },
        } as Strategy)
        own.serializeUser(sso.serializeUser)
        app.use(sso.session())
        app.post('/classic', own.authenticate('password', { successRedirect: '/portal' }))
        mountDefault(app, sso)
      },
    })
    const visitor = new Visitor()
    const portalPage = await visitor.follow(await visitor.post(`${portal.url}/classic`))
    expect(portalPage).toMatchObject({ status: 200, url: `${portal.url}/portal` })
    // As after any sign-in, revoking the session ends it.
    await portal.sso.sessions.endAll({ userId: (await portal.knex('sso_users').first()).id })
    expect(await status(visitor, portal)).toBe(302)
  })

  it('can initialize its own Passport in between: the session still works, and ends when the user is deactivated', async () => {
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

  it('can sign in a user by req.login, as a classic login does, and the guard admits them', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.post('/classic', async (req, res) => {
          const user = await sso.users.findByEmail('ada@example.com')
          req.login(user!, () => res.send('in'))
        })
        mountDefault(app, sso)
      },
    })
    const visitor = new Visitor()
    await visitor.post(`${portal.url}/classic`)
    expect(await status(visitor, portal)).toBe(200)
  })

  it('can keep its own users, with its own ids and fields', async () => {
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
    // The host deletes the user and creates her again: the link to the deleted user does not lock her out.
    people.clear()
    people.set('99', { id: '99', email: 'ada@example.com', name: 'Ada', department: 'Board' })
    const again = await signIn(portal)
    expect(await status(again, portal)).toBe(200)
    expect(await portal.knex('sso_identities').pluck('user_id')).toEqual(['99'])
  })

  it('can have numeric ids: two concurrent sign-ins give the same user', async () => {
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

  it('whose database compares addresses loosely does not hand over another user’s account', async () => {
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

  it('can mount `sso.session()` in an app of its own, and use `req.isAuthenticated` after it', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(express().use(sso.session()), sso.router())
        app.get('/signed-in', (req, res) => void res.json(req.isAuthenticated()))
      },
    })
    const isSignedIn = async (visitor: Visitor) => (await visitor.get(`${portal.url}/signed-in`)).body
    expect(await isSignedIn(new Visitor())).toBe('false')
    expect(await isSignedIn(await signIn(portal))).toBe('true')
  })

  it('can mount it into Express without effects on other routes', async () => {
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
