import { once } from 'node:events'
import net from 'node:net'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createClient, type RedisClientType } from 'redis'
import { describeEvent } from '../../lib/admin/event-words.ts'
import type { Logger } from '../../lib/shared/logger.ts'
import { phrase } from '../../lib/shared/phrase.ts'
import { createBreakers } from '../../lib/web/core.ts'
import { type Limit, RateLimiter, type RateLimits, type RedisCounter } from '../../lib/web/rate-limit.ts'
import { takeClock, takeTimers } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis, startOwnRedis } from '../support/redis.ts'
import { useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()
const limitKeys = 'portal-sso:{limit}:*'

beforeEach(async () => {
  // All tests share this Redis: remove the counters of earlier tests and runs.
  const redis = await connectRedis()
  for await (const keys of redis.scanIterator({ MATCH: limitKeys }))
    if (keys.length > 0) await redis.del(keys)
  await redis.close()
})
afterEach(async () => {
  jest.restoreAllMocks()
})

async function portalWith(
  rateLimits: Partial<RateLimits> | undefined,
  options: TestPortalOptions = {},
): Promise<TestPortal> {
  const portal = await startPortal({ ...options, rateLimits })
  open.push(portal)
  await portal.connect(provider)
  return portal
}

/** Statuses of sequential requests. */
async function statuses(times: number, ask: () => Promise<{ status: number }>): Promise<number[]> {
  const seen: number[] = []
  for (let n = 0; n < times; n++) seen.push((await ask()).status)
  return seen
}

const events = (portal: TestPortal) => portal.knex('sso_events').where({ kind: 'rate-limited' })

/** The portal trusts the proxy's `X-Forwarded-For`. */
const trusting: TestPortalOptions = {
  mount(app, sso) {
    app.set('trust proxy', 'loopback')
    mountDefault(app, sso)
  },
}
const from = (address: string) => new Visitor({ 'x-forwarded-for': address })

describe('a client over a limit', () => {
  it.each([
    ['picker', '/login', 200],
    ['logo', `/login/assets/providers/${'x'.repeat(22)}`, 404],
    ['start', '/login/acme', 302],
    ['callback', '/login/acme/callback?code=x&state=x', 400],
    ['registration', '/register', 400],
    ['logout', '/logout', 303],
    ['front-channel', '/logout/acme/frontchannel?sid=x', 404],
  ] as const)('is refused at %s', async (limit, path, before) => {
    const option = { logo: 'start', picker: 'start', 'front-channel': 'logout' }[limit as string] ?? limit
    const portal = await portalWith({ [option]: 3 })
    const visitor = new Visitor()
    expect(await statuses(5, () => visitor.get(portal.url + path))).toEqual([
      before,
      before,
      before,
      429,
      429,
    ])
    const written = await events(portal)
    expect(written).toMatchObject([{ detail: JSON.stringify({ limit }) }])
    // Administrators read a name, such as "Sign-outs".
    const words = {
      lang: 'en',
      say: (text: unknown, values = {}) => String(phrase(String(text), values)),
    }
    expect(describeEvent({ ...written[0], detail: { limit } }, words).facts[0]?.value).toMatch(
      /^[A-Z][\w -]*: one client/,
    )
  })

  it.each([
    ['code', '/register/code'],
    ['code', '/register/verify'],
    ['logout', '/logout'],
    ['logout', '/logout/acme/backchannel'],
  ] as const)('is refused at %s with POST %s', async (limit, path) => {
    const portal = await portalWith({ [limit]: 2 })
    const seen = await statuses(4, () => new Visitor().post(portal.url + path))
    expect(seen.map((status) => status === 429)).toEqual([false, false, true, true])
  })

  it('is refused at the host’s classic login after recorded refusals; admitted requests do not count', async () => {
    const portal = await portalWith(
      { start: 3 },
      {
        mount(app, sso) {
          app.use(sso.session(), sso.router())
          app.post('/password-login', sso.classicLoginGate(), (_req, res) => res.send('password taken'))
        },
      },
    )
    const post = () => new Visitor().post(`${portal.url}/password-login`)
    expect(await statuses(6, post)).toEqual([403, 403, 403, 429, 429, 429])
    expect(await portal.knex('sso_events').where({ kind: 'sign-in-failed' })).toHaveLength(3)
    expect(await events(portal)).toHaveLength(1)
    await portal.sso.providers.disable('acme')
    expect(await statuses(6, post)).toEqual([200, 200, 200, 200, 200, 200])
  })

  it.each(['/LOGIN', '/login/', '/login?email=x'])(
    'is counted with every spelling of the login page: %s',
    async (path) => {
      const portal = await portalWith({ start: 1 })
      expect(await statuses(2, () => new Visitor().get(portal.url + path))).toEqual([200, 429])
      // The login page does not use up the starts of a sign-in.
      expect((await new Visitor().get(`${portal.url}/login/acme`)).status).toBe(302)
    },
  )

  it('in front-channel and back-channel logouts can still sign out', async () => {
    const portal = await portalWith({ logout: 1 })
    const frame = () => new Visitor().get(`${portal.url}/logout/acme/frontchannel?sid=x`)
    expect(await statuses(2, frame)).toEqual([404, 429])
    const token = () => new Visitor().post(`${portal.url}/logout/acme/backchannel`)
    expect(await statuses(2, token)).toEqual([400, 429])
    expect((await new Visitor().post(`${portal.url}/logout`)).status).toBe(303)
  })

  it.each(['/LOGIN/acme', '/login/acme/', '/login/%61cme', '/login/nope', '/login/acme/nothing/here'])(
    'is counted with every spelling of a path: %s',
    async (path) => {
      const portal = await portalWith({ start: 1 })
      const visitor = new Visitor()
      expect((await statuses(2, () => visitor.get(portal.url + path)))[1]).toBe(429)
    },
  )

  it.each(['/LOGIN/acme/CALLBACK', '/login/acme/callback/', '/login/acme/%63allback'])(
    'is counted with every spelling of the callback path: %s',
    async (path) => {
      const portal = await portalWith({ callback: 1, start: 1 })
      const visitor = new Visitor()
      expect((await statuses(2, () => visitor.get(portal.url + path)))[1]).toBe(429)
    },
  )

  it('gets a page or a problem with Retry-After, without a query or a request to the provider', async () => {
    const portal = await portalWith({ start: 1 })
    const visitor = new Visitor()
    await visitor.get(`${portal.url}/login/acme`)
    const onQuery = jest.fn()
    portal.knex.on('query', onQuery)
    const page = await visitor.get(`${portal.url}/login/acme`)
    expect(page.status).toBe(429)
    expect(page.headers.get('content-type')).toContain('text/html')
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(50)
    expect(Number(page.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    // The only query inserts the event.
    expect(onQuery).toHaveBeenCalledTimes(1)
    const problem = await visitor.get(`${portal.url}/login/acme`, { accept: 'application/json' })
    expect(problem.headers.get('content-type')).toContain('application/problem+json')
    expect(JSON.parse(problem.body)).toMatchObject({ status: 429, code: 'too_many_requests' })
    expect(onQuery).toHaveBeenCalledTimes(1)
  })

  it('is admitted again after Retry-After, and not before', async () => {
    const portal = await portalWith({ start: 1 })
    const visitor = new Visitor()
    const click = () => visitor.get(`${portal.url}/login/acme`)
    await click()
    const seconds = Number((await click()).headers.get('retry-after'))
    const now = Date.now
    const advanceClock = (by: number) => jest.spyOn(Date, 'now').mockImplementation(() => now() + by * 1000)
    advanceClock(seconds / 2)
    expect((await click()).status).toBe(429)
    advanceClock(seconds)
    expect((await click()).status).toBe(302)
  })

  it('causes one event and one log line for each limit and window', async () => {
    const portal = await portalWith({ start: 1, logout: 1 })
    await statuses(20, () => new Visitor().get(`${portal.url}/login/acme`))
    await statuses(20, () => new Visitor().get(`${portal.url}/logout`))
    const rows = await events(portal).orderBy('detail')
    expect(rows.map(({ detail }) => JSON.parse(detail))).toEqual([{ limit: 'logout' }, { limit: 'start' }])
    const lines = portal.logs.filter(({ message }) => message.includes('too many'))
    expect(lines.map(({ fields }) => fields.reference).sort()).toEqual(
      rows.map(({ reference }) => reference).sort(),
    )
    const now = Date.now
    jest.spyOn(Date, 'now').mockImplementation(() => now() + 61_000)
    await statuses(5, () => new Visitor().get(`${portal.url}/login/acme`))
    expect(await events(portal)).toHaveLength(3)
  })

  it('does not affect other clients behind a trusted proxy', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = (address: string) => from(address).get(`${portal.url}/login/acme`)
    expect(await statuses(2, () => click('203.0.113.7'))).toEqual([302, 429])
    expect((await click('203.0.113.8')).status).toBe(302)
  })

  it('is distinguished from others even if the proxy appends the port to the address', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = async (address: string) => (await from(address).get(`${portal.url}/login/acme`)).status
    expect(await click('203.0.113.7:50001')).toBe(302)
    expect(await click('203.0.113.7:50002')).toBe(429)
    expect(await click('203.0.113.8:50001')).toBe(302)
    expect(await click('[2001:db8::1]:50001')).toBe(302)
    expect(await click('2001:db8::2')).toBe(429)
  })

  it('gains nothing by `X-Forwarded-For` if Express trusts no proxy', async () => {
    const portal = await portalWith({ start: 1 })
    await from('203.0.113.7').get(`${portal.url}/login/acme`)
    expect((await from('203.0.113.8').get(`${portal.url}/login/acme`)).status).toBe(429)
  })

  it('is an IPv6 /64; an IPv4-mapped address counts as IPv4', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = async (address: string) => (await from(address).get(`${portal.url}/login/acme`)).status
    expect(await click('2001:db8:0:1::1')).toBe(302)
    expect(await click('2001:db8:0:1:ffff:ffff:ffff:ffff')).toBe(429)
    expect(await click('2001:db8:0:2::1')).toBe(302)
    expect(await click('203.0.113.7')).toBe(302)
    expect(await click('::ffff:203.0.113.7')).toBe(429)
    expect(await click('::ffff:203.0.113.8')).toBe(302)
  })

  it('without a valid address shares one counter with all such clients', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = async (address: string) => (await from(address).get(`${portal.url}/login/acme`)).status
    expect(await click('unknown')).toBe(302)
    expect(await click(`${'x'.repeat(4000)}`)).toBe(429)
  })
})

