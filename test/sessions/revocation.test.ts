/** @slow takes about 30 seconds */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { RedisStore } from 'connect-redis'
import session, { MemoryStore, type Store } from 'express-session'
import knexModule from 'knex'
import { digest, Seal } from '../../lib/shared/seal.ts'
import { takeClock, takeTimers } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { type FreshDatabase, freshPostgres } from '../support/databases.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { startPortal, type TestPortal, type TestPortalOptions, testSecret } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { hasClusterProgram, startRedisCluster } from '../support/redis-cluster.ts'
import { useProvider } from '../support/scene.ts'
import { progress } from '../support/services/programs.ts'
import { signal } from '../support/signal.ts'
import { Visitor } from '../support/visitor.ts'

/** The store that all instances of a portal use. */
interface StoreSetup {
  /** omitted: each process has its own store */
  redis?: TestPortalOptions['redis']
  /** creates the store of a host's own express-session */
  newStore?: () => Store
  close(): Promise<unknown>
}

const nothing = async () => {}
const inRedis = async (): Promise<StoreSetup> => {
  const redis = await connectRedis()
  return { redis, close: () => redis.close() }
}
const inHostsRedis = async (): Promise<StoreSetup> => {
  const client = await connectRedis()
  const newStore = () => new RedisStore({ client, prefix: `host-${randomUUID()}:` })
  return { newStore, close: () => client.close() }
}
const inCluster = async (): Promise<StoreSetup> => {
  const servers = await startRedisCluster()
  const redis = await servers.connect()
  return {
    redis,
    async close() {
      redis.destroy()
      await servers.stop()
    },
  }
}
const stores: [string, () => Promise<StoreSetup>][] = [
  ['in the process', async () => ({ close: nothing })],
  ['in Redis', inRedis],
  ["in a host's own MemoryStore", async () => ({ newStore: () => new MemoryStore(), close: nothing })],
  ["in a host's own Redis store", inHostsRedis],
]
if (hasClusterProgram()) stores.push(['in a Redis Cluster', inCluster])
else
  progress(
    'NOT COVERED: sessions in a Redis Cluster. Install redis-server; TEST_REDIS_URL is a single server',
  )

const provider = await useProvider()
const open = closedAfterEach()

beforeEach(() => {
  provider.person.sid = 'session-1'
})

type InstanceOptions = Pick<StoreSetup, 'redis'> & { store?: Store | undefined; gate?: Gate | undefined }

type Gate = { arrived: ReturnType<typeof signal>; proceed: ReturnType<typeof signal> }

/** `/slow` waits for the gate, then writes into the session. */
async function start({ redis, store, gate }: InstanceOptions, more: TestPortalOptions): Promise<TestPortal> {
  const portal = await startPortal({
    redis,
    // A cached row is what could keep a revoked session valid.
    session: { userCacheSeconds: 5 },
    mount(app, sso) {
      if (store)
        app.use(
          session({
            store,
            secret: 'of the host',
            resave: false,
            saveUninitialized: false,
            rolling: true,
          }),
        )
      else app.use(sso.session())
      app.use(sso.router())
      app.use('/portal', sso.guard(), (_req, res) => void res.send('in'))
      app.get('/slow', sso.guard(), (req, res, next) => {
        gate?.arrived.give()
        gate?.proceed.given
          .then(() => {
            Object.assign(req.session, { basket: 1 })
            res.send('written')
          })
          .catch(next)
      })
      app.post('/leave', sso.guard(), (req, res) => req.logout(() => res.send('out')))
      app.post('/forget', sso.guard(), (req, res) => {
        req.session.destroy(() => res.send('out'))
      })
      // The host refreshes the signed-in user's data.
      app.post('/rewrite', sso.session({ own: true }), async (req, res, next) => {
        gate?.arrived.give()
        await gate?.proceed.given
        if (!req.user) return void res.send('out')
        req.login(req.user, (error) => (error ? next(error) : res.send('in')))
      })
      app.post('/classic', sso.session({ own: true }), async (req, res) => {
        const user = await sso.users.findByEmail('ada@example.com')
        req.login(user!, () => res.send('in'))
      })
    },
    ...more,
  })
  open.push(portal)
  return portal
}

