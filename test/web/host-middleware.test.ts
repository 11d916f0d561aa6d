/** One host application, with one middleware of its own before `sso.session()` or between it and `sso.router()`. */
import { IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import { Socket } from 'node:net'
import { afterEach, describe, expect, it } from '@jest/globals'
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express'
import session from 'express-session'
import helmet from 'helmet'
import passport, { Passport } from 'passport'
import type { PortalSso } from '../../lib/index.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import type { TestPortal } from '../support/portal.ts'
import { signIn, startPortalWithAda, useProvider } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const require = createRequire(import.meta.url)
const load = <Options extends unknown[]>(name: string) =>
  require(name) as (...options: Options) => RequestHandler

const compression = load<[object]>('compression')
const cookieParser = load<[string]>('cookie-parser')
const cookieSession = load<[object]>('cookie-session')
const { csrfSync } = require('csrf-sync') as typeof import('csrf-sync')
const { doubleCsrf } = require('csrf-csrf') as typeof import('csrf-csrf')

const provider = await useProvider()
let portal: TestPortal
afterEach(() => portal.close())

const positions = ['before', 'between'] as const
type Position = (typeof positions)[number]

interface Host {
  middleware: RequestHandler[]
  position: Position
  /** mounted after everything else */
  after?: (app: Express) => void
  own?: boolean
  mountPath?: string
}

async function open({ middleware, position, after, own, mountPath = '/' }: Host): Promise<void> {
  portal = await startPortalWithAda(provider, {
    mountPath,
    mount(app, sso) {
      if (position === 'before') for (const each of middleware) app.use(each)
      app.use(sso.session({ own }))
      if (position === 'between') for (const each of middleware) app.use(each)
      app.use(mountPath, sso.router())
      mountPages(app, sso)
      after?.(app)
    },
  })
}

function mountPages(app: Express, sso: PortalSso): void {
  app.use('/portal', sso.guard(), (req, res) => {
    res.json({ user: req.user })
  })
  app.get('/', (req, res) => {
    res.json({ user: req.user ?? null })
  })
  app.post('/note', (_req, res) => {
    res.send('noted')
  })
}

const at = (path: string) => portal.url + path
const emailOf = ({ body }: Seen) =>
  (JSON.parse(body) as { user: { email?: string } | null }).user?.email ?? null
const emailAt = async (visitor: Visitor) => emailOf(await visitor.get(at('/')))
const isIn = async (visitor: Visitor) => (await visitor.get(at('/portal'))).status === 200

async function notifyOfLogout(): Promise<Response> {
  const logout_token = await signLogoutToken(provider, { sub: String(provider.person.sub) })
  const body = new URLSearchParams({ logout_token })
  return await fetch(at('/logout/acme/backchannel'), { method: 'POST', body })
}

const startGrace = async (): Promise<Visitor> => {
  provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true, name: 'Grace' }
  const visitor = new Visitor()
  await signIn({ portal, visitor }, 'acme')
  return visitor
}

/** Every step of a user's way through the portal. */
async function journey(): Promise<object> {
  const ada = new Visitor()
  await signIn({ portal, visitor: ada }, 'acme')
  const signedIn = [await emailAt(ada), await isIn(ada)]
  const notified = (await notifyOfLogout()).status
  const endedByProvider = !(await isIn(ada))

  const grace = await startGrace()
  const fromElsewhere = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
  const crossSite = [(await grace.post(at('/register'), { name: 'Mallory' }, fromElsewhere)).status]
  await grace.follow(await grace.post(at('/register'), { name: 'Grace' }))
  const registered = await emailAt(grace)
  const thief = grace.clone()
  crossSite.push((await grace.post(at('/logout'), {}, fromElsewhere)).status)
  await grace.follow(await grace.post(at('/logout'), { where: 'here' }))
  const signedOut = [await emailAt(grace), await isIn(thief)]

  await portal.sso.providers.update('acme', { responseMode: 'form_post' })
  const posted = new Visitor()
  await signIn({ portal, visitor: posted }, 'acme')
  const byFormPost = await emailAt(posted)
  return { signedIn, notified, endedByProvider, registered, crossSite, signedOut, byFormPost }
}

const complete = {
  signedIn: ['ada@example.com', true],
  notified: 200,
  endedByProvider: true,
  registered: 'grace@example.com',
  // Our own CSRF protection.
  crossSite: [403, 403],
  signedOut: [null, false],
  byFormPost: 'grace@example.com',
}

/** The warnings of the first request. */
const findings = () =>
  portal.logs.flatMap(({ fields }) => ('middleware' in fields ? [fields.middleware as string[]] : []))

const hostSession = () =>
  session({ secret: 'of the host', resave: false, saveUninitialized: false, name: 'hosts' })