describe('made-up responses', () => {
  it('do not affect the sign-in of another user', async () => {
    const portal = await portalWith({})
    await statuses(12, () => new Visitor().get(`${portal.url}/login/acme/callback?code=x&state=guessed`))
    expect((await new Visitor().open(`${portal.url}/login/acme`)).url).toBe(`${portal.url}/register`)
  })
})

describe('limits', () => {
  it('admit by default 1,000 starts, responses and sign-outs from one address within a minute', async () => {
    const portal = await portalWith(undefined)
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    for (const path of ['/login/acme?', '/login/acme/callback?error=x&state=', '/logout?']) {
      for (let n = 0; n < 1000; n += 50) {
        const seen = Array.from({ length: 50 }, (_, at) => new Visitor().get(`${portal.url}${path}${n + at}`))
        expect((await Promise.all(seen)).map(({ status }) => status)).not.toContain(429)
      }
    }
  })

  it('are disabled by the option `false`', async () => {
    const portal = await startPortal({ rateLimits: false })
    open.push(portal)
    const seen = await statuses(250, () => new Visitor().post(`${portal.url}/register/code`))
    expect(seen).not.toContain(429)
  })
})

describe('with Redis', () => {
  async function clientOf(url: string): Promise<RedisClientType> {
    const client: RedisClientType = createClient({ url, socket: { reconnectStrategy: 50 } })
    client.on('error', () => {})
    await client.connect()
    open.push({ close: async () => client.destroy() })
    return client
  }

  /** Two instances with one database. Their batches leave only by `clock.pass`. */
  async function twoInstances(rateLimits: Partial<RateLimits>) {
    const redis = [await clientOf(process.env.TEST_REDIS_URL!), await clientOf(process.env.TEST_REDIS_URL!)]
    const north = await portalWith(rateLimits, { redis: redis[0] })
    const south = await startPortal({ rateLimits, redis: redis[1], database: north.knex })
    open.push(south)
    const clock = takeTimers()
    open.push({ close: async () => clock.back() })
    const passSecond = async () => {
      clock.pass(1000)
      // Its reply comes after that of the batch.
      for (const client of redis) await client.ping()
    }
    return { portals: [north, south], passSecond }
  }
  const click = ({ url }: TestPortal) => new Visitor().get(`${url}/login/acme`)

  it('instances count together: a client gets the limit and one second’s share of each instance', async () => {
    const { portals, passSecond } = await twoInstances({ start: 20 })
    let admitted = 0
    for (let second = 0; second < 6; second++) {
      for (const portal of portals)
        admitted += (await statuses(3, () => click(portal))).filter((status) => status === 302).length
      await passSecond()
    }
    expect(admitted).toBeGreaterThanOrEqual(20)
    expect(admitted).toBeLessThanOrEqual(20 + 2 * 3)
    // Each instance records its first refusal.
    expect(await events(portals[0]!)).toHaveLength(2)
  })

  it('instances never count codes alone, so that one address cannot try more codes on several instances', async () => {
    const { portals } = await twoInstances({ code: 4 })
    const seen: number[] = []
    for (let n = 0; n < 8; n++)
      seen.push((await new Visitor().post(`${portals[n % 2]!.url}/register/verify`)).status)
    expect(seen.map((status) => status === 429)).toEqual(Array.from({ length: 8 }, (_, n) => n >= 4))
  })

  it('no request waits for a command, and one script per second adds the counts of all clients', async () => {
    const redis = await clientOf(process.env.TEST_REDIS_URL!)
    const portal = await portalWith({}, { ...trusting, redis })
    const clock = takeTimers()
    open.push({ close: async () => clock.back() })
    const onEval = jest.spyOn(redis, 'eval')
    const visit = (n: number) => from(`203.0.113.${n % 5}`).get(`${portal.url}/login`)
    for (let n = 0; n < 20; n++) expect((await visit(n)).status).toBe(200)
    expect(onEval).not.toHaveBeenCalled()
    clock.pass(1000)
    await redis.ping()
    expect(onEval).toHaveBeenCalledTimes(1)
    expect(await redis.get('portal-sso:{limit}:picker:203.0.113.4')).toBe('4')
    clock.pass(5000)
    expect(onEval).toHaveBeenCalledTimes(1)
    await visit(0)
    await portal.sso.close()
    clock.pass(5000)
    expect(onEval).toHaveBeenCalledTimes(1)
  })

  it('instances share the budget of an address for failed code exchanges', async () => {
    const { portals, passSecond } = await twoInstances({})
    const [north, south] = portals as [TestPortal, TestPortal]
    const sendMadeUpCode = async ({ url }: TestPortal) => {
      const visitor = new Visitor()
      const { location } = await visitor.get(`${url}/login/acme`)
      const state = new URL(location!).searchParams.get('state')!
      const response = new URLSearchParams({ code: 'made-up', state, iss: provider.issuer })
      return (await visitor.get(`${url}/login/acme/callback?${response}`)).status
    }
    const onNorth = await Promise.all(Array.from({ length: 61 }, () => sendMadeUpCode(north)))
    expect(new Set(onNorth)).toEqual(new Set([400]))
    expect(await sendMadeUpCode(south)).toBe(400)
    await passSecond()
    const redis = await connectRedis()
    for await (const keys of redis.scanIterator({ MATCH: `${limitKeys}failed-exchange*` }))
      for (const key of keys) expect(key.length).toBeLessThan(100)
    await redis.close()
    provider.requests.length = 0
    expect(await sendMadeUpCode(south)).toBe(429)
    expect(provider.requests.filter(({ path }) => path === '/token')).toEqual([])
  })

  it('keys reveal nothing about an attempt, are short, and expire', async () => {
    const redis = await clientOf(process.env.TEST_REDIS_URL!)
    const portal = await portalWith({}, { ...trusting, redis: redis })
    const clock = takeTimers()
    open.push({ close: async () => clock.back() })
    const state = 'x'.repeat(5000)
    await from('y'.repeat(3000)).get(`${portal.url}/login/acme/callback?code=x&state=${state}`)
    clock.pass(1000)
    await redis.ping()
    const found: string[] = []
    for await (const keys of redis.scanIterator({ MATCH: limitKeys })) found.push(...keys)
    expect(found).toHaveLength(1)
    for (const key of found) {
      expect(key.length).toBeLessThan(100)
      expect(await redis.ttl(key)).toBeGreaterThan(0)
    }
  })

  it('down, each instance counts separately at once, and they count together when Redis is back', async () => {
    const server = await startOwnRedis()
    open.push({ close: () => server.stop() })
    const redis = await clientOf(server.url)
    const portal = await portalWith({ start: 2 }, { redis: redis })
    const clock = takeTimers()
    open.push({ close: async () => clock.back() })
    const outageLogs = () => portal.logs.filter(({ message }) => message.includes('Redis'))
    expect((await click(portal)).status).toBe(302)
    await server.stop()
    for (let second = 0; second < 5; second++) {
      expect((await click(portal)).status).toBe(second === 0 ? 302 : 429)
      clock.pass(1000)
      await setImmediate()
    }
    expect(outageLogs()).toHaveLength(1)
    await server.start()
    while (!redis.isReady) {
      clock.pass(50)
      await setImmediate()
    }
    // Slowly: the window ends after a minute. More than 3 if a reply came too late, so that the batch was sent again.
    while (Number(await redis.get('portal-sso:{limit}:start:127.0.0.1')) < 3) clock.pass(20)
    expect((await click(portal)).status).toBe(429)
    expect(outageLogs()).toHaveLength(1)
  })

  it('connected but silent, only one code waits for less than a second, limits hold, and no commands pile up', async () => {
    // A proxy that accepts commands, but returns no replies once `silent` is set.
    let silent = false
    const to = new URL(process.env.TEST_REDIS_URL!)
    const silencer = net.createServer((near) => {
      const far = net.connect(Number(to.port || 6379), to.hostname)
      near.pipe(far)
      far.on('data', (chunk) => silent || near.write(chunk))
      for (const each of [near, far]) each.on('error', () => {})
      near.on('close', () => far.destroy())
    })
    silencer.listen(0, '127.0.0.1')
    await once(silencer, 'listening')
    open.push({ close: async () => void silencer.close() })
    const redis = await clientOf(`redis://127.0.0.1:${(silencer.address() as net.AddressInfo).port}`)
    const portal = await portalWith({ start: 1, code: 2 }, { redis })
    const onEval = jest.spyOn(redis, 'eval')
    const clock = takeTimers()
    open.push({ close: async () => clock.back() })
    silent = true
    expect(await statuses(2, () => click(portal))).toEqual([302, 429])
    const enterCode = () => new Visitor().post(`${portal.url}/register/verify`)
    /** @returns the faked milliseconds until the response */
    const waitFor = async (response: Promise<{ status: number }>) => {
      let isDone = false
      const done = response.finally(() => {
        isDone = true
      })
      let passed = 0
      for (const evals = onEval.mock.calls.length; !isDone; await setImmediate()) {
        // Not before the request has arrived.
        if (passed === 0 && onEval.mock.calls.length === evals && evals === 0) continue
        clock.pass(50)
        passed += 50
      }
      return { status: (await done).status, passed }
    }
    const first = await waitFor(enterCode())
    expect(first.status).not.toBe(429)
    expect(first.passed).toBeGreaterThanOrEqual(800)
    expect((await waitFor(enterCode())).status).not.toBe(429)
    expect((await waitFor(enterCode())).status).toBe(429)
    // One script, and one probe of the circuit breaker.
    expect(onEval.mock.calls.length).toBeLessThanOrEqual(2)
  })

  it('that refuses the command is one warning per minute, and the instance counts alone', async () => {
    const warnings: string[] = []
    const logger = { ...nothing, warn: (_fields: object, message: string) => void warnings.push(message) }
    const limiter = limiterWith({ eval: () => Promise.reject(new Error('NOPERM')) }, logger)
    const results: boolean[] = []
    for (let n = 0; n < 4; n++) results.push((await limiter.countExactly(anyLimit, 'client')).isOver)
    expect(results).toEqual([false, false, true, true])
    expect(warnings).toEqual(['Redis cannot count: rate limits hold in this process only'])
    limiter.stop()
  })

  it('a flood from many addresses is sent in short scripts, because Redis executes nothing else meanwhile', async () => {
    const redis = await clientOf(process.env.TEST_REDIS_URL!)
    const limiter = limiterWith(redis)
    const onEval = jest.spyOn(redis, 'eval')
    for (let n = 0; n < 2500; n++) limiter.count({ ...anyLimit, windowSeconds: 1 }, `client ${n}`)
    await limiter.countExactly({ ...anyLimit, windowSeconds: 1 }, 'client 0')
    expect(onEval.mock.calls.map(([, given]) => given!.keys!.length)).toEqual([1000, 1000, 500])
    limiter.stop()
  })
})

