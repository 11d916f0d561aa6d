import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import type { Express } from 'express'
import session from 'express-session'
import fc from 'fast-check'
import knexModule, { type Knex } from 'knex'
import type { RedisClientType } from 'redis'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import { createPortalSso, type PortalSso, type PortalSsoOptions } from '../../lib/index.ts'
import { instanceNames } from '../../lib/web/core.ts'
import { acmeInput, startPortal, type TestPortal, testSecret } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { ada, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let redis: RedisClientType
beforeAll(async () => {
  redis = await connectRedis()
})
afterAll(() => redis.close())

type Name = 'staff' | 'customers'

interface Both extends Record<Name, PortalSso> {
  portal: TestPortal
}

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

interface Stores {
  withRedis?: boolean
  /** for the customers, too */
  oneDatabase?: boolean
}

/** Starts an app with two instances, which have one secret, and both connect the provider. The host mounts them. */
async function startBoth(
  mount: (app: Express, both: Record<Name, PortalSso>) => void,
  { withRedis = true, oneDatabase = true }: Stores = {},
  options: Partial<PortalSsoOptions> = {},
): Promise<Both> {
  const store = withRedis ? { redis } : {}
  const portal = await startPortal({ mount() {}, mountPath: '/staff', ...store, ...options })
  const otherDatabase = oneDatabase ? undefined : knexModule(sqliteConfig(':memory:'))
  const customers = await createPortalSso({
    baseUrl: portal.url,
    mountPath: '/customers',
    secret: testSecret,
    database: otherDatabase ?? portal.knex,
    outbound: { allowedAddresses: ['127.0.0.0/8'] },
    rateLimits: false,
    logger: { info() {}, warn() {}, error() {} },
    ...store,
    ...options,
    session: { userCacheSeconds: 0, ...options.session },
  })
  closing.push(
    () => portal.close(),
    () => otherDatabase?.destroy(),
    () => customers.close(),
  )
  const staff = portal.sso
  for (const sso of oneDatabase ? [staff] : [staff, customers]) {
    await sso.providers.connect(acmeInput(provider))
    await sso.users.create(ada)
  }
  mount(portal.app, { staff, customers })
  return { portal, staff, customers }
}

/** Each instance and its page below its own path. */
function mountSeparately(app: Express, both: Record<Name, PortalSso>): void {
  for (const name of ['staff', 'customers'] as const) {
    const sso = both[name]
    app.use(`/${name}`, sso.session(), sso.router())
    app.get(`/${name}/home`, sso.guard(), (req, res) => void res.send(`home of ${userOf(req)}`))
  }
}

const userOf = ({ user }: { user?: unknown }): string =>
  (user as { email?: string } | undefined)?.email ?? 'nobody'

async function signIn({ portal }: Both, visitor: Visitor, name: Name): Promise<void> {
  const seen = await visitor.open(`${portal.url}/${name}/login/acme?returnTo=/${name}/home`)
  expect(seen).toMatchObject({ status: 200, body: 'home of ada@example.com' })
}

/** 200 with a session of this instance, 302 to its login page without one. */
async function statusOf({ portal }: Both, visitor: Visitor, name: Name): Promise<number> {
  return (await visitor.get(`${portal.url}/${name}/home`)).status
}

describe.each([
  { title: 'one Redis and one database', withRedis: true, oneDatabase: true },
  { title: 'one Redis and two databases', withRedis: true, oneDatabase: false },
  { title: 'sessions in the process and one database', withRedis: false, oneDatabase: true },
])('two instances in one app, with $title', ({ title: _, ...stores }) => {
  it('keep their sessions side by side', async () => {
    const both = await startBoth(mountSeparately, stores)
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    expect(await statusOf(both, visitor, 'customers')).toBe(302)
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
    await signIn(both, visitor, 'customers')
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
    expect(await statusOf(both, visitor, 'customers')).toBe(200)
    expect(await both.portal.knex('sso_sessions')).toHaveLength(stores.oneDatabase ? 2 : 1)
  })

  it('sign out one at a time', async () => {
    const both = await startBoth(mountSeparately, stores)
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    await signIn(both, visitor, 'customers')
    await visitor.post(`${both.portal.url}/customers/logout`)
    expect(await statusOf(both, visitor, 'customers')).toBe(302)
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
  })

  it('finish a sign-in that was pending while the other one started and finished its own', async () => {
    const both = await startBoth(mountSeparately, stores)
    const visitor = new Visitor()
    const { url } = both.portal
    const pending = await visitor.get(`${url}/customers/login/acme?returnTo=/customers/home`)
    await signIn(both, visitor, 'staff')
    expect(await visitor.follow(pending)).toMatchObject({ status: 200, url: `${url}/customers/home` })
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
  })

  it('refuse the session cookie of the other one under their own name, and leave its session alone', async () => {
    const both = await startBoth(mountSeparately, stores)
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    const jar = visitor.cookies.get(both.portal.url)!
    jar.set('portal-sso.customers', jar.get('portal-sso.staff')!)
    expect(await statusOf(both, visitor, 'customers')).toBe(302)
    await visitor.post(`${both.portal.url}/customers/logout`)
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
  })
})

describe('two instances in one app', () => {
  it('refuse the pending sign-in of the other one under their own name', async () => {
    const both = await startBoth(mountSeparately)
    const visitor = new Visitor()
    const { url } = both.portal
    const started = await visitor.get(`${url}/customers/login/acme`)
    const response = new URL((await visitor.get(started.location!)).location!)
    const jar = visitor.cookies.get(url)!
    const [name] = [...jar.keys()].filter((each) => each.startsWith('portal-sso.customers.attempt-'))
    jar.set(name!.replace('customers', 'staff'), jar.get(name!)!)
    response.pathname = '/staff/login/acme/callback'
    expect((await visitor.open(response.href)).status).toBe(400)
    expect(await statusOf(both, visitor, 'staff')).toBe(302)
  })

  it('have no cookie and no Redis key in common', async () => {
    const before = new Set(await redis.keys('*'))
    const both = await startBoth(mountSeparately, {}, { rateLimits: {} })
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    await signIn(both, visitor, 'customers')
    // Counts of codes are sent at once, and all others with them.
    for (const name of ['staff', 'customers']) await visitor.post(`${both.portal.url}/${name}/register/code`)
    await visitor.post(`${both.portal.url}/staff/logout`)
    const names = visitor.cookieNames(both.portal.url).map((name) => name.replace(/(?<=attempt-).*/, ''))
    const kinds = ['', '.attempt-', '.last-provider']
    const expected = ['staff', 'customers'].flatMap((name) =>
      kinds.map((kind) => `portal-sso.${name}${kind}`),
    )
    expect(new Set(names)).toEqual(
      new Set([...expected, 'portal-sso.staff.logout', 'portal-sso.staff.signed-out']),
    )
    const keys = (await redis.keys('*')).filter((key) => !before.has(key) && /^portal-sso\./.test(key))
    const kindsOf = (name: Name) =>
      keys.filter((key) => key.startsWith(`portal-sso.${name}:`)).map((key) => key.split(':')[1])
    expect(kindsOf('staff')).toEqual(expect.arrayContaining(['{limit}', 'redeemed']))
    expect(kindsOf('customers')).toEqual(expect.arrayContaining(['{limit}', 'redeemed', 'session']))
  })

  it('share the room for pending sign-ins in the Cookie header, and delete only their own', async () => {
    const both = await startBoth(mountSeparately)
    const visitor = new Visitor()
    const { url } = both.portal
    const names = () => visitor.cookieNames(url)
    for (let tab = 0; tab < 8; tab++) await visitor.get(`${url}/customers/login/acme`)
    const customers = names()
    for (let tab = 0; tab < 8; tab++) await visitor.get(`${url}/staff/login/acme`)
    expect(names()).toEqual(expect.arrayContaining(customers))
    expect(names()).toHaveLength(customers.length + 1)
    const header = [...visitor.cookies.get(url)!].map((pair) => pair.join('=')).join('; ')
    expect(header.length).toBeLessThan(4000)
  })

  it('list each other’s sessions of one portal, and end them', async () => {
    const both = await startBoth(mountSeparately)
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    await signIn(both, visitor, 'customers')
    const user = await both.staff.users.findByEmail(ada.email)
    for (const name of ['staff', 'customers'] as const)
      expect(await both[name].sessions.list({ userId: user!.id })).toHaveLength(2)
    expect(await both.staff.sessions.endAll({ userId: user!.id })).toBe(2)
    for (const name of ['staff', 'customers'] as const) expect(await statusOf(both, visitor, name)).toBe(302)
  })

  it.each([
    ['staff', 'customers'],
    ['customers', 'staff'],
  ] as const)('can both run on every request, %s first', async (first, second) => {
    const admins: string[] = []
    const both = await startBoth((app, { [first]: one, [second]: two }) => {
      const all = [
        [first, one],
        [second, two],
      ] as const
      for (const [, sso] of all) app.use(sso.session())
      for (const [name, sso] of all) {
        app.use(`/${name}`, sso.router())
        app.get(`/${name}/home`, sso.guard(), (req, res) => {
          Object.assign(req.session, { seenBy: name })
          res.send(`home of ${userOf(req)}`)
        })
        app.get(`/${name}/seen`, sso.guard(), (req, res) => void res.json(req.session))
        app.use(
          `/${name}/admin`,
          sso.admin({ authorize: (req) => admins.push(`${name}: ${userOf(req)}`) < 0 }),
        )
      }
    })
    const visitor = new Visitor()
    const { url } = both.portal
    await signIn(both, visitor, first)
    expect(await statusOf(both, visitor, second)).toBe(302)
    for (const name of [first, second]) await visitor.get(`${url}/${name}/admin`)
    expect(admins).toEqual([`${first}: ada@example.com`, `${second}: nobody`])
    await signIn(both, visitor, second)
    for (const name of [first, second])
      expect(JSON.parse((await visitor.get(`${url}/${name}/seen`)).body)).toMatchObject({ seenBy: name })
    await visitor.post(`${url}/${first}/logout`)
    expect(await statusOf(both, visitor, first)).toBe(302)
    expect(await statusOf(both, visitor, second)).toBe(200)
  })

  it('start the session of the instance whose gate the password has passed', async () => {
    const both = await startBoth((app, { staff, customers }) => {
      app.use(staff.session(), customers.session())
      mountSeparately(app, { staff, customers })
      app.post('/password', staff.classicLoginGate(), async (req, res, next) => {
        const user = await staff.users.findByEmail(ada.email)
        req.login(user as Express.User, (error: unknown) => (error ? next(error) : res.send('signed in')))
      })
    })
    await both.staff.providers.disable('acme')
    const visitor = new Visitor()
    expect((await visitor.post(`${both.portal.url}/password`)).body).toBe('signed in')
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
    expect(await statusOf(both, visitor, 'customers')).toBe(302)
  })

  it('admit no user of the other one where their own session is not mounted', async () => {
    const both = await startBoth((app, { staff, customers }) => {
      app.use(staff.session())
      app.use('/staff', staff.router())
      app.get('/staff/home', staff.guard(), (req, res) => void res.send(`home of ${userOf(req)}`))
      app.get('/customers/home', customers.guard(), (_req, res) => void res.send('in'))
    })
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    expect(await statusOf(both, visitor, 'customers')).toBe(500)
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
  })

  it('show no user of the other one to `authorize`, and start no session of it, where their own is not mounted', async () => {
    const seen: string[] = []
    const both = await startBoth((app, { staff, customers }) => {
      app.use(staff.session())
      mountSeparately(app, { staff, customers })
      app.use('/admin', customers.admin({ authorize: (req) => seen.push(userOf(req)) > 0 }))
      app.post('/password', customers.classicLoginGate(), (req, res, next) => {
        req.login({ id: 'of a customer' } as Express.User, (error: unknown) => {
          if (error) next(error)
          else res.send('signed in')
        })
      })
    })
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    const { knex, url } = both.portal
    expect([(await visitor.get(`${url}/admin`)).status, seen]).toEqual([500, []])
    await both.staff.providers.disable('acme')
    expect((await visitor.post(`${url}/password`)).status).toBe(500)
    expect(await knex('sso_sessions').where({ user_id: 'of a customer' })).toEqual([])
  })

  it('with one `session.prefix` keep their sessions apart, too', async () => {
    const both = await startBoth(
      (app, instances) => {
        app.use(instances.staff.session())
        mountSeparately(app, instances)
      },
      {},
      { session: { prefix: 'both:' } },
    )
    const visitor = new Visitor()
    await signIn(both, visitor, 'staff')
    expect(await statusOf(both, visitor, 'customers')).toBe(302)
    await signIn(both, visitor, 'customers')
    await visitor.post(`${both.portal.url}/customers/logout`)
    expect(await statusOf(both, visitor, 'staff')).toBe(200)
  })

  it('admit no user of one that another copy of this package has created', async () => {
    const both = await startBoth((app, { staff }) => {
      app.use(session({ secret: 'of the host', resave: false, saveUninitialized: false }))
      app.use((req, _res, next) => {
        const user = { portalSso: 1, instance: 'of another copy', portal: 'default', userId: '1' }
        Object.assign(req.session, { passport: { user } })
        req.user = { id: '1', email: 'of another copy' } as Express.User
        next()
      })
      app.get('/staff/home', staff.session({ own: true }), staff.guard(), (_req, res) => void res.send('in'))
    })
    expect(await statusOf(both, new Visitor(), 'staff')).toBe(302)
  })

  it('leave the session of the host’s own express-session alone', async () => {
    const both = await startBoth((app, instances) => {
      const own = session({ secret: 'of the host', name: 'hosts', resave: false, saveUninitialized: false })
      mountSeparately(app, instances)
      app.use(own)
      app.get('/cart', (req, res) => {
        const cart = req.session as unknown as { items?: number }
        cart.items = (cart.items ?? 0) + 1
        res.send(String(cart.items))
      })
    })
    const visitor = new Visitor()
    const cart = async () => (await visitor.get(`${both.portal.url}/cart`)).body
    expect(await cart()).toBe('1')
    await signIn(both, visitor, 'staff')
    await signIn(both, visitor, 'customers')
    await visitor.post(`${both.portal.url}/staff/logout`)
    expect(await cart()).toBe('2')
    expect(await statusOf(both, visitor, 'customers')).toBe(200)
  })

  it.each([
    { title: 'own prefixes', options: {} },
    { title: 'one `session.prefix`', options: { session: { prefix: 'both:' } } },
  ])(
    'with $title refuse to share one express-session of the host, and say what to mount',
    async ({ options }) => {
      const logs: unknown[] = []
      const log = (fields: object) => void logs.push(fields)
      const both = await startBoth(
        (app, { staff, customers }) => {
          app.use(session({ secret: 'of the host', name: 'hosts', resave: false, saveUninitialized: false }))
          for (const [name, sso] of Object.entries({ staff, customers })) {
            app.use(`/${name}`, sso.session({ own: true }), sso.router())
            app.get(`/${name}/home`, sso.guard(), (req, res) => void res.send(`home of ${userOf(req)}`))
          }
        },
        {},
        { logger: { info: log, warn: log, error: log }, ...options },
      )
      const visitor = new Visitor()
      await signIn(both, visitor, 'staff')
      expect(await statusOf(both, visitor, 'customers')).toBe(500)
      expect(logs.at(-1)).toMatchObject({
        cause: expect.stringContaining(
          'two instances share your express-session: mount `sso.session()` of each',
        ),
      })
      expect(await statusOf(both, visitor, 'staff')).toBe(200)
    },
  )
})

describe('the names of an instance', () => {
  const namesOf = (mountPath: string, options: { cookieName?: string; prefix?: string } = {}) =>
    instanceNames({ mountPath, secure: true, session: options })

  it('are readable', () => {
    const { cookieName, prefix } = namesOf('/')
    expect([cookieName(), cookieName('logout'), prefix]).toEqual([
      '__Host-portal-sso',
      '__Host-sso-logout',
      'portal-sso:',
    ])
    const staff = namesOf('/a/b')
    expect([staff.cookieName(), staff.cookieName('logout'), staff.prefix]).toEqual([
      '__Host-portal-sso.a~b',
      '__Host-portal-sso.a~b.logout',
      'portal-sso.a~b:',
    ])
  })

  it('are legal, short, and different for every mount path', () => {
    const path = fc
      .array(
        fc.oneof(
          fc.constantFrom('a', 'b', '/', '-', '.', '~', '%', '!', ';', '=', 'é', '\ud800'),
          fc.string(),
        ),
        {
          minLength: 1,
        },
      )
      .map((parts) => `/${parts.join('')}`)
    const names = (mountPath: string) => {
      const { cookieName, prefix } = namesOf(mountPath)
      return [cookieName(), cookieName('logout'), cookieName('attempt-'), prefix]
    }
    fc.assert(
      fc.property(path, path, (one, other) => {
        for (const name of names(one).slice(0, 3)) expect(name).toMatch(/^[\w!%.~-]{1,70}$/)
        if (one !== other) expect(names(one).filter((name) => names(other).includes(name))).toEqual([])
      }),
    )
    expect(names('/a/b').filter((name) => names('/a-b').includes(name))).toEqual([])
    expect(names('/a/logout').filter((name) => names('/a').includes(name))).toEqual([])
  })

  it('come from the options, also for keys that another instance must not have', () => {
    const { cookieName, prefix, keyScope } = namesOf('/', { cookieName: 'north', prefix: 'n:' })
    expect([cookieName(), cookieName('logout'), prefix]).toEqual([
      '__Host-north',
      '__Host-north.logout',
      'n:',
    ])
    const scopes = [
      namesOf('/'),
      namesOf('/a'),
      namesOf('/', { prefix: 'n:' }),
      namesOf('/', { cookieName: 'n' }),
    ]
    expect(new Set([keyScope, ...scopes.map((each) => each.keyScope)]).size).toBe(5)
  })

  it.each([
    [{ cookieName: '__Host-a' }, /session\.cookieName: write 1 to 40 letters.*`__Host-` is added on https/],
    [{ cookieName: 'a b' }, /session\.cookieName: write 1 to 40 letters/],
    [{ cookieName: 'sso-logout' }, /session\.cookieName: .*neither `sso-`/],
    [{ prefix: '' }, /session\.prefix: write 1 to 100 ASCII characters without spaces/],
  ])('are refused in %j', async (options, message) => {
    const knex: Knex = knexModule(sqliteConfig(':memory:'))
    closing.push(() => knex.destroy())
    const common = { baseUrl: 'http://localhost', secret: testSecret, database: knex }
    await expect(createPortalSso({ ...common, session: options })).rejects.toThrow(message)
  })
})