/** Two instances of one portal with a provider and the user Ada, or one instance if sessions are in the process. */
async function startBoth(setup: StoreSetup, gate?: Gate, database?: TestPortalOptions['database']) {
  const shared = { redis: setup.redis, store: setup.newStore?.(), gate }
  const north = await start(shared, { ...(database && { database }) })
  await north.connect(provider)
  await north.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
  const isShared = shared.redis !== undefined || shared.store !== undefined
  const south = isShared ? await start(shared, { database: north.knex, baseUrl: north.url }) : north
  return { north, south, instances: [...new Set([north, south])] }
}

/** Sends a cookie from any instance to this one. */
async function statusAt(portal: TestPortal, cookie: string): Promise<number> {
  const response = await fetch(`${portal.url}/portal`, {
    headers: { cookie, accept: 'text/html' },
    redirect: 'manual',
  })
  await response.arrayBuffer()
  return response.status
}

const cookieOf = (visitor: Visitor, portal: TestPortal) =>
  [...visitor.cookies.get(portal.url)!].map(([name, value]) => `${name}=${value}`).join('; ')

async function signOutByToken(portal: TestPortal): Promise<void> {
  const token = await signLogoutToken(provider, { sid: 'session-1' })
  const response = await fetch(`${portal.url}/logout/acme/backchannel`, {
    method: 'POST',
    body: new URLSearchParams({ logout_token: token }),
  })
  expect(response.status).toBe(200)
}

const ways: [string, (portal: TestPortal, visitor: Visitor) => Promise<unknown>][] = [
  ['its user', (portal, visitor) => visitor.post(`${portal.url}/logout`)],
  ['its provider', signOutByToken],
  ['the operator', ({ sso }) => sso.providers.disable('acme', { endSessions: true })],
  ['the host, by req.logout,', (portal, visitor) => visitor.post(`${portal.url}/leave`)],
  ['the host, by req.session.destroy,', (portal, visitor) => visitor.post(`${portal.url}/forget`)],
]

/** Many sessions of one provider, in the table and in Redis, as if that many users had signed in. */
async function addSessions({ knex }: TestPortal, redis: Redis, count: number): Promise<string[]> {
  const seal = new Seal([testSecret], 'session-index')
  const sessionIds = Array.from({ length: count }, () => randomUUID())
  const at = new Date().toISOString()
  const rows = sessionIds.map((sessionId) => ({
    id: digest(sessionId),
    portal: 'default',
    user_id: sessionId,
    provider: 'acme',
    session: seal.close(sessionId, digest(sessionId)),
    created_at: at,
    last_seen_at: at,
    expires_at: '2099-01-01T00:00:00.000Z',
  }))
  await knex.batchInsert('sso_sessions', rows, 50)
  const keys = sessionIds.map((sessionId) => `portal-sso:session:${sessionId}`)
  await Promise.all(keys.map((key) => redis.set(key, '{}', { expiration: { type: 'EX', value: 600 } })))
  return keys
}

type Redis = NonNullable<TestPortalOptions['redis']>

