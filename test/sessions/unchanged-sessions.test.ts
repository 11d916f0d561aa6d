import { createServer, get as httpGet, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTick } from 'node:timers/promises'
import { promisify } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import express, { type RequestHandler } from 'express'
import type { Store } from 'express-session'
import fc from 'fast-check'
import type { RedisLike } from '../../lib/sessions/redis-client.ts'
import { LimitsByPortal } from '../../lib/sessions/session-limits.ts'
import { createCookieSession, TimeLimitedRedisStore } from '../../lib/sessions/session-store.ts'
import { describeError } from '../../lib/shared/errors.ts'
import { effort } from '../support/properties.ts'

/** One step of a request handler of the host. */
type Step = (req: express.Request, res: express.Response, sessions: Map<string, string>) => unknown

const data = (req: express.Request) => (req.session ?? {}) as unknown as Record<string, unknown>
const call = (req: express.Request, name: 'save' | 'reload' | 'regenerate' | 'destroy') =>
  req.session && promisify(req.session[name].bind(req.session) as (done: (error: unknown) => void) => void)()
const start = (req: express.Request, name: 'save' | 'regenerate' | 'destroy') =>
  void req.session?.[name](() => {})

const steps: Record<string, Step> = {
  set: (req) => Object.assign(data(req), { a: 1 }),
  'set again': (req) => Object.assign(data(req), { a: 2 }),
  'set nested': (req) => Object.assign(data(req), { basket: { b: 1 } }),
  'sign in': (req) =>
    Object.assign(data(req), {
      passport: { user: { userId: 'u', since: Date.now() + 1e6, logoutHint: 'hint' } },
    }),
  delete: (req) => void delete data(req).a,
  'delete nested': (req) => void delete data(req).basket,
  __proto__: (req) => Object.assign(data(req), JSON.parse('{"x":{"__proto__":{"y":1}}}')),
  date: (req) => Object.assign(data(req), { at: new Date(0) }),
  save: (req) => call(req, 'save'),
  'start to save': (req) => start(req, 'save'),
  reload: async (req) => await call(req, 'reload')?.catch(() => {}),
  regenerate: (req) => call(req, 'regenerate'),
  'start to regenerate': (req) => start(req, 'regenerate'),
  destroy: (req) => call(req, 'destroy'),
  'start to destroy': (req) => start(req, 'destroy'),
  null: (req) => void Object.assign(req, { session: null }),
  touch: (req) => void req.session?.touch(),
  maxAge: (req) => void Object.assign(req.session?.cookie ?? {}, { maxAge: 5000 }),
  wait: () => nextTick(),
  header: (_req, res) => void (res.headersSent || res.setHeader('x-a', 'b')),
  cookie: (_req, res) => void (res.headersSent || res.cookie('other', '1')),
  writeHead: (_req, res) => void (res.headersSent || res.writeHead(201, { 'x-b': 'c' })),
  flush: (_req, res) => void (res.writableEnded || res.flushHeaders()),
  write: (_req, res) => void (res.writableEnded || res.write('w')),
  end: (_req, res) => void (res.writableEnded || res.end('e')),
  'end with length': (_req, res) => void (res.headersSent || res.writableEnded || res.send('ended')),
  'end empty': (_req, res) => void (res.writableEnded || res.end()),
  'store fails': (_req, _res, sessions) => {
    sessions.set = () => {
      throw new Error('of the store')
    }
  },
  'other request deletes': (_req, _res, sessions) => sessions.clear(),
  'other request writes': (_req, _res, sessions) => {
    for (const [key, text] of sessions) sessions.set(key, JSON.stringify({ ...JSON.parse(text), other: 1 }))
  },
  throw: () => {
    throw new Error('of the host')
  },
}

function fakeRedis(sessions: Map<string, string>): RedisLike {
  return {
    async get(key: string) {
      await nextTick()
      return sessions.get(key) ?? null
    },
    async set(key: string, value: string, { condition }: { condition?: string }) {
      await nextTick()
      if (condition !== 'XX' || sessions.has(key)) sessions.set(key, value)
    },
    async del(keys: string[]) {
      await nextTick()
      for (const key of keys) sessions.delete(key)
    },
    async expire() {},
  } as unknown as RedisLike
}

interface Variant {
  framework?: () => express.Express
  before?: RequestHandler[]
  after?: RequestHandler[]
  /** each request renews its session */
  renews?: boolean
  isMountedTwice?: boolean
}

