import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Request } from 'express'
import session from 'express-session'
import type { User, UserDirectory } from '../../lib/index.ts'
import type { RedisLike } from '../../lib/sessions/redis-client.ts'
import { type Clock, takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { responseUrl, startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const second = 1000
const minute = 60 * second

let clock: Clock
const provider = await useProvider()
let redis: Awaited<ReturnType<typeof connectRedis>>
const open = closedAfterEach()

beforeAll(async () => {
  redis = await connectRedis()
})
afterAll(async () => {
  await redis.close()
})
beforeEach(() => {
  clock = takeClock()
})
afterEach(async () => {
  clock.back()
})

async function portalWithAda(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortalWithAda(provider, options)
  open.push(portal)
  return portal
}

async function signIn(portal: TestPortal, visitor = new Visitor()): Promise<Visitor> {
  await visitor.open(`${portal.url}/login/acme`)
  expect(await status(visitor, portal)).toBe(200)
  return visitor
}

const status = async (visitor: Visitor, { url }: { url: string }) =>
  (await visitor.get(`${url}/portal`)).status

const sessionId = (visitor: Visitor, portal: TestPortal) =>
  decodeURIComponent(visitor.cookies.get(portal.url)!.get('portal-sso')!).slice(2).split('.')[0]!

/** The host's own express-session, which has no limits. */
const hostsOwn: TestPortalOptions = {
  mount(app, sso) {
    app.use(session({ secret: 'of the host', resave: false, saveUninitialized: false }))
    app.use(sso.router())
    app.use('/portal', sso.guard(), (_req, res) => void res.send('in'))
  },
}

const stores: [string, () => TestPortalOptions][] = [
  ['in the process', () => ({})],
  ['in Redis', () => ({ redis })],
  ["in a host's own store", () => hostsOwn],
]

describe.each(stores)('a session %s', (_where, options) => {
  it('stays valid while it is used, and expires after its idle time', async () => {
    const portal = await portalWithAda({ ...options(), session: { idleMinutes: 10 } })
    const [used, unused] = [await signIn(portal), await signIn(portal)]
    for (const pause of [4, 4, 9, 9]) {
      clock.pass(pause * minute)
      expect(await status(used, portal)).toBe(200)
    }
    expect(await status(unused, portal)).toBe(302)
    clock.pass(10 * minute)
    expect(await status(used, portal)).toBe(302)
  })

  it('expires after its absolute limit, even while it is used', async () => {
    const portal = await portalWithAda({ ...options(), session: { idleMinutes: 40, absoluteHours: 1 } })
    const visitor = await signIn(portal)
    for (const pause of [30, 29]) {
      clock.pass(pause * minute)
      expect(await status(visitor, portal)).toBe(200)
    }
    clock.pass(minute)
    expect(await status(visitor, portal)).toBe(302)
  })

  it('has the limits of its portal', async () => {
    const portal = await portalWithAda({
      ...options(),
      portal: (req: Request) => req.get('x-portal') ?? 'default',
      session: {
        portals: { north: { idleMinutes: 5 }, south: { idleMinutes: 300, absoluteHours: 2 } },
      },
    })
    const signInAt = async (name: string) => {
      await portal.connect(provider, { portal: name })
      await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} }, { portal: name })
      return await signIn(portal, new Visitor({ 'x-portal': name }))
    }
    const [north, south, other] = [await signInAt('north'), await signInAt('south'), await signIn(portal)]
    clock.pass(6 * minute)
    expect(await Promise.all([north, south, other].map((each) => status(each, portal)))).toEqual([
      302, 200, 200,
    ])
    clock.pass(31 * minute)
    expect(await Promise.all([south, other].map((each) => status(each, portal)))).toEqual([200, 302])
    clock.pass(84 * minute)
    expect(await status(south, portal)).toBe(302)
  })
})

describe.each(stores.slice(1))('a session %s', (_where, options) => {
  it('stays valid on an instance that has not seen it if another instance has', async () => {
    const both = { ...options(), session: { idleMinutes: 10, userCacheSeconds: 60 } }
    const portal = await portalWithAda(both)
    const visitor = await signIn(portal)
    await portal
      .knex('sso_sessions')
      .update({ last_seen_at: new Date(Date.now() + 9 * minute).toISOString() })
    clock.pass(11 * minute)
    expect(await status(visitor, portal)).toBe(200)
  })
})