describe.each(stores)('a session %s', (where, createSetup) => {
  let setup: StoreSetup
  beforeAll(async () => {
    setup = await createSetup()
  })
  afterAll(() => setup.close())

  describe.each(ways)('that was ended by %s', (_who, end) => {
    it.each(where === 'in the process' ? ['here'] : ['here', 'there'])(
      'stays revoked, although a request in flight %s writes into it',
      async (location) => {
        const gate = { arrived: signal(), proceed: signal() }
        const { north, south, instances } = await startBoth(setup, gate)
        const visitor = new Visitor()
        await visitor.open(`${north.url}/login/acme`)
        const stolen = cookieOf(visitor, north)
        for (const instance of instances) expect(await statusAt(instance, stolen)).toBe(200)
        const busy = location === 'here' ? north : south
        const slow = fetch(`${busy.url}/slow`, { headers: { cookie: stolen } })
        await gate.arrived.given
        await end(north, visitor)
        expect(await north.knex('sso_sessions')).toEqual([])
        for (const instance of instances) expect(await statusAt(instance, stolen)).toBe(302)
        gate.proceed.give()
        expect(await (await slow).text()).toBe('written')
        // First the instance that has it cached: the other one would remove it from the store again.
        for (const instance of instances.toReversed()) expect(await statusAt(instance, stolen)).toBe(302)
      },
    )
  })

  it('stays valid when another session of the same user ends', async () => {
    const { north, instances } = await startBoth(setup)
    const [first, second] = [new Visitor(), new Visitor()]
    for (const [n, visitor] of [first, second].entries()) {
      provider.person.sid = `session-${n + 1}`
      await visitor.open(`${north.url}/login/acme`)
    }
    const [ended, other] = [cookieOf(first, north), cookieOf(second, north)]
    await signOutByToken(north)
    for (const instance of instances) {
      expect(await statusAt(instance, ended)).toBe(302)
      expect(await statusAt(instance, other)).toBe(200)
    }
  })

  if (where === 'in a Redis Cluster')
    it('is deleted with many others, whose keys are on several nodes', async () => {
      const redis = setup.redis!
      const portal = await start(setup, {})
      await portal.connect(provider)
      const keys = await addSessions(portal, redis, 150)
      expect(await portal.sso.sessions.endAll({ provider: 'acme' })).toBe(150)
      expect(new Set(await Promise.all(keys.map((key) => redis.get(key))))).toEqual(new Set([null]))
      expect(portal.logs.filter(({ message }) => message.includes('could not be removed'))).toEqual([])
    })

  if (where === 'in a Redis Cluster')
    it('is rate-limited by all instances together, whose counters are in one hash slot', async () => {
      const more = { rateLimits: { code: 3 } }
      const north = await start(setup, more)
      await north.connect(provider)
      const south = await start(setup, { ...more, database: north.knex, baseUrl: north.url })
      const seen: number[] = []
      for (const instance of [north, south, north, south, north]) {
        await new Visitor().get(`${instance.url}/login/acme`)
        seen.push((await new Visitor().post(`${instance.url}/register/verify`)).status)
      }
      expect(seen.map((status) => status === 429)).toEqual([false, false, false, true, true])
      const lines = [...north.logs, ...south.logs].map(({ message }) => message)
      expect(lines.filter((line) => line.includes('cannot count'))).toEqual([])
    })
})

describe('ending many sessions', () => {
  /** Records the numbers of keys of each DEL, and of rows at that time. */
  async function startWithRedis(redis: Redis, del: Redis['del']) {
    const commands: number[][] = []
    const portal = await start(
      {
        redis: {
          get: (key) => redis.get(key),
          set: (key, value, options) => redis.set(key, value, options),
          expire: (key, seconds) => redis.expire(key, seconds),
          eval: (script, options) => redis.eval(script, options),
          async del(keys) {
            if (!keys[0]!.includes('session:')) return await redis.del(keys)
            commands.push([keys.length, (await portal.knex('sso_sessions')).length])
            return await del(keys)
          },
        },
      },
      {},
    )
    await portal.connect(provider)
    return { portal, commands }
  }

  it('deletes all rows first, and then many keys with one command', async () => {
    const redis = await connectRedis()
    const { portal, commands } = await startWithRedis(redis, (keys) => redis.del(keys))
    const keys = await addSessions(portal, redis, 601)
    expect(await portal.sso.sessions.endAll({ provider: 'acme' })).toBe(601)
    const together = [100, 0]
    expect(commands).toEqual([...Array(6).fill(together), [1, 0]])
    expect(await redis.exists(keys)).toBe(0)
    await redis.close()
  })

  it('waits for a Redis that hangs only once', async () => {
    const redis = await connectRedis()
    const asked = signal()
    const { portal, commands } = await startWithRedis(redis, () => {
      asked.give()
      return new Promise(() => {})
    })
    await addSessions(portal, redis, 601)
    portal.logs.length = 0
    const timers = takeTimers()
    try {
      const ended = portal.sso.sessions.endAll({ provider: 'acme' })
      await asked.given
      timers.pass(800)
      expect(await ended).toBe(601)
      expect(commands).toHaveLength(1)
      // The outage is logged, and not the sessions that stay in Redis.
      expect(portal.logs.map(({ message }) => message)).toEqual(['Redis is not available'])
    } finally {
      timers.back()
      await redis.close()
    }
  })
})

