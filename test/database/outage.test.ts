import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import session from 'express-session'
import knexModule, { type Knex } from 'knex'
import type { RedisClientType } from 'redis'
import { type Clock, takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import { mountDefault, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { responseUrl, signIn, startPortalWithAda, timed, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()
const [, freshPostgres] = everyDatabase.find(([name]) => name === 'PostgreSQL')!
const connections = 2
/** knex prints lost connections. */
const silent: Knex.Logger = { warn() {}, error() {} }
const unavailable = 'the database or the user directory is not available'

let redis: RedisClientType
let database: FreshDatabase
let knex: Knex
let clock: Clock

beforeAll(async () => {
  redis = await connectRedis()
})
afterAll(() => redis.close())
beforeEach(async () => {
  database = await freshPostgres()
  knex = knexModule({ ...database.config, pool: { min: 0, max: connections }, log: silent })
  clock = takeClock()
})
afterEach(async () => {
  clock.back()
  await knex.destroy()
  await database.drop()
})

async function startPortal(
  options: TestPortalOptions = {},
): Promise<{ portal: TestPortal; visitor: Visitor }> {
  const portal = await startPortalWithAda(provider, {
    database: knex,
    redis,
    session: { userCacheSeconds: 5 },
    mount(app, sso) {
      app.use(sso.session())
      app.get('/strict', sso.guard({ maxAge: '1h' }), (_req, res) => void res.send('strict'))
      app.post('/password-login', sso.classicLoginGate(), (_req, res) => void res.send('in'))
      app.use('/admin', sso.admin({ authorize: (req) => req.user !== undefined }))
      mountDefault(app, sso)
    },
    ...options,
  })
  open.push(portal)
  const visitor = new Visitor()
  expect((await signIn({ portal, visitor }, 'acme')).status).toBe(200)
  portal.logs.length = 0
  return { portal, visitor }
}

interface Connection {
  processID: number
}

/** Takes every connection of the pool. @returns gives them back */
async function takeAll(): Promise<{ held: Connection[]; release: () => Promise<void> }> {
  const { client } = knex
  const held = await Promise.all(
    Array.from({ length: connections }, async () => (await client.acquireConnection()) as Connection),
  )
  const release = async () => {
    for (const each of held.splice(0)) await client.releaseConnection(each)
  }
  return { held, release }
}

const outages: [title: string, begin: () => Promise<() => Promise<void>>][] = [
  [
    'PostgreSQL hangs',
    async () => {
      const { held, release } = await takeAll()
      const pids = held.map(({ processID }) => processID)
      await release()
      for (const pid of pids) process.kill(pid, 'SIGSTOP')
      const resume = async () => {
        for (const pid of pids.splice(0)) process.kill(pid, 'SIGCONT')
      }
      open.push({ close: resume })
      return resume
    },
  ],
  [
    'the host holds all connections of the pool',
    async () => {
      const { release } = await takeAll()
      open.push({ close: release })
      return release
    },
  ],
]

describe.each(outages)('while %s', (_title, begin) => {
  it('pages of cached users continue without waiting, at most ten minutes, and one line is logged', async () => {
    const { portal, visitor } = await startPortal()
    const page = () => visitor.get(`${portal.url}/portal`)
    const end = await begin()
    clock.pass(5000)
    const first = await timed(page)
    expect(first.seen.status).toBe(200)
    expect(first.ms).toBeGreaterThan(240)
    expect(first.ms).toBeLessThan(1450)
    const waits: number[] = []
    for (let n = 0; n < 60; n++) {
      const { seen, ms } = await timed(page)
      expect(seen.status).toBe(200)
      waits.push(ms)
      await sleep(30)
    }
    // The median, because the machine may be busy.
    expect(waits.sort((a, b) => a - b)[30]).toBeLessThan(240)
    expect(knex.client.pool.numPendingAcquires()).toBeLessThan(5)
    clock.pass(9 * 60_000)
    expect((await page()).status).toBe(200)
    clock.pass(60_000)
    expect((await page()).status).toBe(503)
    const [line, ...others] = portal.logs.filter(({ level }) => level === 'error')
    expect(line).toMatchObject({ message: unavailable, fields: { code: 'database_unavailable' } })
    expect(others.map(({ message }) => message)).toEqual(
      Array(2).fill(unavailable.replace('not', 'still not')),
    )

    await end()
    while ((await page()).status === 503) await sleep(20)
    clock.pass(5000)
    expect((await page()).status).toBe(200)
    expect(portal.logs.at(-1)).toMatchObject({
      message: unavailable.replace('not available', 'available again'),
      fields: { reference: line!.fields.reference },
    })
  })

  it('a session that was revoked ends with the first query that succeeds', async () => {
    const { portal, visitor } = await startPortal()
    const revoker = knexModule(database.config)
    open.push({ close: () => revoker.destroy() })
    await revoker('sso_sessions').delete()
    const end = await begin()
    clock.pass(5000)
    for (let n = 0; n < 3; n++) expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
    await end()
    let served = 0
    while ((await visitor.get(`${portal.url}/portal`)).status !== 302) {
      served++
      await sleep(100)
    }
    expect(served).toBeLessThan(20)
  })

  it('re-authentication, account and admin pages respond with 503, also with a session that was revoked', async () => {
    const { portal, visitor } = await startPortal()
    const end = await begin()
    clock.pass(5000)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
    for (const path of ['/strict', '/account/security', '/admin', '/register/link'])
      expect([path, (await visitor.get(portal.url + path)).status]).toEqual([path, 503])
    await end()
  })

  it('the classic login responds with 503, at once after the first time', async () => {
    const { portal } = await startPortal()
    const send = () => timed(() => new Visitor().post(`${portal.url}/password-login`, []))
    const end = await begin()
    expect((await send()).ms).toBeLessThan(2500)
    const later = await Promise.all(Array.from({ length: 20 }, send))
    expect(new Set(later.map(({ seen }) => seen.status))).toEqual(new Set([503]))
    expect(knex.client.pool.numPendingAcquires()).toBeLessThan(5)
    await end()
  })

  it('starts and callbacks respond with 503 within two seconds, later ones at once; then everything works', async () => {
    const { portal } = await startPortal()
    const other = new Visitor()
    const response = await responseUrl(other, await other.get(`${portal.url}/login/acme`))
    const end = await begin()
    const first = await Promise.all([
      timed(() => new Visitor().get(`${portal.url}/login/acme`)),
      timed(() => other.get(response)),
    ])
    for (const { seen, ms } of first) {
      expect([seen.status, seen.headers.get('retry-after')]).toEqual([503, '5'])
      expect(ms).toBeLessThan(2500)
    }
    expect((await timed(() => new Visitor().get(`${portal.url}/login`))).seen.status).toBe(503)
    const later = await Promise.all(
      Array.from({ length: 100 }, () => timed(() => new Visitor().get(`${portal.url}/login/acme`))),
    )
    expect(new Set(later.map(({ seen }) => seen.status))).toEqual(new Set([503]))
    await sleep(100)
    expect((await timed(() => other.get(response))).ms).toBeLessThan(1000)
    expect(knex.client.pool.numPendingAcquires()).toBeLessThan(5)
    const [line, ...others] = portal.logs
    expect([line?.message, others]).toEqual([unavailable, []])
    for (const { seen } of [...first, ...later]) expect(seen.body).toContain(line!.fields.reference)
    await end()
    while ((await new Visitor().get(`${portal.url}/login/acme`)).status === 503) await sleep(20)
    // The code was not sent.
    expect((await other.open(response)).status).toBe(200)
    expect((await other.get(`${portal.url}/portal`)).status).toBe(200)
  })
})

const [, hang] = outages[0]!

describe('while PostgreSQL hangs', () => {
  it.each<[title: string, options: TestPortalOptions]>([
    ['if nothing may be cached', { session: { userCacheSeconds: 0 } }],
    [
      "in a host's own session store",
      {
        mount(app, sso) {
          app.use(session({ secret: 'of the host', resave: false, saveUninitialized: false }))
          app.use(sso.session({ own: true }))
          mountDefault(app, sso)
        },
      },
    ],
  ])('no session is valid %s', async (_title, options) => {
    const { portal, visitor } = await startPortal(options)
    const end = await hang()
    clock.pass(5000)
    const { seen, ms } = await timed(() => visitor.get(`${portal.url}/portal`))
    expect(seen.status).toBe(503)
    expect(ms).toBeLessThan(2500)
    await end()
  })

  it('a callback during which it starts to hang is refused within two seconds, and starts no session', async () => {
    const { portal } = await startPortal()
    const other = new Visitor()
    const response = await responseUrl(other, await other.get(`${portal.url}/login/acme`))
    let end = async () => {}
    provider.faults.tokenWaitsFor = (async () => {
      end = await hang()
    })()
    const { seen, ms } = await timed(() => other.get(response))
    expect(seen.status).toBe(503)
    expect(ms).toBeLessThan(2500)
    expect(portal.logs.map(({ message }) => message)).toEqual([unavailable])
    await end()
    while ((await new Visitor().get(`${portal.url}/login/acme`)).status === 503) await sleep(20)
    expect((await other.get(`${portal.url}/portal`)).status).toBe(302)
  })
})

describe('a read-only PostgreSQL', () => {
  it('refuses sign-ins with 503 and one log line, and keeps the sessions', async () => {
    const { portal, visitor } = await startPortal()
    const { database: name } = database.config.connection as { database: string }
    const { held, release } = await takeAll()
    const pids = held.map(({ processID }) => processID)
    await release()
    await knex.raw(`alter database ${name} set default_transaction_read_only = true`)
    for (const pid of pids) process.kill(pid, 'SIGTERM')
    const isReadOnly = async () =>
      (await knex.raw('show default_transaction_read_only')).rows[0].default_transaction_read_only === 'on'
    while (!(await isReadOnly().catch(() => false))) await sleep(20)
    clock.pass(5000)
    while ((await visitor.get(`${portal.url}/portal`)).status !== 200) await sleep(50)
    portal.logs.length = 0
    for (let n = 0; n < 3; n++)
      expect((await signIn({ portal, visitor: new Visitor() }, 'acme')).status).toBe(503)
    expect(portal.logs.map(({ message }) => message)).toEqual([unavailable])
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
  })
})