const ignoring = new Passport()
ignoring.deserializeUser((_id, done) => done(null, false))
const mistaking = new Passport()
mistaking.serializeUser((user, done) => done(null, (user as { id: string }).id))
mistaking.deserializeUser((id, done) => done(null, { id: 'mallory', email: String(id) } as Express.User))

/** Like method-override. */
const overrideMethod: RequestHandler = (req, _res, next) => {
  if (req.method === 'POST')
    req.method = String(req.query._method ?? req.get('x-http-method-override') ?? 'POST')
  next()
}

const harmless: [name: string, () => RequestHandler[], warning?: RegExp][] = [
  [
    'compression, helmet, cookie-parser and a method override',
    () => [
      compression({ threshold: 0 }),
      helmet({ contentSecurityPolicy: { directives: { formAction: ["'none'"] } } }),
      cookieParser('secret of the host'),
      overrideMethod,
    ],
  ],
  ['parsers of JSON and forms', () => [express.json(), express.urlencoded({ extended: true })]],
  ['express.raw({ type: "*/*" })', () => [express.raw({ type: '*/*' })]],
  ['express.text({ type: "*/*" })', () => [express.text({ type: '*/*' })]],
  ['an express-session of its own', () => [hostSession()]],
  ['cookie-session', () => [cookieSession({ name: 'hosts', keys: ['a key'] })], /^_cookieSession: remove it/],
  ['passport.session()', () => [passport.session()], /^authenticate: .*remove it/],
  ['passport.session() that finds nobody', () => [ignoring.session()], /^authenticate: /],
  ['passport.session() that finds another user', () => [mistaking.session()], /^authenticate: /],
]

describe.each(positions)('a portal whose host mounts, %s `sso.session()` and `sso.router()`,', (position) => {
  it.each(harmless)('%s, works completely', async (...[, create, warning]) => {
    await open({ middleware: create(), position })
    expect(await journey()).toEqual(complete)
    expect(findings()).toEqual(warning ? [[expect.stringMatching(warning)]] : [])
    expect(portal.logs.filter(({ level }) => level === 'error')).toEqual([])
  })
})