describe('an instance whose clock is wrong', () => {
  const fromStart = async (portal: TestPortal, minutes: number) => {
    clock.pass(minutes * minute)
    await portal.sso.runMaintenance()
  }

  it.each([-60, 60])('by %i minutes starts sessions that last as long as others', async (minutes) => {
    const portal = await portalWithAda({ session: { absoluteHours: 1 } })
    await fromStart(portal, minutes)
    const visitor = await signIn(portal)
    const [row] = await portal.knex('sso_sessions')
    expect(Date.parse(row.expires_at) - Date.parse(row.created_at)).toBeLessThan(61 * minute)
    expect(await status(visitor, portal)).toBe(200)
  })

  it('by an hour accepts no authentication that is older than a guard allows', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        mountDefault(app, sso)
        app.get('/strict', sso.guard({ maxAge: '5m' }), (_req, res) => void res.send('in'))
      },
    })
    provider.faults.claims = { auth_time: Math.floor(Date.now() / 1000) - 10 * 60 }
    const visitor = await signIn(portal)
    delete provider.faults.claims
    await fromStart(portal, -60)
    expect((await visitor.get(`${portal.url}/strict`)).status).toBe(302)
  })

  it('and is set back keeps sessions in Redis that are in use', async () => {
    const portal = await portalWithAda({ redis })
    const visitor = await signIn(portal)
    const key = `portal-sso:session:${sessionId(visitor, portal)}`
    await redis.expire(key, 60)
    await fromStart(portal, -60)
    expect(await status(visitor, portal)).toBe(200)
    expect(await redis.ttl(key)).toBeGreaterThan(1700)
  })
})

describe('a visitor who has not signed in', () => {
  it('keeps the host’s session data until the idle time expires', async () => {
    const portal = await portalWithAda({
      mount(app, sso) {
        app.use(sso.session())
        app.get('/basket', (req, res) => {
          const kept = req.session as { basket?: number }
          if (req.query.put) kept.basket = 1
          res.json(kept.basket ?? 0)
        })
      },
    })
    const visitor = new Visitor()
    const basket = async (query = '') => (await visitor.get(`${portal.url}/basket${query}`)).body
    await basket('?put=1')
    for (const pause of [20, 20]) {
      clock.pass(pause * minute)
      expect(await basket()).toBe('1')
    }
    clock.pass(31 * minute)
    expect(await basket()).toBe('0')
  })
})

describe('a session in Redis', () => {
  /** Counts the commands sent to Redis. */
  function counting(): { client: RedisLike; sent: (command: string) => number; reset: () => void } {
    const commands: string[] = []
    const client = new Proxy(redis, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name)
        if (typeof value !== 'function') return value
        return (...given: unknown[]) => {
          commands.push(String(name))
          return (value as (...given: unknown[]) => unknown).apply(target, given)
        }
      },
    })
    return {
      client: client as unknown as RedisLike,
      sent: (command) => commands.filter((each) => each === command).length,
      reset: () => void commands.splice(0),
    }
  }

  it('costs at most one write for fifty consecutive requests, and one for each tenth of its idle time', async () => {
    const counted = counting()
    const portal = await portalWithAda({ redis: counted.client })
    const visitor = await signIn(portal)
    const requests = async (count: number) => {
      counted.reset()
      for (let n = 0; n < count / 2; n++)
        expect(await Promise.all([0, 1].map(() => status(visitor, portal)))).toEqual([200, 200])
      return { get: counted.sent('get'), set: counted.sent('set'), expire: counted.sent('expire') }
    }
    expect(await requests(50)).toEqual({ get: 50, set: 0, expire: 0 })
    clock.pass(3 * minute)
    expect(await requests(50)).toEqual({ get: 50, set: 0, expire: 1 })
    clock.pass(2.9 * minute)
    expect(await requests(10)).toEqual({ get: 10, set: 0, expire: 0 })
  })

  it('costs one write on another instance, which does not know of the last one', async () => {
    const portal = await portalWithAda({ redis })
    const counted = counting()
    const other = await startPortal({ redis: counted.client, database: portal.knex, baseUrl: portal.url })
    open.push(other)
    const visitor = await signIn(portal)
    visitor.cookies.set(other.url, visitor.cookies.get(portal.url)!)
    for (let n = 0; n < 10; n++) expect(await status(visitor, other)).toBe(200)
    expect(counted.sent('expire')).toBe(1)
  })

  it('is renewed again by the next request if Redis refused to renew it', async () => {
    let refusals = 0
    const client = {
      get: redis.get.bind(redis),
      set: redis.set.bind(redis),
      del: redis.del.bind(redis),
      eval: redis.eval.bind(redis),
      async expire(key: string, seconds: number) {
        if (refusals++ === 0) throw new Error('READONLY You can not write against a read only replica.')
        return await redis.expire(key, seconds)
      },
    }
    const portal = await portalWithAda({ redis: client as RedisLike })
    const visitor = await signIn(portal)
    clock.pass(4 * minute)
    await status(visitor, portal)
    await status(visitor, portal)
    await status(visitor, portal)
    expect(refusals).toBe(2)
  })

  it('stays there for the idle time of its portal, but never beyond the absolute limit', async () => {
    const portal = await portalWithAda({
      redis,
      session: { absoluteHours: 1, portals: { default: { idleMinutes: 20 } } },
    })
    const visitor = await signIn(portal)
    const left = async () => await redis.ttl(`portal-sso:session:${sessionId(visitor, portal)}`)
    expect(await left()).toBeGreaterThan(1150)
    expect(await left()).toBeLessThanOrEqual(1200)
    for (const pause of [19, 19, 12]) {
      clock.pass(pause * minute)
      expect(await status(visitor, portal)).toBe(200)
    }
    expect(await left()).toBeGreaterThan(550)
    expect(await left()).toBeLessThanOrEqual(600)
  })

  it('has a cookie that lasts as long as any session can, and is set once', async () => {
    const portal = await portalWithAda({
      redis,
      session: { absoluteHours: 10, portals: { north: { absoluteHours: 20 } } },
    })
    const visitor = new Visitor()
    const start = await visitor.get(`${portal.url}/login/acme`)
    const callback = await visitor.get((await visitor.get(start.location!)).location!)
    const cookie = callback.headers.getSetCookie().find((line) => line.startsWith('portal-sso='))!
    const ends = Date.parse(/Expires=([^;]+)/.exec(cookie)![1]!)
    expect(Math.round((ends - Date.now()) / minute)).toBe(20 * 60)
    const { status, headers } = await visitor.get(`${portal.url}/portal`)
    expect([status, headers.getSetCookie()]).toEqual([200, []])
  })
})

