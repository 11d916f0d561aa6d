import { setTimeout as sleep } from 'node:timers/promises'
import { beforeEach, describe, expect, it } from '@jest/globals'
import type { RedisClientType } from 'redis'
import { closedAfterEach } from '../support/closed-after-each.ts'
import type { TestPortal } from '../support/portal.ts'
import { connectRedis, type OwnRedis, startOwnRedis } from '../support/redis.ts'
import { responseUrl, signIn, startPortalWithAda, timed, useProvider } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()
let server: OwnRedis
let redis: RedisClientType
let portal: TestPortal
let visitor: Visitor

beforeEach(async () => {
  server = await startOwnRedis()
  open.push({ close: () => server.stop() })
  redis = await connectRedis(server.url)
  open.push({ close: () => redis.destroy() })
  portal = await startPortalWithAda(provider, { redis, rateLimits: {} })
  open.push(portal)
  visitor = new Visitor()
  expect((await signIn({ portal, visitor }, 'acme')).status).toBe(200)
  portal.logs.length = 0
})

const page = () => visitor.get(`${portal.url}/portal`)
/** Without the line of the rate limits, which continue in the process. */
const messages = () =>
  portal.logs.flatMap(({ message }) => (message.startsWith('Redis cannot count') ? [] : [message]))

async function processOfRedis(): Promise<number> {
  return Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1])
}

/** Stops Redis without closing its connections, until the test ends or calls the result. */
async function hang(): Promise<() => void> {
  const pid = await processOfRedis()
  const resume = () => void process.kill(pid, 'SIGCONT')
  process.kill(pid, 'SIGSTOP')
  open.push({ close: resume })
  return resume
}

const outages: [title: string, begin: () => Promise<() => unknown>][] = [
  ['hangs', hang],
  [
    'is killed',
    async () => {
      process.kill(await processOfRedis(), 'SIGKILL')
      await server.stop()
      return () => server.start()
    },
  ],
]

describe.each(outages)('while Redis %s', (title, begin) => {
  it('one page waits less than a second, all others get 503 at once, and one log line says so', async () => {
    const end = await begin()
    const first = await timed(page)
    expect([first.seen.status, first.seen.headers.get('retry-after')]).toEqual([503, '5'])
    expect(first.ms).toBeLessThan(1500)
    const others = await Promise.all(Array.from({ length: 50 }, () => timed(page)))
    expect(new Set(others.map(({ seen }) => seen.status))).toEqual(new Set([503]))
    await sleep(100)
    const last = await timed(page)
    expect(last.ms).toBeLessThan(600)
    const lines = portal.logs.filter(({ message }) => message === 'Redis is not available')
    expect(lines).toHaveLength(1)
    const { reference } = lines[0]!.fields as { reference: string }
    for (const { seen } of [first, last, ...others]) expect(seen.body).toContain(reference)
    expect(messages()).toEqual(['Redis is not available'])

    await end()
    while ((await page()).status === 503) await sleep(20)
    // A Redis that was killed starts without its data.
    if (title === 'hangs') expect((await page()).status).toBe(200)
    else expect((await signIn({ portal, visitor }, 'acme')).status).toBe(200)
  })

  it('a callback is refused within two seconds, with one log line, whose reference the user sees', async () => {
    const other = new Visitor()
    const response = await responseUrl(other, await other.get(`${portal.url}/login/acme`))
    const end = await begin()
    provider.requests.length = 0
    const { seen, ms } = await timed(() => other.get(response))
    expect(seen.status).toBe(503)
    expect(ms).toBeLessThan(2500)
    expect(provider.requests.filter(({ path }) => path === '/token')).toEqual([])
    const reference = portal.logs.find(({ message }) => message === 'Redis is not available')?.fields
      .reference
    expect(seen.body).toContain(reference)
    expect(messages()).toEqual(['Redis is not available'])
    const [event] = await portal.knex('sso_events').where({ kind: 'sign-in-failed' })
    expect(event.reference).toBe(reference)
    await end()
  })
})

describe('a sign-in during which Redis starts to hang', () => {
  it('is refused within two seconds, starts no session, and leaves one log line', async () => {
    const other = new Visitor()
    const response = await responseUrl(other, await other.get(`${portal.url}/login/acme`))
    let resume = () => {}
    provider.faults.tokenWaitsFor = (async () => {
      resume = await hang()
    })()
    const { seen, ms } = await timed(() => other.get(response))
    expect(seen.status).toBe(503)
    expect(ms).toBeLessThan(2500)
    resume()
    while ((await page()).status === 503) await sleep(20)
    expect((await other.get(`${portal.url}/portal`)).status).toBe(302)
    expect(messages()).toEqual(['Redis is not available'])
    expect(await portal.knex('sso_sessions')).toHaveLength(1)
  })
})

/** A client whose commands for new sessions never settle, once `hang` was called, as if a node of a cluster were down. */
function clusterOf(redis: RedisClientType) {
  let known: string[] | undefined
  const sent: string[] = []
  const client = new Proxy(redis, {
    get(target, name, receiver) {
      if (!['get', 'set', 'del'].includes(String(name))) return Reflect.get(target, name, receiver)
      return async (...parameters: unknown[]) => {
        const key = String([parameters[0]].flat()[0])
        if (!known || known.includes(key) || !key.includes(':session:'))
          return await Reflect.apply(target[name as 'get'], target, parameters)
        sent.push(String(name))
        return await new Promise<never>(() => {})
      }
    },
  })
  const hang = async () => {
    known = await redis.keys('*')
  }
  return { client, sent, hang }
}

describe('a node of a cluster that hangs, with the new session of a sign-in', () => {
  it('is waited for once by its callback, with one log line, while sessions on other nodes continue', async () => {
    const cluster = clusterOf(redis)
    const other = await startPortalWithAda(provider, { redis: cluster.client })
    open.push(other)
    const [signedIn, browser] = [new Visitor(), new Visitor()]
    await signIn({ portal: other, visitor: signedIn }, 'acme')
    const response = await responseUrl(browser, await browser.get(`${other.url}/login/acme`))
    other.logs.length = 0
    await cluster.hang()
    let seen: Seen | undefined
    void browser.get(response).then((page) => {
      seen = page
    })
    // The other nodes respond, so the circuit stays closed.
    while (!seen) expect((await signedIn.get(`${other.url}/portal`)).status).toBe(200)
    expect(seen.status).toBe(503)
    expect(cluster.sent).toEqual(['set'])
    expect(other.logs.map(({ message }) => message)).toEqual(['Redis is not available'])
    expect(await other.knex('sso_sessions')).toHaveLength(1)
  })
})

describe('an error with which Redis responds', () => {
  it('signs nobody out, opens no circuit for others, and leaves one log line', async () => {
    const id = decodeURIComponent(visitor.cookies.get(portal.url)!.get('portal-sso')!).slice(2).split('.')[0]
    const key = `portal-sso:session:${id}`
    const stored = (await redis.get(key))!
    await redis.del(key)
    await redis.hSet(key, 'not', 'a session')
    for (let n = 0; n < 5; n++) expect((await page()).status).toBe(503)
    expect(portal.logs.map(({ fields }) => fields.cause)).toEqual([expect.stringContaining('WRONGTYPE')])
    const other = new Visitor()
    expect((await signIn({ portal, visitor: other }, 'acme')).status).toBe(200)
    await redis.del(key)
    await redis.set(key, stored)
    expect((await page()).status).toBe(200)
  })
})