async function startHost(
  isVerifiedEachTime: boolean,
  { framework = express, before = [], after = [], renews, isMountedTwice }: Variant,
) {
  const sessions = new Map<string, string>()
  const clock = { now: () => Date.now() }
  const limits = new LimitsByPortal({ idleMinutes: 30, absoluteHours: 12 }, {}, clock)
  if (renews) limits.storeTtl = () => ({ ttlMs: 60_000, renewAfterMs: 0 })
  const store = new TimeLimitedRedisStore(fakeRedis(sessions), limits, '')
  store.setMaxListeners(0)
  const create = () =>
    createCookieSession({ cookieName: () => 'portal-sso', keyScope: '', secure: false }, store as Store, {
      secrets: ['secret'],
      maxAgeMs: 60_000,
    })
  let openSession = create()
  const app = framework()
  for (const each of before) app.use(each)
  for (let mounted = 0; mounted < (isMountedTwice ? 2 : 1); mounted += 1) {
    app.use((req, res, next) => openSession(req, res, next))
    if (isMountedTwice) app.use((req, _res, next) => next(void Object.assign(data(req), { mounted })))
  }
  for (const each of after) app.use(each)
  let names: readonly string[] = []
  app.get('/', async (req, res, next) => {
    try {
      for (const name of names) await steps[name]!(req, res, sessions)
      if (!res.writableEnded) res.end('end')
    } catch (error) {
      next(error)
    }
  })
  app.use(((_error, _req, res, _next) => {
    if (!res.headersSent) res.statusCode = 500
    res.end('error')
  }) as express.ErrorRequestHandler)
  const server = createServer(app)
  await new Promise<void>((done) => server.listen(0, done))
  const { port } = server.address() as AddressInfo
  let cookie = ''
  return {
    sessions,
    close: () => void server.close(),
    reset() {
      sessions.clear()
      cookie = ''
    },
    async request(all: readonly string[]) {
      names = all
      Reflect.deleteProperty(sessions, 'set')
      if (isVerifiedEachTime) openSession = create()
      const res = await new Promise<IncomingMessage>((done, fail) =>
        httpGet({ port, headers: { cookie, connection: 'close' }, timeout: 2000 }, done).on('error', fail),
      )
      let body = ''
      for await (const chunk of res) body += chunk
      const set = res.headers['set-cookie'] ?? []
      const own = set.find((each) => each.startsWith('portal-sso='))
      if (own) cookie = own.split(';')[0]!
      const { date: _date, etag: _etag, ...headers } = res.headers
      return { status: res.statusCode, body, headers: { ...headers, 'set-cookie': set }, cookie }
    },
  }
}

/** Names the session ids by the order in which they appear. */
function withoutIds(text: string): string {
  const ids: string[] = []
  return text
    .replaceAll(/s%3A([\w-]{32})\.[\w%-]+/g, (_all, id: string) => `signed ${id}`)
    .replaceAll(/(signed |session:)([\w-]{32})/g, (_all, before: string, id: string) => {
      if (!ids.includes(id)) ids.push(id)
      return `${before}${ids.indexOf(id)}`
    })
    .replaceAll(/[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT/g, 'date')
    .replaceAll(/\\"originalMaxAge\\":\d+/g, '')
    .replaceAll(/\\"since\\":\d+/g, '')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'date')
}

const wrapsEnd: RequestHandler = (_req, res, next) => {
  const { end, write } = res
  res.write = ((chunk: string) => Reflect.apply(write, res, [`<${chunk}`])) as typeof write
  res.end = ((chunk = '') => Reflect.apply(end, res, [`${chunk}>`])) as typeof end
  next()
}
const load = <T>(name: string) => createRequire(import.meta.url)(name) as T
const compress = load<(options: object) => RequestHandler>('compression')({ threshold: 0 })
const express4 = load<() => express.Express>('express4')
const variants: Record<string, Variant> = {
  'Express 5': {},
  'Express 4, and sessions that must be renewed': { framework: express4, renews: true },
  'middleware that wraps the response': { before: [compress], after: [wrapsEnd] },
  compression: { before: [wrapsEnd], after: [compress] },
  'the middleware mounted twice': { isMountedTwice: true },
}

describe('a session whose cookie was verified before', () => {
  it.each(Object.keys(variants))(
    'behaves as with express-session alone: %s',
    async (name) => {
      const hosts = await Promise.all([true, false].map((each) => startHost(each, variants[name]!)))
      const sequence = fc.array(fc.constantFrom(...Object.keys(steps)), { maxLength: 6 })
      await fc.assert(
        fc.asyncProperty(fc.array(sequence, { minLength: 1, maxLength: 3 }), async (requests) => {
          const seen = await Promise.all(
            hosts.map(async (host) => {
              host.reset()
              await host.request(['set nested', 'sign in'])
              await host.request([])
              const responses: unknown[] = []
              for (const each of requests) responses.push(await host.request(each).catch(describeError))
              for (let i = 0; i < 8; i += 1) await nextTick()
              return withoutIds(JSON.stringify([responses, [...host.sessions]], null, 1))
            }),
          )
          expect(seen[1]).toBe(seen[0])
        }),
        effort(0.1),
      )
      for (const { close } of hosts) close()
    },
    60_000,
  )

  it('is refused if its stored data is damaged', async () => {
    const host = await startHost(false, {})
    await host.request(['set'])
    await host.request([])
    for (const stored of ['{"a":1}', '{"cookie":5}', '5', '{']) {
      for (const key of host.sessions.keys()) host.sessions.set(key, stored)
      expect(await host.request([])).toMatchObject({ status: 500, body: 'error' })
    }
    host.close()
  }, 10_000)
})
