import { once } from 'node:events'
import { request } from 'node:http'
import net from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { createClient, type RedisClientType } from 'redis'
import type { RateLimits } from '../../lib/web/rate-limit.ts'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis, startOwnRedis } from '../support/redis.ts'
import { Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
const open = closedAfterEach()

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  // Redis is everybody's: what another test counted, or an earlier run, is not ours.
  const redis = await connectRedis()
  for await (const keys of redis.scanIterator({ MATCH: 'portal-sso:limit:*' }))
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

/** The statuses of so many requests, one after the other. */
async function statuses(times: number, ask: () => Promise<{ status: number }>): Promise<number[]> {
  const seen: number[] = []
  for (let n = 0; n < times; n++) seen.push((await ask()).status)
  return seen
}

const events = (portal: TestPortal) => portal.knex('sso_events').where({ kind: 'rate-limited' })

/** Behind a proxy that says where requests come from. */
const trusting: TestPortalOptions = {
  mount(app, sso) {
    app.set('trust proxy', 'loopback')
    mountDefault(app, sso)
  },
}
const from = (address: string) => new Visitor({ 'x-forwarded-for': address })

describe('a client that makes too many requests', () => {
  it.each([
    ['start', '/login/acme', 302],
    ['callback', '/login/acme/callback?code=x&state=x', 400],
    ['registration', '/register', 400],
    ['logout', '/logout', 303],
    ['logout', '/logout/acme/frontchannel?sid=x', 404],
  ] as const)('is turned away at %s', async (limit, path, before) => {
    const portal = await portalWith({ [limit]: 3 })
    const visitor = new Visitor()
    expect(await statuses(5, () => visitor.get(portal.url + path))).toEqual([
      before,
      before,
      before,
      429,
      429,
    ])
    expect(await events(portal)).toMatchObject([{ detail: JSON.stringify({ limit }) }])
  })

  it.each([
    ['code', '/register/code'],
    ['code', '/register/verify'],
    ['logout', '/logout'],
    ['logout', '/logout/acme/backchannel'],
  ] as const)('is turned away at %s by POST %s', async (limit, path) => {
    const portal = await portalWith({ [limit]: 2 })
    const seen = await statuses(4, () => new Visitor().post(portal.url + path))
    expect(seen.map((status) => status === 429)).toEqual([false, false, true, true])
  })

  it('is turned away where a host asks for passwords, with a row for each refusal before, and none for those let through', async () => {
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
    expect(await portal.knex('sso_events').where({ kind: 'refused' })).toHaveLength(3)
    expect(await events(portal)).toHaveLength(1)
    await portal.sso.providers.disable('acme')
    expect(await statuses(6, post)).toEqual([200, 200, 200, 200, 200, 200])
  })

  it.each(['/LOGIN/acme', '/login/acme/', '/login/%61cme', '/login/nope', '/login/acme/nothing/here'])(
    'is counted however the path is spelled: %s',
    async (path) => {
      const portal = await portalWith({ start: 1 })
      const visitor = new Visitor()
      expect((await statuses(2, () => visitor.get(portal.url + path)))[1]).toBe(429)
    },
  )

  it.each(['/LOGIN/acme/CALLBACK', '/login/acme/callback/', '/login/acme/%63allback'])(
    'is counted however the path of an answer is spelled: %s',
    async (path) => {
      const portal = await portalWith({ callback: 1, start: 1 })
      const visitor = new Visitor()
      expect((await statuses(2, () => visitor.get(portal.url + path)))[1]).toBe(429)
    },
  )

  it('reads a page that says when to come back, or a problem; then nothing is asked of database or provider', async () => {
    const portal = await portalWith({ start: 1 })
    const visitor = new Visitor()
    await visitor.get(`${portal.url}/login/acme`)
    const asked = jest.fn()
    portal.knex.on('query', asked)
    const page = await visitor.get(`${portal.url}/login/acme`)
    expect(page.status).toBe(429)
    expect(page.headers.get('content-type')).toContain('text/html')
    expect(page.headers.get('cache-control')).toBe('no-store')
    expect(Number(page.headers.get('retry-after'))).toBeGreaterThan(50)
    expect(Number(page.headers.get('retry-after'))).toBeLessThanOrEqual(60)
    // The one event.
    expect(asked).toHaveBeenCalledTimes(1)
    const problem = await visitor.get(`${portal.url}/login/acme`, { accept: 'application/json' })
    expect(problem.headers.get('content-type')).toContain('application/problem+json')
    expect(JSON.parse(problem.body)).toMatchObject({ status: 429, code: 'too_many_requests' })
    expect(asked).toHaveBeenCalledTimes(1)
  })

  it('comes back when Retry-After said, and not before', async () => {
    const portal = await portalWith({ start: 1 })
    const visitor = new Visitor()
    const click = () => visitor.get(`${portal.url}/login/acme`)
    await click()
    const seconds = Number((await click()).headers.get('retry-after'))
    const now = Date.now
    const later = (actor: number) => jest.spyOn(Date, 'now').mockImplementation(() => now() + actor * 1000)
    later(seconds / 2)
    expect((await click()).status).toBe(429)
    later(seconds)
    expect((await click()).status).toBe(302)
  })

  it('is one event and one line in the log for each limit and window, whatever it sends', async () => {
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

  it('harms nobody else, behind a proxy that Express trusts', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = (address: string) => from(address).get(`${portal.url}/login/acme`)
    expect(await statuses(2, () => click('203.0.113.7'))).toEqual([302, 429])
    expect((await click('203.0.113.8')).status).toBe(302)
  })

  it('is told from others also where the proxy writes the port behind the address', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = async (address: string) => (await from(address).get(`${portal.url}/login/acme`)).status
    expect(await click('203.0.113.7:50001')).toBe(302)
    expect(await click('203.0.113.7:50002')).toBe(429)
    expect(await click('203.0.113.8:50001')).toBe(302)
    expect(await click('[2001:db8::1]:50001')).toBe(302)
    expect(await click('2001:db8::2')).toBe(429)
  })

  it('gains nothing by a header where Express trusts no proxy', async () => {
    const portal = await portalWith({ start: 1 })
    await from('203.0.113.7').get(`${portal.url}/login/acme`)
    expect((await from('203.0.113.8').get(`${portal.url}/login/acme`)).status).toBe(429)
  })

  it('has one /64 of IPv6 for its own, and as IPv4 written as IPv6 is who it is', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = async (address: string) => (await from(address).get(`${portal.url}/login/acme`)).status
    expect(await click('2001:db8:0:1::1')).toBe(302)
    expect(await click('2001:db8:0:1:ffff:ffff:ffff:ffff')).toBe(429)
    expect(await click('2001:db8:0:2::1')).toBe(302)
    expect(await click('203.0.113.7')).toBe(302)
    expect(await click('::ffff:203.0.113.7')).toBe(429)
    expect(await click('::ffff:203.0.113.8')).toBe(302)
  })

  it('whose address is none shares one count with all the others of that kind', async () => {
    const portal = await portalWith({ start: 1 }, trusting)
    const click = async (address: string) => (await from(address).get(`${portal.url}/login/acme`)).status
    expect(await click('unknown')).toBe(302)
    expect(await click(`${'x'.repeat(4000)}`)).toBe(429)
  })
})