describe('a leftover of Passport', () => {
  it('initialize() works, and is reported if it comes after our own', async () => {
    await open({ middleware: [passport.initialize(), passport.session()], position: 'between' })
    expect(await journey()).toEqual(complete)
    expect(findings()).toEqual([
      [
        expect.stringMatching(/^initialize: remove `passport.initialize/),
        expect.stringMatching(/^authenticate: /),
      ],
    ])
  })

  it('on an express-session of the host works with `own: true`', async () => {
    const middleware = [hostSession(), passport.initialize(), passport.session()]
    await open({ middleware, position: 'before', own: true })
    expect(await journey()).toEqual(complete)
  })

  it('with another session key restores its own user', async () => {
    const restore = ((id: unknown, _req: object, done: (error: null, user: object) => void) =>
      done(null, { id, email: 'admin@example.com' })) as never
    const admins = new passport.strategies.SessionStrategy({ key: 'admins' }, restore)
    const setAdmin: RequestHandler = (req, _res, next) => {
      Object.assign(req.session, { admins: { user: 'admin' } })
      next()
    }
    const authenticate = new Passport().authenticate(admins) as RequestHandler
    await open({ middleware: [setAdmin, authenticate], position: 'between' })
    const visitor = new Visitor()
    await signIn({ portal, visitor }, 'acme')
    expect(await emailAt(visitor)).toBe('admin@example.com')
  })

  it('admits nobody whom we refuse', async () => {
    await open({ middleware: [mistaking.initialize(), mistaking.session()], position: 'before' })
    const visitor = new Visitor()
    await signIn({ portal, visitor }, 'acme')
    await portal.knex('sso_users').update({ active: false })
    expect([await emailAt(visitor), await isIn(visitor)]).toEqual([null, false])
  })
})

describe('`req.session = null`, with which hosts sign out of cookie-session,', () => {
  it('ends the session, so that a copy of its cookie is worthless', async () => {
    await open({
      middleware: [],
      position: 'before',
      after: (app) =>
        void app.post('/old-logout', (req, res) => {
          ;(req as { session: unknown }).session = null
          res.send('bye')
        }),
    })
    const visitor = new Visitor()
    await signIn({ portal, visitor }, 'acme')
    const thief = visitor.clone()
    await visitor.post(at('/old-logout'))
    expect([await isIn(visitor), await isIn(thief)]).toEqual([false, false])
  })

  it('before our router signs the user out there, without an error', async () => {
    const nullify: RequestHandler = (req, _res, next) => {
      if (req.query.bye !== undefined) (req as { session: unknown }).session = null
      next()
    }
    await open({ middleware: [nullify], position: 'between' })
    const visitor = new Visitor()
    await signIn({ portal, visitor }, 'acme')
    const thief = visitor.clone()
    const { status, location } = await visitor.get(at('/portal?bye'))
    expect([status, location]).toEqual([302, expect.stringContaining('/login?')])
    expect([await isIn(visitor), await isIn(thief)]).toEqual([false, false])
  })
})

describe('a CSRF middleware of the host', () => {
  /** As in lusca, its error has neither code nor status. */
  const checkCsrf: RequestHandler = ({ method }, res, next) => {
    if (method !== 'POST') return next()
    res.status(403)
    next(new Error('CSRF token missing'))
  }
  const packages: [name: string, pattern: RegExp, () => RequestHandler[]][] = [
    [
      'csrf-sync',
      /csrfSynchronisedProtection: mount `sso.router\(\)` before it/,
      () => [csrfSync().csrfSynchronisedProtection],
    ],
    ['like lusca', /checkCsrf: mount `sso.router\(\)` before it/, () => [checkCsrf]],
    [
      'csrf-csrf',
      /doubleCsrfProtection: mount `sso.router\(\)` before it/,
      () => {
        const options = { getSecret: () => 'a secret', getSessionIdentifier: () => 'a session' }
        return [cookieParser('secret of the host'), doubleCsrf(options).doubleCsrfProtection]
      },
    ],
  ]
  const respond: ErrorRequestHandler = (_error, _req, res, _next) => {
    res.status(418).send('the host’s own page')
  }

  it.each(packages)(
    '(%s) before our router is named in the log, and the page has a reference',
    async (_name, pattern, create) => {
      await open({ middleware: create(), position: 'between', after: (app) => void app.use(respond) })
      const ada = new Visitor()
      await signIn({ portal, visitor: ada }, 'acme')
      expect(findings()).toEqual([[expect.stringMatching(pattern)]])

      const refused: { status: number; body: string }[] = []
      const notified = await notifyOfLogout()
      refused.push({ status: notified.status, body: await notified.text() })
      const grace = await startGrace()
      refused.push(await grace.post(at('/register'), { name: 'Grace' }), await ada.post(at('/logout')))
      await portal.sso.providers.update('acme', { responseMode: 'form_post' })
      refused.push(await signIn({ portal, visitor: new Visitor() }, 'acme'))
      for (const { status, body } of refused) {
        expect([status, body]).toEqual([500, expect.stringContaining('The portal is not set up correctly')])
        expect(body).not.toMatch(/csrf|middleware|router|node_modules/i)
        const [, reference] = /data-copy[^>]*>([A-Z0-9]{8})|>([A-Z0-9]{8})</.exec(body)?.filter(Boolean) ?? []
        const { level, fields } = portal.logs.find((line) => line.fields.reference === reference)!
        expect([level, fields]).toEqual([
          'error',
          { reference, code: 'misconfigured', cause: expect.stringMatching(pattern) },
        ])
      }
      // Nothing has changed, and the host still handles the errors of its own pages.
      expect(await portal.knex('sso_users').pluck('email')).toEqual(['ada@example.com'])
      expect(await isIn(ada)).toBe(true)
      expect(await ada.post(at('/note'))).toMatchObject({ status: 418, body: 'the host’s own page' })
    },
  )

  it.each(packages)(
    '(%s) after our router protects the host’s pages, and everything works',
    async (_name, _pattern, create) => {
      portal = await startPortalWithAda(provider, {
        mount(app, sso) {
          app.use(sso.session(), sso.router(), ...create())
          mountPages(app, sso)
        },
      })
      expect(await journey()).toEqual(complete)
      expect((await new Visitor().post(at('/note'))).status).toBe(403)
      expect(findings()).toEqual([])
    },
  )

  it('that refuses a post without an error is reported', async () => {
    const protect: RequestHandler = (req, res, next) => {
      if (req.method === 'POST') res.status(403).send('no token')
      else next()
    }
    await open({ middleware: [protect], position: 'between', mountPath: '/sso' })
    await new Visitor().post(at('/sso/login/acme/callback'), { state: 'x' })
    // Not ours: the classic login, and other pages.
    for (const path of ['/sso/login', '/login/acme/callback', '/note']) await new Visitor().post(at(path))
    const message = 'middleware before `sso.router()` refused a post to one of our pages'
    expect(portal.logs.filter((line) => line.message === message)).toEqual([
      {
        level: 'warn',
        message,
        fields: { reference: expect.any(String), status: 403, advice: 'mount `sso.router()` before it' },
      },
    ])
  })

  it('on other paths is not reported', async () => {
    portal = await startPortalWithAda(provider, {
      mount(app, sso) {
        app.use(sso.session())
        app.use('/api', csrfSync().csrfSynchronisedProtection)
        const nested = express.Router()
        nested.use(sso.router())
        app.use(nested)
        mountPages(app, sso)
      },
    })
    expect(await journey()).toEqual(complete)
    expect(findings()).toEqual([])
  })
})

describe('middleware that reads the form', () => {
  const consume: RequestHandler = (req, _res, next) => {
    if (req.method === 'POST') req.resume().once('end', next)
    else next()
  }

  it('without setting `req.body` is explained by page and log', async () => {
    await open({ middleware: [consume], position: 'between' })
    const grace = await startGrace()
    const seen = await grace.post(at('/register'), { name: 'Grace' })
    expect([seen.status, seen.body]).toEqual([
      500,
      expect.stringContaining('The portal is not set up correctly'),
    ])
    expect(portal.logs.at(-1)!.fields).toMatchObject({
      code: 'misconfigured',
      cause: expect.stringContaining('mount `sso.router()` before it'),
    })
    expect((await notifyOfLogout()).status).toBe(503)
    expect((await grace.post(at('/logout'), {}, { 'content-length': '0' })).status).toBe(303)
  })

  it('as JSON is explained by page and log', async () => {
    await open({ middleware: [express.json({ type: '*/*' })], position: 'between' })
    const grace = await startGrace()
    const seen = await grace.post(at('/register'), { name: 'Grace' })
    expect([seen.status, seen.body]).toEqual([400, expect.stringContaining('Reference')])
    expect(portal.logs.at(-1)!.fields.cause).toContain('middleware before `sso.router()` failed')
  })

  it.each([
    ['too long', [['name', 'x'.repeat(70_000)]]],
    ['of too many fields', Array.from({ length: 200 }, (_, at) => [`field.${at}`, 'x'])],
  ] as [string, [string, string][]][])('as bytes does not let a form %s through', async (_what, form) => {
    await open({ middleware: [express.raw({ type: '*/*' })], position: 'between' })
    const grace = await startGrace()
    expect((await grace.post(at('/register'), form)).status).toBe(400)
  })

  it('as bytes does not let a duplicate parameter through', async () => {
    await open({ middleware: [express.raw({ type: '*/*' })], position: 'between' })
    const fields: [string, string][] = [
      ['code', 'x'],
      ['state', 'a'],
      ['state', 'b'],
    ]
    expect((await new Visitor().post(at('/login/acme/callback'), fields)).status).toBe(400)
  })
})

describe('the host’s other middleware', () => {
  it('handles the errors of the host’s own pages below `/login`', async () => {
    const own = express.Router()
    const fail: RequestHandler = () => {
      throw new Error('a bug of the host')
    }
    own.get('/login/forgot-password', fail).post('/login/forgot-password', fail)
    const respond: ErrorRequestHandler = (error: Error, _req, res, _next) =>
      void res.status(418).send(error.message)
    await open({ middleware: [own], position: 'between', after: (app) => void app.use(respond) })
    const expected = { status: 418, body: 'a bug of the host' }
    expect(await new Visitor().get(at('/login/forgot-password'))).toMatchObject(expected)
    expect(await new Visitor().post(at('/login/forgot-password'))).toMatchObject(expected)
    expect(portal.logs.filter(({ message }) => message.startsWith('middleware before'))).toEqual([])
  })

  it('may run ours without Express, such as for the first WebSocket handshake after a restart', async () => {
    portal = await startPortalWithAda(provider, { mount() {} })
    const run = portal.sso.session() as (req: object, res: object, next: (error?: unknown) => void) => void
    const handshake = Object.assign(new IncomingMessage(new Socket()), { url: '/', method: 'GET' })
    const error = await new Promise((resolve) => run(handshake, {}, resolve))
    expect([error, (handshake as { session?: object }).session]).toEqual([undefined, expect.any(Object)])
  })

  it('may set `req.user` first: our user replaces it', async () => {
    const setUser: RequestHandler = (req, _res, next) => {
      req.user = { id: 'host', email: 'host@example.com' } as Express.User
      next()
    }
    await open({ middleware: [setUser], position: 'before' })
    const visitor = new Visitor()
    expect(await emailAt(visitor)).toBe('host@example.com')
    await signIn({ portal, visitor }, 'acme')
    expect(await emailAt(visitor)).toBe('ada@example.com')
  })

  it('sets headers that our pages replace with their own policy', async () => {
    await open({ middleware: [helmet()], position: 'before' })
    const { headers } = await new Visitor().get(at('/login'))
    expect(headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(headers.get('content-security-policy')).not.toContain(', ')
  })

  it('cannot replace our error pages by its error handler', async () => {
    await open({
      middleware: [],
      position: 'before',
      after: (app) =>
        void app.use(((_error, _req, res, _next) => res.status(418).end()) as ErrorRequestHandler),
    })
    const seen = await new Visitor().get(at('/login/unknown'))
    expect([seen.status, seen.body]).toEqual([404, expect.stringContaining('Reference')])
  })
})