describe('an instance whose clock jumps ahead by an hour', () => {
  it.each([
    ['in Redis', inRedis],
    ["in a host's own MemoryStore", async () => ({ newStore: () => new MemoryStore(), close: nothing })],
  ])(
    'deletes no session that others use, from its row or %s, and admits its users after the next maintenance',
    async (_where, createSetup) => {
      const setup: StoreSetup = await createSetup()
      const portal = await start({ redis: setup.redis, store: setup.newStore?.() }, {})
      await portal.connect(provider)
      await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
      const visitor = new Visitor()
      await visitor.open(`${portal.url}/login/acme`)
      const cookie = cookieOf(visitor, portal)
      expect(await statusAt(portal, cookie)).toBe(200)
      const clock = takeClock()
      try {
        clock.pass(3_600_000)
        expect(await statusAt(portal, cookie)).toBe(302)
        expect(await portal.knex('sso_sessions')).toHaveLength(1)
        await portal.sso.runMaintenance()
        expect(await statusAt(portal, cookie)).toBe(200)
      } finally {
        clock.back()
      }
      await portal.sso.runMaintenance()
      expect(await statusAt(portal, cookie)).toBe(200)
      await setup.close()
    },
  )
})

describe('a session that the host refreshes, by `req.login` of the signed-in user', () => {
  it('stays valid if its portal has a longer idle time than others, and it was last seen a while ago', async () => {
    const idleMinutes = 600
    const portal = await start({}, { session: { idleMinutes: 5, portals: { default: { idleMinutes } } } })
    await portal.connect(provider)
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    const tenMinutesAgo = new Date(Date.now() - 600_000).toISOString()
    await portal.knex('sso_sessions').update({ last_seen_at: tenMinutesAgo })
    expect((await visitor.post(`${portal.url}/rewrite`)).body).toBe('in')
    expect(await statusAt(portal, cookieOf(visitor, portal))).toBe(200)
  })

  const startOne = async (gate?: Gate) => {
    const { north } = await startBoth({ close: nothing }, gate)
    const visitor = new Visitor()
    await visitor.open(`${north.url}/login/acme`)
    return { portal: north, visitor }
  }

  it.each(ways)('can still be ended by %s', async (_who, end) => {
    const { portal, visitor } = await startOne()
    const [before] = await portal.knex('sso_sessions')
    expect((await visitor.post(`${portal.url}/rewrite`)).body).toBe('in')
    const [after, ...others] = await portal.knex('sso_sessions')
    expect(others).toEqual([])
    // Its absolute limit stays the same.
    const { provider, issuer, subject, sid, expires_at } = before
    expect(after).toMatchObject({ provider, issuer, subject, sid, expires_at })
    const cookie = cookieOf(visitor, portal)
    expect(await statusAt(portal, cookie)).toBe(200)
    await end(portal, visitor)
    expect(await statusAt(portal, cookie)).toBe(302)
  })

  it('ends with all sessions of its user, even while it is refreshed all the time', async () => {
    const { portal, visitor } = await startOne()
    const [{ user_id: userId }] = await portal.knex('sso_sessions').select('user_id')
    for (let round = 0; round < 10; round++) {
      const thief = new Visitor()
      await thief.open(`${portal.url}/login/acme`)
      let written = 0
      let stop = false
      const write = async () => {
        for (; !stop; written++) await thief.post(`${portal.url}/rewrite`)
      }
      const writing = write()
      while (written < 3) await new Promise((resolve) => setTimeout(resolve, 1))
      await portal.sso.sessions.endAll({ userId })
      stop = true
      await writing
      expect(await statusAt(portal, cookieOf(thief, portal))).toBe(302)
    }
    expect(await statusAt(portal, cookieOf(visitor, portal))).toBe(302)
  })

  it('is not recreated if it was revoked while the request was held open', async () => {
    const gate = { arrived: signal(), proceed: signal() }
    const { portal, visitor } = await startOne(gate)
    const thief = visitor.clone()
    const held = thief.post(`${portal.url}/rewrite`)
    await gate.arrived.given
    await visitor.post(`${portal.url}/logout`)
    gate.proceed.give()
    expect((await held).body).not.toBe('in')
    expect(await statusAt(portal, cookieOf(thief, portal))).toBe(302)
    expect(await portal.knex('sso_sessions')).toEqual([])
  })
})