describe('a deactivated user', () => {
  const switchOff = (portal: TestPortal) => portal.knex('sso_users').update({ active: false })

  it('is refused after the user cache time, by default 5 s', async () => {
    const portal = await portalWithAda({ session: { userCacheSeconds: undefined as never } })
    const visitor = await signIn(portal)
    await switchOff(portal)
    clock.pass(5 * second)
    expect(await status(visitor, portal)).toBe(302)
    await portal.knex('sso_users').update({ active: true })
    expect(await status(visitor, portal)).toBe(302)
  })

  it('is refused at the next request if the user cache time is 0', async () => {
    const portal = await portalWithAda({ session: { userCacheSeconds: 0 } })
    const visitor = await signIn(portal)
    await switchOff(portal)
    expect(await status(visitor, portal)).toBe(302)
  })

  it('who is reactivated signs in at once, and stays signed in on an instance that saw the deactivation', async () => {
    const both = { redis, session: { userCacheSeconds: 60 } }
    const north = await portalWithAda(both)
    const south = await startPortal({ ...both, database: north.knex, baseUrl: north.url })
    open.push(south)
    const visitor = await signIn(north)
    const atSouth = async () => {
      visitor.cookies.set(south.url, visitor.cookies.get(north.url)!)
      return await status(visitor, south)
    }
    await switchOff(north)
    expect(await atSouth()).toBe(302)
    await north.knex('sso_users').update({ active: true })
    await signIn(north, visitor)
    expect(await atSouth()).toBe(200)
  })

  it('never signs in, whatever is cached', async () => {
    const portal = await portalWithAda({ session: { userCacheSeconds: 60 } })
    const visitor = await signIn(portal)
    await switchOff(portal)
    expect((await new Visitor().open(`${portal.url}/login/acme`)).status).toBe(403)
    // The existing session may stay valid for the cache time.
    expect(await status(visitor, portal)).toBe(200)
    clock.pass(60 * second)
    expect(await status(visitor, portal)).toBe(302)
  })
})

describe('a session that is revoked before its first request', () => {
  const cached = { session: { userCacheSeconds: 5 } }

  /** Signs in without opening the page to which the callback redirects. */
  async function signInOnly(portal: TestPortal): Promise<Visitor> {
    const visitor = new Visitor()
    const begun = await visitor.get(`${portal.url}/login/acme`)
    expect((await visitor.get(await responseUrl(visitor, begun))).status).toBe(303)
    return visitor
  }

  it('admits nobody on the instance that revoked it, although the sign-in has just cached it', async () => {
    const portal = await portalWithAda(cached)
    const [user] = await portal.knex('sso_users').pluck('id')
    const visitor = await signInOnly(portal)
    expect(await portal.sso.sessions.endAll({ userId: user })).toBe(1)
    expect(await status(visitor, portal)).toBe(302)
  })

  it('admits nobody on another instance after the user cache time, and at once without it', async () => {
    for (const [options, pass] of [[cached, 5 * second] as const, [{}, 0] as const]) {
      const portal = await portalWithAda(options)
      const visitor = await signInOnly(portal)
      await portal.knex('sso_sessions').delete()
      clock.pass(pass)
      expect(await status(visitor, portal)).toBe(302)
    }
  })
})

