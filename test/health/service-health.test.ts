import { once } from 'node:events'
import { createServer, request, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals'
import session from 'express-session'
import type { RedisClientType } from 'redis'
import { Agent } from 'undici'
import { createPortalSso } from '../../lib/index.ts'
import { type Clock, takeClock, takeTimers } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import { mountDefault, type TestPortal, type TestPortalOptions, testSecret } from '../support/portal.ts'
import { connectRedis, type OwnRedis, startOwnRedis } from '../support/redis.ts'
import { signIn, startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()
let server: OwnRedis
let redis: RedisClientType
let clock: Clock | undefined

beforeAll(async () => {
  server = await startOwnRedis()
  redis = await connectRedis(server.url)
})
afterAll(async () => {
  redis.destroy()
  await server.stop()
})
afterEach(() => {
  clock?.back()
  clock = undefined
})

async function start(options: TestPortalOptions = {}): Promise<TestPortal> {
  const portal = await startPortalWithAda(provider, {
    redis,
    session: { userCacheSeconds: 60 },
    mount(app, sso) {
      app.use(sso.healthRoutes())
      mountDefault(app, sso)
    },
    ...options,
  })
  open.push(portal)
  return portal
}

async function ask({ url }: TestPortal, path = '/readyz') {
  const { status, headers, body } = await new Visitor().get(url + path)
  expect([headers.get('cache-control'), headers.get('set-cookie')]).toEqual(['no-store', null])
  return [status, JSON.parse(body)] as [number, Record<string, unknown>]
}

async function signInAt(portal: TestPortal): Promise<Visitor> {
  const visitor = new Visitor()
  expect((await signIn({ portal, visitor }, 'acme')).status).toBe(200)
  return visitor
}

const good = { database: 'ok', redis: 'ok', migrations: 'ok', clock: 'ok' }

describe('/livez and /readyz', () => {
  it('respond with 200 while everything works, without a session', async () => {
    const portal = await start()
    expect(await ask(portal)).toEqual([200, { status: 'ok', ...good }])
    expect(await ask(portal, '/livez')).toEqual([200, { status: 'ok' }])
    expect(await portal.sso.health()).toEqual({
      status: 'ok',
      database: { ok: true },
      redis: { ok: true },
      migrations: { ok: true, pending: [] },
      clock: { ok: true, offsetMs: expect.any(Number) },
    })
  })

  it.each<[string, number, TestPortalOptions]>([
    ['still work', 200, {}],
    ['are refused: the user is read at each request', 503, { session: { userCacheSeconds: 0 } }],
  ])('without the database, respond as guarded pages do: they %s', async (_what, status, options) => {
    const portal = await start(options)
    const visitor = await signInAt(portal)
    await portal.knex.destroy()
    const state = status === 200 ? 'degraded' : 'unavailable'
    expect(await ask(portal)).toEqual([status, { ...good, status: state, database: 'failed' }])
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(status)
    expect((await ask(portal, '/livez'))[0]).toBe(200)
    // Only code learns the cause.
    const { database } = await portal.sso.health()
    expect(database).toEqual({ ok: false, error: expect.stringMatching(/./) })
  })

  it('respond with 503 once the database has been down for ten minutes, as guarded pages do', async () => {
    const portal = await start()
    const visitor = await signInAt(portal)
    await portal.knex.destroy()
    expect((await ask(portal))[0]).toBe(200)
    clock = takeClock()
    clock.pass(10 * 60_000 + 1000)
    expect((await ask(portal))[0]).toBe(503)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(503)
  })

  it('respond with 503 without the database if the host has its own sessions, but not without Redis', async () => {
    const portal = await start({
      mount(app, sso) {
        app.use(sso.healthRoutes())
        app.use(session({ secret: 'a secret of the host', resave: false, saveUninitialized: false }))
        app.use(sso.session({ own: true }), sso.router())
        app.use('/portal', sso.guard(), (_req, res) => void res.send('the portal'))
      },
    })
    const visitor = await signInAt(portal)
    await server.stop()
    expect(await ask(portal)).toEqual([200, { ...good, status: 'degraded', redis: 'failed' }])
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
    await server.start()
    await portal.knex.destroy()
    clock = takeClock()
    clock.pass(1000)
    expect((await ask(portal))[0]).toBe(503)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(503)
  })

  it('respond with 503 while Redis is down, as guarded pages do, and with 200 as soon as it is back', async () => {
    const portal = await start()
    const visitor = await signInAt(portal)
    await server.stop()
    expect(await ask(portal)).toEqual([503, { ...good, status: 'unavailable', redis: 'failed' }])
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(503)
    await server.start()
    let status = 503
    while (status === 503) {
      await sleep(20)
      status = (await ask(portal))[0]
    }
    expect(status).toBe(200)
  })

  it('respond within a second while Redis hangs, and ask it once however many clients ask', async () => {
    let [asked, arrived] = [0, 0]
    const hanging = Object.assign(Object.create(redis) as RedisClientType, {
      get: () => {
        asked++
        return new Promise<string>(() => {})
      },
    })
    const portal = await start({
      redis: hanging,
      mount(app, sso) {
        app.use((_req, _res, next) => {
          arrived++
          next()
        })
        app.use(sso.healthRoutes())
      },
    })
    clock = takeTimers()
    // All requests arrive within one second, however slow the machine is.
    const frozen = jest.spyOn(Date, 'now').mockReturnValue(Date.now())
    const responses = Promise.all(Array.from({ length: 50 }, () => ask(portal)))
    while (arrived < 50) await nextTurn()
    clock.pass(999)
    expect((await responses).map(([status]) => status)).toEqual(Array(50).fill(503))
    // By the check, and then by the probe of the circuit breaker.
    expect(asked).toBe(2)
    frozen.mockRestore()
  })

  it('respond with 200 while migrations are pending, and name them to code only', async () => {
    const portal = await start()
    await portal.knex('sso_migrations').where({ name: '009-pushed-requests' }).delete()
    expect(await ask(portal)).toEqual([200, { ...good, status: 'degraded', migrations: 'failed' }])
    expect((await portal.sso.health()).migrations).toEqual({ ok: false, pending: ['009-pushed-requests'] })
  })

  it('say by how much the clock of this server is wrong', async () => {
    const portal = await start()
    const startedAt = performance.now()
    clock = takeClock()
    clock.pass(60_000)
    const [status, { clockOffsetMs, ...rest }] = await ask(portal)
    expect([status, rest]).toEqual([200, { ...good, status: 'degraded', clock: 'failed' }])
    // The faked clock stands still meanwhile.
    const elapsedMs = performance.now() - startedAt
    expect(Number(clockOffsetMs)).toBeGreaterThan(-60_010)
    expect(Number(clockOffsetMs)).toBeLessThan(-59_990 + elapsedMs)
  })

  it('and the log, once, say by how much a provider has another time, which keeps no instance out of use', async () => {
    const portal = await start()
    const later = (seconds: number) => new Date(Date.now() + seconds * 1000).toUTCString()
    provider.faults.jwksResponse = { headers: { Date: later(60) } }
    await signInAt(portal)
    const [status, { providerClockOffsetMs, ...rest }] = await ask(portal)
    expect([status, rest]).toEqual([200, { ...good, status: 'ok' }])
    expect(Number(providerClockOffsetMs)).toBeGreaterThan(50_000)
    expect(Number(providerClockOffsetMs)).toBeLessThanOrEqual(60_000)
    const notes = () => portal.logs.filter(({ message }) => message.includes('a provider’s'))
    expect(notes()).toEqual([
      expect.objectContaining({
        level: 'warn',
        fields: expect.objectContaining({ issuer: provider.issuer }),
        message: expect.stringMatching(/^the clock of this server is (?:5\d|60) s behind a provider’s: /),
      }),
    ])

    clock = takeClock()
    clock.pass(11 * 60_000)
    provider.faults.jwksResponse = { headers: { Date: later(-90) } }
    await signInAt(portal)
    expect(notes()).toHaveLength(1)
  })
})

describe('sso.close()', () => {
  it('waits for requests in flight, while /readyz responds with 503', async () => {
    let finish = () => {}
    const portal = await start({
      mount(app, sso) {
        app.use(sso.healthRoutes())
        mountDefault(app, sso)
        app.get('/slow', async (_req, res) => {
          await new Promise<void>((resolve) => {
            finish = resolve
            app.emit('slow')
          })
          res.json((await sso.users.findByEmail('ada@example.com'))?.email)
        })
      },
    })
    const arrived = once(portal.app, 'slow')
    const response = new Visitor().get(`${portal.url}/slow`)
    await arrived
    let isClosed = false
    const closed = portal.sso.close().then(() => {
      isClosed = true
    })
    expect((await ask(portal))[1].status).toBe('unavailable')
    expect(isClosed).toBe(false)
    finish()
    expect((await response).body).toBe('"ada@example.com"')
    await closed
  })

  it('waits no longer than ten seconds', async () => {
    const portal = await start({
      mount(app, sso) {
        app.use(sso.session())
        app.get('/endless', () => void app.emit('endless'))
      },
    })
    const arrived = once(portal.app, 'endless')
    const response = new Visitor().get(`${portal.url}/endless`).catch(() => 'cut off')
    await arrived
    clock = takeClock()
    const closed = portal.sso.close()
    clock.pass(10_000)
    await closed
    await portal.close()
    expect(await response).toBe('cut off')
  })

  it('does not wait for WebSockets that the host handles in Express', async () => {
    const portal = await start({
      mount(app, sso) {
        app.use(sso.session())
        app.get('/socket', () => void app.emit('socket'))
      },
    })
    const host = createServer().on('upgrade', (req) => portal.app(req, new ServerResponse(req)))
    await once(host.listen(0, '127.0.0.1'), 'listening')
    const headers = { connection: 'Upgrade', upgrade: 'websocket' }
    const { port } = host.address() as AddressInfo
    const handshake = request({ port, host: '127.0.0.1', path: '/socket', headers })
    handshake.on('error', () => {}).end()
    await once(portal.app, 'socket')
    const closed = portal.sso.close().then(() => 'closed')
    expect(await Promise.race([closed, sleep(2000, 'waits')])).toBe('closed')
    handshake.destroy()
    host.close()
    await closed
  })

  it('closes everything else if one part cannot be closed', async () => {
    const database = await openMigrated(everyDatabase[0]![1])
    const sso = await createPortalSso({
      baseUrl: 'http://127.0.0.1:3000',
      secret: testSecret,
      database: database.config,
      outbound: { allowedAddresses: ['127.0.0.0/8'] },
      logger: { info() {}, warn() {}, error() {} },
    })
    // Opens a connection to the provider.
    const { issuer, clientId, clientSecret } = provider
    await sso.providers.connect({ slug: 'acme', displayName: 'Acme', issuer, clientId, clientSecret })
    const destroy = jest
      .spyOn(Agent.prototype, 'destroy')
      .mockRejectedValueOnce(new Error('it hangs') as never)
    await expect(sso.close()).rejects.toThrow('it hangs')
    destroy.mockRestore()
    await expect(sso.providers.list()).rejects.toThrow()
    await database.close()
  })

  it('lets the remaining instance of a process serve requests like an only one', async () => {
    const options = {
      baseUrl: 'http://127.0.0.1:3000',
      secret: testSecret,
      redis,
      logger: { info() {}, warn() {}, error() {} },
    }
    const portal = await start({
      mount(app, sso) {
        app.use(sso.session())
        app.get('/', (req, res) => {
          const isOpen = req.session !== undefined
          res.json(isOpen && Object.getOwnPropertyDescriptor(req, 'session')?.get === undefined)
        })
      },
    })
    const isOnly = async () => JSON.parse((await new Visitor().get(portal.url)).body) as boolean
    expect(await isOnly()).toBe(true)
    const database = portal.knex
    const staff = await createPortalSso({ ...options, database, mountPath: '/staff' })
    const twin = await createPortalSso({ ...options, database, mountPath: '/staff' })
    expect(await isOnly()).toBe(false)
    await staff.close()
    expect(await isOnly()).toBe(false)
    await twin.close()
    expect(await isOnly()).toBe(true)
  })
})