describe.each([
  ['in Redis', inRedis],
  ["in a host's own store", inHostsRedis],
])('six hundred sessions of one user %s', (_where, createSetup) => {
  let database: FreshDatabase
  beforeAll(async () => {
    database = await freshPostgres()
  })
  afterAll(() => database.drop())

  /** Runs 16 at once. */
  async function forAll<T, R>(all: readonly T[], act: (one: T, n: number) => Promise<R>): Promise<R[]> {
    const results: R[] = []
    const work = [...all.entries()]
    const worker = async () => {
      for (let next = work.pop(); next; next = work.pop()) results[next[0]] = await act(next[1], next[0])
    }
    await Promise.all(Array.from({ length: 16 }, worker))
    return results
  }

  it('end in one call: no later request is admitted by any instance, even under load', async () => {
    const setup = await createSetup()
    open.push(setup)
    const knex = knexModule({ ...database.config, pool: { min: 0, max: 20 } })
    open.push({ close: () => knex.destroy() })
    const { north, instances } = await startBoth(setup, undefined, knex)
    // The load decides how long a request waits: no time limit is under test here.
    const timers = takeTimers()
    open.push({ close: () => timers.back() })
    // The host's own login is faster.
    const cookies = await forAll(Array.from({ length: 600 }), async () => {
      const visitor = new Visitor()
      await visitor.post(`${north.url}/classic`)
      return cookieOf(visitor, north)
    })
    const userId = String(
      await knex('sso_sessions')
        .first('user_id')
        .then((row) => row.user_id),
    )
    const at = (n: number) => instances[n % instances.length]!
    expect(new Set(await forAll(cookies, (cookie, n) => statusAt(at(n), cookie)))).toEqual(new Set([200]))

    let returned = false
    let stop = false
    const statuses = { before: [] as number[], after: [] as number[] }
    const hammer = async (instance: TestPortal, from: number) => {
      for (let n = from; !stop; n += 7) {
        const sent = returned ? statuses.after : statuses.before
        sent.push(await statusAt(instance, cookies[n % cookies.length]!))
      }
    }
    const hammering = instances.flatMap((instance) => [0, 250, 500].map((from) => hammer(instance, from)))
    while (statuses.before.length < 60) await new Promise((resolve) => setImmediate(resolve))
    expect(await north.sso.sessions.endAll({ userId })).toBe(600)
    returned = true
    const afterwards = await forAll(cookies, (cookie, n) => statusAt(at(n + 1), cookie))
    stop = true
    await Promise.all(hammering)
    expect(statuses.before).toContain(200)
    expect(statuses.after.length).toBeGreaterThan(100)
    expect(new Set([...statuses.after, ...afterwards])).toEqual(new Set([302]))
    expect(await knex('sso_sessions')).toHaveLength(0)
  })
})