describe('a change that a request makes to `req.user`', () => {
  class Person {
    readonly roles: string[] = []
    readonly id = '7'
    readonly email = 'ada@example.com'
    readonly name = 'Ada'
    get active() {
      return true
    }
  }
  const plain = { id: '7', email: 'ada@example.com', name: 'Ada', active: true, roles: [] as string[] }

  it.each<[string, () => User]>([
    ['a plain object', () => ({ ...plain, roles: [] })],
    ['an object with a class of its own', () => new Person()],
    ['a plain object with a part that has a class', () => ({ ...plain, roles: [], owner: new Person() })],
    ['a plain object with a function', () => ({ ...plain, roles: [], can: () => false })],
  ])('is not visible to other requests, later or concurrent: %s', async (_what, user) => {
    const users: UserDirectory = {
      findById: async () => user(),
      findByEmail: async () => user(),
      create: async () => user(),
    }
    const portal = await portalWithAda({
      users,
      session: { userCacheSeconds: 60 },
      mount(app, sso) {
        app.use(sso.session())
        app.use(sso.router())
        app.use('/portal', sso.guard(), (req, res) => {
          const { roles } = req.user as unknown as { roles: string[] }
          roles.push('admin')
          Object.assign(req.user!, { noted: ((req.user as { noted?: number }).noted ?? 0) + 1 })
          res.json([roles.length, (req.user as { noted?: number }).noted])
        })
      },
    })
    const visitor = await signIn(portal)
    const bodyOf = async () => (await visitor.get(`${portal.url}/portal`)).body
    expect(await Promise.all([bodyOf(), bodyOf(), bodyOf()])).toEqual(Array(3).fill('[1,1]'))
    expect(await bodyOf()).toBe('[1,1]')
  })
})

describe('while the database is down', () => {
  const disconnect = (portal: TestPortal) => portal.knex.destroy()

  it('cached sessions stay valid for ten minutes, and nobody can sign in', async () => {
    const portal = await portalWithAda({ redis, session: { userCacheSeconds: 5 } })
    const visitor = await signIn(portal)
    await disconnect(portal)
    clock.pass(9 * minute)
    expect(await status(visitor, portal)).toBe(200)
    expect((await new Visitor().open(`${portal.url}/login/acme`)).status).toBe(503)
    clock.pass(minute + second)
    expect(await status(visitor, portal)).toBe(503)
  })

  it('no session is valid if nothing may be cached', async () => {
    const portal = await portalWithAda({ redis, session: { userCacheSeconds: 0 } })
    const visitor = await signIn(portal)
    await disconnect(portal)
    expect(await status(visitor, portal)).toBe(503)
  })

  it("no session in a host's own store is valid, since it may have been revoked", async () => {
    const portal = await portalWithAda({ ...hostsOwn, session: { userCacheSeconds: 60 } })
    const visitor = await signIn(portal)
    await disconnect(portal)
    expect(await status(visitor, portal)).toBe(503)
  })

  it('requests keep a session alive, although its row could not be renewed', async () => {
    const portal = await portalWithAda({ redis, session: { userCacheSeconds: 5, idleMinutes: 10 } })
    const [busy, idle] = [await signIn(portal), await signIn(portal)]
    await portal.knex.schema.renameTable('sso_sessions', 'renamed')
    for (const minutes of [4, 4]) {
      clock.pass(minutes * minute)
      expect(await status(busy, portal)).toBe(200)
    }
    await portal.knex.schema.renameTable('renamed', 'sso_sessions')
    clock.pass(3 * minute)
    for (const visitor of [busy, busy]) expect(await status(visitor, portal)).toBe(200)
    expect(await status(idle, portal)).toBe(302)
    // It can still be revoked.
    await portal.knex('sso_sessions').delete()
    clock.pass(5 * second)
    expect(await status(busy, portal)).toBe(302)
  })

  it('a session that has expired according to the cache is not valid', async () => {
    const portal = await portalWithAda({ redis, session: { userCacheSeconds: 60, idleMinutes: 2 } })
    const visitor = await signIn(portal)
    await disconnect(portal)
    clock.pass(3 * minute)
    expect(await status(visitor, portal)).toBe(503)
  })
})