const nothing: Logger = { info() {}, warn() {}, error() {} }

const limiterWith = (redis: RedisCounter | undefined, logger = nothing) => {
  const breakers = createBreakers(undefined as never, logger)
  return new RateLimiter({ breakers, logger, prefix: 'rate-limit-test:' }, redis)
}

const anyLimit: Limit = { name: 'any', maxRequests: 2, windowSeconds: 60 }

describe('counters', () => {
  it('are 20,000 at most, and an attacker with many addresses does not reset that of an active client', () => {
    const limiter = limiterWith(undefined)
    const countThrice = (client: string) => {
      for (let n = 0; n < 3; n++) limiter.count(anyLimit, client)
    }
    countThrice('active')
    countThrice('idle')
    for (let n = 0; n < 25_000; n++) {
      limiter.count(anyLimit, `attacker ${n}`)
      if (n % 5000 === 0) expect(limiter.count(anyLimit, 'active', 0).isOver).toBe(true)
    }
    expect(limiter.count(anyLimit, 'active', 0).isOver).toBe(true)
    expect(limiter.count(anyLimit, 'idle', 0).isOver).toBe(false)
  })

  it('are not made by asking, so that an attacker with one address does not fill them with made-up names', () => {
    const limiter = limiterWith(undefined)
    for (let n = 0; n < 3; n++) limiter.count(anyLimit, 'idle')
    for (let n = 0; n < 25_000; n++) limiter.count(anyLimit, `made-up ${n}`, 0)
    expect(limiter.count(anyLimit, 'idle', 0).isOver).toBe(true)
  })

  it('expire in time after the clock was set back', () => {
    const limiter = limiterWith(undefined)
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    for (let n = 0; n < 3; n++) limiter.count(anyLimit, 'client')
    expect(limiter.count(anyLimit, 'client', 0).isOver).toBe(true)
    clock.pass(-3_600_000)
    expect(limiter.count(anyLimit, 'client', 0)).toEqual({ isOver: false, retryAfterSeconds: 60 })
  })
})
