import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { HistoryApi } from '../../lib/events/event-history.ts'
import type { EventKind } from '../../lib/index.ts'
import { everyDatabase } from '../support/databases.ts'
import type { FaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { copyProvider } from '../support/providers.ts'
import { ada, signIn, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const maxRows = 1100

/** Statements that read more rows, and why. */
const exceptions: [RegExp, why: string][] = [
  [
    /lower\(display_name\) like/,
    'no index finds a part of a name, so a search reads the providers of one portal',
  ],
  [
    /then 1 else 0 end, show_on_picker desc/,
    'the providers for a domain come first, so this reads those of one portal',
  ],
  [
    /from "sso_providers" where ("removed_at" is null and )?"(retire_at|removed_at|client_secret_expires_at)" </,
    'once a minute',
  ],
  [/^select max\("position"\)/, 'an administrator connects a provider'],
  [/^update "sso_providers" set "position" = case/, 'an administrator moves a provider before others'],
  [/lower\(name\) like/, 'no index finds a part of a name, so a search reads the users of one portal'],
]

/** The tables are large enough for PostgreSQL to prefer an index, and to notice if a statement reads them. */
const sizes = { providers: 3000, people: 20_000, events: 60_000, sessions: 10_000, tokens: 10_000 }

const provider: FaultyProvider = await useProvider()
let knex: Knex
let drop: () => Promise<void>
let portal: TestPortal
const admin = new Visitor({ 'x-admin': 'yes' })
const visitor = new Visitor()
/** Values by statement. */
const sent = new Map<string, readonly unknown[]>()

interface Connection {
  query(
    statement: string | { text: string },
    ...more: unknown[]
  ): Promise<{ rows: Record<string, unknown>[] }>
}

/** Records every statement on its way to the server, also raw ones, but no inserts: those of one row read nothing. */
function record(connection: Connection): void {
  const query = connection.query.bind(connection)
  connection.query = (statement, ...more) => {
    const { text, values = more.find(Array.isArray) } =
      typeof statement === 'string'
        ? { text: statement }
        : (statement as { text: string; values?: unknown[] })
    if (/^(?:select|update|delete|with)\b.*\bsso_/is.test(text)) sent.set(text, values ?? [])
    return query(statement, ...more)
  }
}

beforeAll(async () => {
  const [, fresh] = everyDatabase.find(([name]) => name === 'PostgreSQL')!
  const database = await fresh()
  drop = database.drop
  const afterCreate = (connection: Connection, done: () => void) => {
    record(connection)
    done()
  }
  knex = knexModule({ ...database.config, pool: { min: 0, max: 10, afterCreate } })
  portal = await startPortal({
    database: knex,
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: (req) => req.get('x-admin') === 'yes' }))
    },
  })
  await portal.connect(provider)
  await portal.sso.users.create(ada)
  await signIn({ portal, visitor }, 'acme')
  await fill()
}, 60_000)

afterAll(async () => {
  await portal.close()
  await knex.destroy()
  await drop()
})

