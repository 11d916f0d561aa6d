import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { knexSnakeCaseMappers } from 'objection'
import { openDatabase } from '../../lib/database/migrate.ts'
import { everyEmptyDatabase, type FreshDatabase, freshPostgres } from '../support/databases.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { mountDefault, startPortal } from '../support/portal.ts'
import { ada, signIn, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const logger = { info() {}, warn() {}, error() {} }

const provider = await useProvider()
const longAgo = '2020-01-01T00:00:00.000Z'

let database: FreshDatabase
let open: Knex[]

function useFresh(fresh: () => Promise<FreshDatabase>): void {
  beforeEach(async () => {
    database = await fresh()
    open = []
  })
  afterEach(async () => {
    await Promise.all(open.map((each) => each.destroy()))
    await database.drop()
  })
}

function connect(more: Knex.Config = {}): Knex {
  const knex = knexModule({ ...database.config, ...more })
  open.push(knex)
  return knex
}

/** Changes the keys of all rows in a result. */
const mapKeys = (map: (key: string) => string): NonNullable<Knex.Config['postProcessResponse']> =>
  function mapped(result: unknown): unknown {
    if (Array.isArray(result)) return result.map(mapped)
    if (typeof result !== 'object' || result === null) return result
    return Object.fromEntries(Object.entries(result).map(([key, value]) => [map(key), value]))
  }

const mappers: [name: string, mappers: Knex.Config][] = [
  ['the mappers of objection', knexSnakeCaseMappers()],
  ['objection’s mappers to upper case', knexSnakeCaseMappers({ upperCase: true })],
  [
    'its own mapper of results',
    {
      postProcessResponse: mapKeys((key) =>
        key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
      ),
    },
  ],
  [
    'its own mapper of names',
    {
      wrapIdentifier: (name, quote) => quote(`app_${name}`),
      postProcessResponse: mapKeys((key) => key.replace(/^app_/, '')),
    },
  ],
]

/** Everything that reads or writes a table: sign-in, registration, account, logout token, admin pages, maintenance. */
async function runPortal(host: Knex): Promise<void> {
  const portal = await startPortal({
    database: host,
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
    },
  })
  try {
    const { sso, url } = portal
    await portal.connect(provider, { trustsEmail: true, emailDomains: ['example.com'] })
    await sso.providers.update('acme', { displayName: 'Acme International' })
    await sso.users.create(ada)
    const visitor = new Visitor()
    const seen = await signIn({ portal, visitor }, 'acme')
    expect(JSON.parse(seen.body).user).toMatchObject({ email: ada.email, active: true })
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true, sid: 'session' }
    const grace = new Visitor()
    await signIn({ portal, visitor: grace }, 'acme')
    const registered = await grace.follow(await grace.post(`${url}/register`, { name: 'Grace Hopper' }))
    expect(JSON.parse(registered.body).user).toMatchObject({ name: 'Grace Hopper' })
    expect((await visitor.get(`${url}/account/security`)).body).toContain('Acme International')
    for (const path of ['', '/acme', '/sessions', '/events']) {
      const page = await visitor.get(`${url}/admin/sso${path}`)
      expect([path, page.status]).toEqual([path, 200])
    }
    expect(await sso.sessions.count({ provider: 'acme' })).toBe(2)
    const body = new URLSearchParams({ logout_token: await signLogoutToken(provider, { sid: 'session' }) })
    expect((await fetch(`${url}/logout/acme/backchannel`, { method: 'POST', body })).status).toBe(200)
    expect((await grace.get(`${url}/portal`)).status).toBe(302)
    const plain = connect()
    expect(await plain('sso_sessions').pluck('user_id')).toEqual([expect.any(String)])
    await plain('sso_sessions').update({ expires_at: longAgo })
    await sso.runMaintenance()
    expect(await plain('sso_sessions')).toEqual([])
    expect(
      portal.logs.filter(({ level, message }) => level !== 'info' && !message.startsWith('SESSIONS')),
    ).toEqual([])
  } finally {
    await portal.close()
  }
}

describe.each(everyEmptyDatabase)('a host whose Knex has mappers, on %s,', (name, fresh) => {
  useFresh(fresh)

  it.each(name === 'SQLite' ? mappers : mappers.slice(0, 1))(
    'can run a portal: %s',
    async (_what, config) => {
      const host = connect(config)
      // As a host that logs its statements, and how long they take.
      const running = new Set<unknown>()
      const unmatched: unknown[] = []
      const key = (query: Record<string, unknown>) => `${query.__knexUid} ${query.__knexQueryUid}`
      host.on('query', (query) => running.add(key(query)))
      host.on('query-response', (_response, query, builder: Knex.Raw) => {
        builder.toSQL()
        if (!running.delete(key(query))) unmatched.push(query)
      })
      await runPortal(host)
      expect(unmatched).toEqual([])
      // The host's own names are still mapped, and its pool is open.
      await host.schema.createTable('invoices', (table) => table.string('paidAt'))
      await host('invoices').insert({ paidAt: longAgo })
      expect(await host('invoices').select('paidAt')).toEqual([{ paidAt: longAgo }])
    },
  )

  it('shares its pool and its listeners with the portal', async () => {
    const host = connect(knexSnakeCaseMappers())
    const statements: string[] = []
    host.on('query', ({ sql }: { sql: string }) => statements.push(sql))
    const { close, knex } = await openDatabase({ database: host, migrate: true, logger })
    expect(knex.client.pool).toBe(host.client.pool)
    statements.length = 0
    await knex.transaction(async (transaction) => {
      expect(host.client.pool.numUsed()).toBe(1)
      await transaction('sso_users').select('created_at')
    })
    expect(statements.filter((sql) => sql.includes('created_at'))).toHaveLength(1)
    await close()
    expect(await host('sso_users').select('createdAt')).toEqual([])
    await host.destroy()
    host.initialize()
    expect(await knex('sso_users').select('created_at')).toEqual([])
  })
})

describe('a Knex configuration of the host', () => {
  useFresh(freshPostgres)

  it('may have mappers, a search path, a small pool, an alias of the client and stack traces', async () => {
    const admin = connect()
    await admin.raw('create schema app')
    const config: Knex.Config = {
      ...database.config,
      ...knexSnakeCaseMappers(),
      client: 'postgresql',
      searchPath: ['app'],
      pool: { min: 0, max: 1 },
      asyncStackTraces: true,
      acquireConnectionTimeout: 5000,
    }
    database.config = { ...database.config, searchPath: ['app'] }
    const host = knexModule(config)
    open.push(host)
    await runPortal(host)
    const { close, knex } = await openDatabase({ database: config, migrate: false, logger })
    expect(await knex('sso_users').pluck('email').orderBy('email')).toEqual([ada.email, 'grace@example.com'])
    await close()
    await expect(knex.raw('select 1')).rejects.toThrow('Unable to acquire a connection')
  })
})
