/**
 * Prints a Markdown table: how long pages take with a million users, compared with an empty database, on SQLite and PostgreSQL. Half
 * of the users, events and sessions belong to the measured portal and its provider. Then prints for how long large deletions block the
 * event loop, and how long another user's page takes meanwhile. `--share=0.01` fills a hundredth of the rows, and `--only=SQLite` measures one database.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import knexModule, { type Knex } from 'knex'
import { migrate } from '../lib/database/migrate.ts'
import { type FreshDatabase, freshPostgres, freshSqlite } from '../test/support/databases.ts'
import { startFaultyProvider } from '../test/support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal } from '../test/support/portal.ts'
import { postgres } from '../test/support/services/postgres.ts'
import { Visitor } from '../test/support/visitor.ts'

const { values: options } = parseArgs({
  options: { share: { type: 'string', default: '1' }, only: { type: 'string' } },
})
const rows = (full: number) => Math.round(full * Number(options.share))
const sizes = {
  portals: 1000,
  providers: rows(20_000),
  people: rows(1_000_000),
  events: rows(1_050_000),
  sessions: rows(100_000),
}
const rounds = 21

const provider = await startFaultyProvider()

interface Measured {
  portal: TestPortal
  signedIn: Visitor
  /** signed in with a provider whose sessions do not end */
  other: Visitor
  close(): Promise<void>
}

const admin = new Visitor({ 'x-admin': 'yes' })

async function expectOk(visitor: Visitor, url: string): Promise<void> {
  const { status } = await visitor.open(url)
  if (status !== 200) throw new Error(`${url} responded with ${status}`)
}

const operations: [name: string, operation: (measured: Measured) => Promise<void>][] = [
  [
    'sign-in to the first guarded page',
    ({ portal }) => expectOk(new Visitor(), `${portal.url}/login/acme?returnTo=/portal`),
  ],
  ['guarded page', ({ portal, signedIn }) => expectOk(signedIn, `${portal.url}/portal`)],
  ['login page', ({ portal }) => expectOk(new Visitor(), `${portal.url}/login`)],
  ['account page', ({ portal, signedIn }) => expectOk(signedIn, `${portal.url}/account/security`)],
  ['admin: providers', ({ portal }) => expectOk(admin, `${portal.url}/admin/sso`)],
  ['admin: a provider', ({ portal }) => expectOk(admin, `${portal.url}/admin/sso/acme`)],
  ['admin: events', ({ portal }) => expectOk(admin, `${portal.url}/admin/sso/events`)],
  [
    'admin: events of a provider',
    ({ portal }) => expectOk(admin, `${portal.url}/admin/sso/events?provider=acme`),
  ],
  [
    'admin: events of a retired provider',
    ({ portal }) => expectOk(admin, `${portal.url}/admin/sso/events?provider=retired`),
  ],
  [
    'admin: events by reference',
    ({ portal }) => expectOk(admin, `${portal.url}/admin/sso/events?reference=R4`),
  ],
  ['admin: newest sessions', ({ portal }) => expectOk(admin, `${portal.url}/admin/sso/sessions`)],
  ['maintenance', ({ portal }) => portal.sso.runMaintenance()],
]