/** Half of the rows belong to `acme`, which is skewed: its plans are not those of an average provider. */
async function fill(): Promise<void> {
  const [{ id: acmeId, issuer }] = await knex('sso_providers').select('id', 'issuer')
  await copyProvider(knex, 'acme', sizes.providers)
  const time = (back: string) => `to_char(timestamp '2026-01-01' + ${back}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
  const later = "'2099-01-01T00:00:00.000Z'"
  const series = (count: number) => `generate_series(1, ${count}) n`
  const half = (acme: string, other: string) => `case when n % 2 = 0 then ${acme} else ${other} end`
  const slug = half("'acme'", `'p' || n % ${sizes.providers}`)
  const statements = [
    `update sso_providers set issuer = 'https://' || slug || '.example' where slug <> 'acme'`,
    `insert into sso_users (id, portal, email, name, active, fields, created_at)
     select 'u' || n, 'default', 'u' || n || '@example.com', 'User', true, '{}', '' from ${series(sizes.people)}`,
    `insert into sso_identities (id, portal, user_id, provider_id, issuer, subject, linked_at, last_used_at)
     select 'i' || n, 'default', 'u' || n, ${half(`'${acmeId}'`, `'acme-' || n % ${sizes.providers}`)},
       ${half(`'${issuer}'`, `'https://p' || n % ${sizes.providers} || '.example'`)}, 's' || n,
       '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z' from ${series(sizes.people)}`,
    // `retired` has old events only, and one user has half of the events.
    `insert into sso_events (id, portal, at, kind, user_id, provider, reference, detail)
     select gen_random_uuid()::text, 'default', ${time("n * interval '1 minute'")},
       case when n % 10 = 0 then 'sign-in-failed' else 'signed-in' end, ${half("'u1'", "'u' || n")},
       case when n < 100 then 'retired' else ${slug} end,
       case when n % 10 = 0 then 'R' || n end, '{}' from ${series(sizes.events)}`,
    `insert into sso_sessions (id, portal, user_id, provider_id, provider, issuer, subject, sid, session, created_at, last_seen_at, expires_at)
     select 'x' || n, 'default', 'u' || n, '${acmeId}', ${slug}, '${issuer}', 's' || n, 'sid' || n, '', ${later}, ${later}, ${later}
     from ${series(sizes.sessions)}`,
    `insert into sso_logout_tokens (id, portal, issuer, subject, sid, received_at, expires_at)
     select 't' || n, 'default', '${issuer}', ${half("'s' || n", 'null')}, 'sid' || n, ${later}, ${later}
     from ${series(sizes.tokens)}`,
    'analyze',
  ]
  for (const statement of statements) await knex.raw(statement)
}

interface PlanNode {
  /** absent for a node that reads no table itself */
  'Relation Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  Plans?: PlanNode[]
}

/** The rows that a plan reads from tables. */
function rowsRead(node: PlanNode): number {
  const own = node['Relation Name']
    ? (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']
    : 0
  return own + (node.Plans ?? []).reduce((sum, child) => sum + rowsRead(child), 0)
}

/** Runs a statement in a transaction that is rolled back. */
async function explain(text: string, values: readonly unknown[]): Promise<number> {
  const connection: Connection = await knex.client.acquireConnection()
  try {
    await connection.query('begin')
    const { rows } = await connection.query(`explain (analyze, timing off, format json) ${text}`, values)
    const [{ Plan }] = rows[0]!['QUERY PLAN'] as [{ Plan: PlanNode }]
    return rowsRead(Plan)
  } finally {
    await connection.query('rollback')
    await knex.client.releaseConnection(connection)
  }
}

/** The statements of an action that read more rows than allowed, without the exceptions. */
async function unboundedIn(act: () => Promise<unknown>): Promise<[rows: number, text: string][]> {
  sent.clear()
  await act()
  const statements = [...sent]
  expect(statements.length).toBeGreaterThan(0)
  const unbounded: [number, string][] = []
  for (const [text, values] of statements) {
    if (exceptions.some(([pattern]) => pattern.test(text))) continue
    const rows = await explain(text, values)
    if (rows > maxRows) unbounded.push([rows, text])
  }
  return unbounded
}

const page = async (path: string) => {
  const seen = await admin.get(`${portal.url}/admin/sso${path}`)
  expect([path, seen.status]).toEqual([path, 200])
  return seen.body
}

describe('with many rows in PostgreSQL, at most 1,100 are read by', () => {
  it('a sign-in, the guarded page, the login page and a sign-out', async () => {
    expect(
      await unboundedIn(async () => {
        const browser = new Visitor()
        await browser.get(`${portal.url}/login`)
        await browser.get(`${portal.url}/login?email=ada@example.com`)
        await signIn({ portal, visitor: browser }, 'acme')
        expect((await browser.get(`${portal.url}/portal`)).status).toBe(200)
        await browser.get(`${portal.url}/login/initiate?iss=https://nowhere.example`)
        await browser.post(`${portal.url}/logout`)
      }),
    ).toEqual([])
  })

  it('the account page', async () => {
    expect(
      await unboundedIn(async () => {
        const { body } = await visitor.get(`${portal.url}/account/security/add`)
        expect(body.match(/name="provider"/g)).toHaveLength(50)
        expect(body).toContain('role="search"')
        const found = await visitor.get(`${portal.url}/account/security/add?q=Company 2999`)
        expect(found.body.match(/name="provider"/g)).toHaveLength(1)
      }),
    ).toEqual([])
  })

  it('the admin pages', async () => {
    expect(
      await unboundedIn(async () => {
        const list = await page('/')
        expect(list.match(/class="admin-row"/g)).toHaveLength(50)
        const [, next = ''] = /href="\/admin\/sso(\/\?[^"]*)">Next page/.exec(list) ?? []
        expect(await page(next)).toContain('href="/admin/sso/p50"')
        expect((await page('/?q=company 2999')).match(/class="admin-row"/g)).toHaveLength(1)
        expect(await page('/?q=nothing')).toContain('No provider found')
        const acme = await page('/acme')
        expect(acme).toContain('<dd>100 or more</dd>')
        expect(acme).toContain('<dd>1,000 or more</dd>')
        expect(acme).toContain('href="/admin/sso/acme?count=all#use"')
        await page('/p1')
        await page('/new/generic')
        expect(await page('/events?provider=acme')).toContain('<input class="sso-input" id="field-provider"')
        expect((await page('/sessions')).match(/<option/g)).toHaveLength(50)
        const sessions = await page('/sessions?provider=acme')
        expect(sessions).toContain('More than 1,000 active sessions')
        const [, older = ''] = /href="\/admin\/sso(\/sessions\?[^"]*)">Older/.exec(sessions) ?? []
        expect(await page(older.replaceAll('&amp;', '&'))).toContain('>Newest</a>')
        expect((await page('/sessions')).match(/<time/g)).toHaveLength(100)
        await page('/sessions?user=u1')
        await admin.post(`${portal.url}/admin/sso/sessions`, { user: 'u77@example.com' })
        await admin.post(`${portal.url}/admin/sso/p9/move`, { position: '40' })
        await admin.post(`${portal.url}/admin/sso/p9/move`, { direction: 'up', from: 'list' })
      }),
    ).toEqual([])
  })

  it('counting all users and sessions of a provider, only where an administrator asks for it', async () => {
    const users = sizes.people / 2 + 1
    expect(await page('/acme?count=all')).toContain(`<dd>${users.toLocaleString('en')}</dd>`)
    expect(await page('/acme/disable')).toContain(`<dd>${users.toLocaleString('en')}</dd>`)
  })

  it('any combination of filters of the event log', async () => {
    const history = new HistoryApi({ knex })
    const [first, last] = ['2026-01-01T00:00:00.000Z', '2026-01-20T00:00:00.000Z']
    for (const kind of [undefined, 'sign-in-failed' as EventKind])
      for (const provider of [undefined, 'retired', 'acme'])
        for (const userId of [undefined, 'u1', 'u77'])
          for (const reference of [undefined, 'R40', 'none'])
            for (const to of [undefined, last]) {
              const filter = { kind, provider, userId, reference, from: first, to }
              const unbounded = await unboundedIn(async () => {
                const { next } = await history.list(filter)
                if (next) await history.list({ ...filter, before: next })
              })
              expect([filter, unbounded]).toEqual([filter, []])
            }
  })

  it('the maintenance', async () => {
    expect(await unboundedIn(() => portal.sso.runMaintenance())).toEqual([])
  })
})