describe('an attempt', () => {
  it('whose answer comes again and again is over after ten times, from wherever they come', async () => {
    const portal = await portalWith({}, trusting)
    const visitor = new Visitor()
    const start = await visitor.get(`${portal.url}/login/acme`)
    const answer = new URL((await visitor.get(start.location!)).location!)
    answer.searchParams.set('code', 'guessed')
    let n = 0
    // The same cookie each time, as somebody has who copied it; another address each time.
    const again = () => visitor.clone().get(answer.href, { 'x-forwarded-for': `203.0.113.${n++}` })
    const seen = await statuses(12, again)
    expect(seen).toEqual([...Array.from({ length: 10 }, () => 400), 429, 429])
    expect(provider.requests.filter(({ body }) => body.includes('code=guessed'))).toHaveLength(10)
    expect(await events(portal)).toMatchObject([{ detail: '{"limit":"attempt"}' }])
    // Posted, it is the same attempt.
    const posted = await visitor.post(
      `${portal.url}/login/acme/callback`,
      Object.fromEntries(answer.searchParams),
    )
    expect(posted.status).toBe(429)
  })

  it('is the same one in an address that only the sender of a request can write, not a browser', async () => {
    const portal = await portalWith({})
    const { hostname, port } = new URL(portal.url)
    const ask = async () => {
      const path = '/login/acme/callback#?code=guessed&state=the-same'
      const [response] = await once(request({ hostname, port, path }).end(), 'response')
      response.resume()
      return { status: response.statusCode as number }
    }
    expect((await statuses(12, ask)).slice(9)).toEqual([400, 429, 429])
  })

  it('of somebody else is not touched by it', async () => {
    const portal = await portalWith({})
    await statuses(12, () => new Visitor().get(`${portal.url}/login/acme/callback?code=x&state=guessed`))
    expect((await new Visitor().open(`${portal.url}/login/acme`)).url).toBe(`${portal.url}/register`)
  })
})