/** Half of the rows belong to the portal `default`; the others have the portals `portal-1` and so on. */
async function fill(knex: Knex): Promise<void> {
  const isSqlite = knex.client.dialect === 'sqlite3'
  const [{ id: acmeId, issuer }] = await knex('sso_providers').select('id', 'issuer')
  const columns = Object.keys(await knex('sso_providers').columnInfo())
  const own = 'n % 2 = 0'
  const portal = `case when ${own} then 'default' else 'portal-' || (n % ${sizes.portals}) end`
  const otherProvider = `'copy-' || (n % ${sizes.providers} + 1)`
  const providerId = `case when ${own} then '${acmeId}' else ${otherProvider} end`
  const slug = `case when ${own} then 'acme' else 'p' || (n % ${sizes.providers} + 1) end`
  const series = (count: number) =>
    `(with recursive s(n) as (select 1 union all select n + 1 from s where n < ${count}) select n from s) series`
  const id = isSqlite ? "printf('%036d', n)" : "lpad(n::text, 36, '0')"
  const at = isSqlite
    ? "strftime('%Y-%m-%dT%H:%M:%fZ', 1750000000 + n * 30, 'unixepoch')"
    : `to_char(to_timestamp(1750000000 + n * 30) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
  const later = "'2099-01-01T00:00:00.000Z'"
  const copied: Record<string, string> = {
    id: "'copy-' || n",
    portal: `'portal-' || (n % ${sizes.portals})`,
    slug: "'p' || n",
    issuer: "'https://' || n || '.example'",
    position: 'position + n',
  }
  const statements = [
    `insert into sso_providers (${columns.join(', ')}) select ${columns.map((name) => copied[name] ?? name).join(', ')}
     from sso_providers cross join ${series(sizes.providers)} where slug = 'acme'`,
    `insert into sso_users (id, portal, email, name, active, fields, created_at)
     select 'u' || n, ${portal}, 'u' || n || '@example.com', 'User', true, '{}', '' from ${series(sizes.people)}`,
    `insert into sso_identities (id, portal, user_id, provider_id, issuer, subject, linked_at, last_used_at)
     select 'i' || n, ${portal}, 'u' || n, ${providerId},
       case when ${own} then '${issuer}' else 'https://' || (n % ${sizes.providers} + 1) || '.example' end, 's' || n, '', ''
     from ${series(sizes.people)}`,
    // The oldest tenth is of a provider that retired.
    `insert into sso_events (id, portal, at, kind, user_id, provider, reference, detail)
     select ${id}, ${portal}, ${at}, case when n % 10 = 0 then 'sign-in-failed' else 'signed-in' end, 'u' || n,
       case when n < ${sizes.events / 10} then 'retired' else ${slug} end, case when n % 4 = 0 then 'R' || n end, '{}'
     from ${series(sizes.events)}`,
    `insert into sso_sessions (id, portal, user_id, provider_id, provider, issuer, subject, session, created_at, last_seen_at, expires_at)
     select 'x' || n, ${portal}, 'u' || n, ${providerId}, ${slug}, '${issuer}', 's' || n, '', ${later}, ${later}, ${later}
     from ${series(sizes.sessions)}`,
    'analyze',
  ]
  for (const statement of statements) {
    // SQLite would use statistics that no portal has: it never runs `analyze` itself.
    if (!(isSqlite && statement === 'analyze')) await knex.raw(statement)
  }
}

async function start(fresh: () => Promise<FreshDatabase>, isFull: boolean): Promise<Measured> {
  const database = await fresh()
  const knex = knexModule(database.config)
  await migrate(knex)
  const portal = await startPortal({
    database: knex,
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: (req) => req.get('x-admin') === 'yes' }))
    },
  })
  await portal.connect(provider)
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
  if (isFull) await fill(knex)
  const [signedIn, other] = [new Visitor(), new Visitor()]
  await expectOk(signedIn, `${portal.url}/login/acme?returnTo=/portal`)
  await portal.connect(provider, { slug: 'other' })
  await expectOk(other, `${portal.url}/login/other?returnTo=/portal`)
  return {
    portal,
    signedIn,
    other,
    async close() {
      await portal.close()
      await knex.destroy()
      await database.drop()
    },
  }
}

async function timeOf(operation: () => Promise<void>): Promise<number> {
  const startedAt = performance.now()
  await operation()
  return performance.now() - startedAt
}

/** The first one shows what the machine itself causes. */
const deletions: [name: string, act: (measured: Measured) => Promise<unknown>][] = [
  ['nothing, for two seconds', () => sleep(2000)],
  ['maintenance: 20,000 old events', ({ portal }) => portal.sso.runMaintenance()],
  [
    `ending ${sizes.sessions / 2} sessions`,
    ({ portal }) => portal.sso.sessions.endAll({ provider: 'acme' }, { actor: 'bench' }),
  ],
]

/** @returns milliseconds: the longest time for which no request was served, and the median of a guarded page meanwhile */
async function measureOthers(act: () => Promise<unknown>, { portal, other }: Measured): Promise<number[]> {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  const times: number[] = []
  let isActing = true
  const open = async () => {
    while (isActing) {
      times.push(await timeOf(() => expectOk(other, `${portal.url}/portal`)))
      await sleep(20)
    }
  }
  const opened = open()
  delays.enable()
  await act()
  delays.disable()
  isActing = false
  await opened
  return [delays.max / 1e6, median(times)]
}

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? 0

const program = await postgres.find()
if (!program) throw new Error('the benchmark needs PostgreSQL on PATH')
const server = await postgres.start(program)
Object.assign(process.env, server.env)
try {
  console.log('| | database | empty, ms | full, ms | ratio |\n|---|---|---|---|---|')
  const blocks: string[] = []
  const databases = [
    ['SQLite', freshSqlite],
    ['PostgreSQL', freshPostgres],
  ] as const
  for (const [name, fresh] of databases) {
    if ((options.only ?? name) !== name) continue
    const empty = await start(fresh, false)
    const full = await start(fresh, true)
    for (const [what, operation] of operations) {
      const times: Record<'empty' | 'full', number[]> = { empty: [], full: [] }
      await operation(empty)
      await operation(full)
      for (let round = 0; round < rounds; round++) {
        times.empty.push(await timeOf(() => operation(empty)))
        times.full.push(await timeOf(() => operation(full)))
      }
      const [before, after] = [median(times.empty), median(times.full)]
      console.log(
        `| ${what} | ${name} | ${before.toFixed(1)} | ${after.toFixed(1)} | ${(after / before).toFixed(2)} |`,
      )
    }
    for (const [what, act] of deletions)
      blocks.push(
        `| ${[what, name, ...(await measureOthers(() => act(full), full)).map((ms) => ms.toFixed(1))].join(' | ')} |`,
      )
    await empty.close()
    await full.close()
  }
  const title =
    '| | database | longest block, ms (target ≤ 50) | p50 of a guarded page (target: 2 × nothing) |'
  console.log(['', title, '|---|---|---|---|', ...blocks].join('\n'))
} finally {
  await server.stop()
  await provider.close()
}