const sqliteExceptions: typeof exceptions = [
  [/from "sso_session_endings"/, 'it has rows only while sessions end'],
  [
    /^delete from "sso_provider_(health|logos)"/,
    'once a minute, and they have at most one row for each provider',
  ],
]

/**
 * The statements that SQLite would run without an index, or by the index of the portal alone, although nothing ends them early. Without
 * statistics it takes a portal for a handful of rows.
 */
async function unindexedIn(
  database: Knex,
  act: () => Promise<unknown>,
): Promise<[plan: string, sql: string][]> {
  const statements = new Map<string, Knex.Value[]>()
  const listen = ({ sql, bindings = [] }: { sql: string; bindings?: Knex.Value[] }) => {
    if (/^(?:select|update|delete)\b.*\bsso_/is.test(sql)) statements.set(sql, bindings)
  }
  database.on('query', listen)
  await act()
  database.removeListener('query', listen)
  expect(statements.size).toBeGreaterThan(30)
  const found: [string, string][] = []
  for (const [sql, bindings] of statements) {
    if ([...exceptions, ...sqliteExceptions].some(([pattern]) => pattern.test(sql.replaceAll('`', '"'))))
      continue
    const plan: { detail: string }[] = await database.raw(`explain query plan ${sql}`, bindings)
    for (const { detail } of plan)
      if (
        /^SCAN sso_(?!.*USING INDEX)/.test(detail) ||
        (/\(portal=\?\)$/.test(detail) && !/\blimit\b/.test(sql))
      )
        found.push([detail, sql])
  }
  return found
}

it('SQLite reads by an index what a sign-in, the pages and the maintenance need', async () => {
  const [, fresh] = everyDatabase.find(([name]) => name === 'SQLite')!
  const { config, drop } = await fresh()
  const database = knexModule(config)
  const { sso, url, connect, close } = await startPortal({
    database,
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: (req) => req.get('x-admin') === 'yes' }))
    },
  })
  await connect(provider)
  await sso.users.create(ada)
  const people = Array.from({ length: 100 }, (_, n) => ({
    portal: 'default',
    user_id: `u${n}`,
    at: '2026-01-01T00:00:00.000Z',
  }))
  await database('sso_events').insert(
    people.map((row, n) => ({ ...row, id: `e${n}`, kind: 'signed-in', detail: '{}' })),
  )
  const unindexed = await unindexedIn(database, async () => {
    const browser = new Visitor()
    await signIn({ portal: { url }, visitor: browser }, 'acme')
    for (const path of ['/portal', '/account/security', '/account/security/add'])
      expect([path, (await browser.get(`${url}${path}`)).status]).toEqual([path, 200])
    for (const path of [
      '',
      '/acme',
      '/events',
      '/events?user=ada@example.com',
      '/sessions',
      '/sessions?provider=acme',
    ])
      expect([path, (await admin.get(`${url}/admin/sso${path}`)).status]).toEqual([path, 200])
    await sso.runMaintenance()
    await browser.post(`${url}/logout`)
  })
  await close()
  await database.destroy()
  await drop()
  expect(unindexed).toEqual([])
})