describe('limits', () => {
  it('let a company of 1,000 behind one address click, come back and sign out within one minute, by default', async () => {
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

  it('nothing is limited where the option is false', async () => {
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

  it('instances count together, and the first one over the limit is one event', async () => {
    const redis = [await clientOf(process.env.TEST_REDIS_URL!), await clientOf(process.env.TEST_REDIS_URL!)]
    const north = await portalWith({ start: 4 }, { redis: redis[0] })
    const south = await startPortal({
      rateLimits: { start: 4 },
      redis: redis[1],
      database: north.knex,
    })
    open.push(south)
    const seen: number[] = []
    for (let n = 0; n < 8; n++)
      seen.push((await new Visitor().get(`${[north, south][n % 2]!.url}/login/acme`)).status)
    expect(seen).toEqual([302, 302, 302, 302, 429, 429, 429, 429])
    expect(await events(north)).toHaveLength(1)
  })

  it('its keys say nothing of an attempt, are short, and go by themselves', async () => {
    const redis = await clientOf(process.env.TEST_REDIS_URL!)
    const portal = await portalWith({}, { ...trusting, redis: redis })
    const state = 'x'.repeat(5000)
    await from('y'.repeat(3000)).get(`${portal.url}/login/acme/callback?code=x&state=${state}`)
    const found: string[] = []
    for await (const keys of redis.scanIterator({ MATCH: 'portal-sso:limit:*' })) found.push(...keys)
    expect(found).toHaveLength(2)
    for (const key of found) {
      expect(key.length).toBeLessThan(100)
      expect(await redis.ttl(key)).toBeGreaterThan(0)
    }
  })

  it('that goes away, every instance counts for itself at once; back again, they count together', async () => {
    const server = await startOwnRedis()
    open.push({ close: () => server.stop() })
    const redis = await clientOf(server.url)
    const portal = await portalWith({ start: 2 }, { redis: redis })
    const click = () => new Visitor().get(`${portal.url}/login/acme`)
    expect((await click()).status).toBe(302)
    await server.stop()
    expect(await statuses(3, click)).toEqual([302, 302, 429])
    expect(portal.logs.filter(({ message }) => message.includes('Redis cannot count'))).toHaveLength(1)
    await server.start()
    while (!redis.isReady) await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await statuses(3, click)).toEqual([302, 302, 429])
    expect(await redis.get('portal-sso:limit:start:127.0.0.1')).toBe('3')
  })

  it('that is connected but says nothing costs half a second, and neither the limit nor the page', async () => {
    // Takes every command and answers none, once it is told to.
    let silent = false
    const to = new URL(process.env.TEST_REDIS_URL!)
    const door = net.createServer((near) => {
      const far = net.connect(Number(to.port || 6379), to.hostname)
      near.pipe(far)
      far.on('data', (chunk) => silent || near.write(chunk))
      for (const each of [near, far]) each.on('error', () => {})
      near.on('close', () => far.destroy())
    })
    door.listen(0, '127.0.0.1')
    await once(door, 'listening')
    open.push({ close: async () => void door.close() })
    const redis = await clientOf(`redis://127.0.0.1:${(door.address() as net.AddressInfo).port}`)
    const portal = await portalWith({ start: 1 }, { redis: redis })
    silent = true
    expect(await statuses(2, () => new Visitor().get(`${portal.url}/login/acme`))).toEqual([302, 429])
  })
})
