import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { countEvents } from '../../lib/events/event-counts.ts'
import { type EventFilter, HistoryApi, type StoredEvent } from '../../lib/events/event-history.ts'
import { EventLog } from '../../lib/events/event-log.ts'
import type { PortalEvent } from '../../lib/index.ts'
import { createBreakers } from '../../lib/web/core.ts'
import { sharedClock } from '../support/clock.ts'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import { newProvider, openProvidersTable } from '../support/providers.ts'

const quiet = { info() {}, warn() {}, error() {} }
const days = (count: number) => new Date(Date.now() - count * 24 * 3_600_000).toISOString()

describe.each(everyDatabase)('the history on %s', (name, fresh) => {
  let knex: Knex
  let config: Knex.Config
  let close: () => Promise<void>
  /** Each test uses its own portal. */
  let portal: string
  let count = 0

  beforeAll(async () => {
    ;({ config, knex, close } = await openMigrated(fresh))
  })
  afterAll(() => close())
  beforeEach(() => {
    portal = `portal-${count++}`
  })

  const history = () => new HistoryApi({ knex })
  const list = (filter: EventFilter = {}) => history().list(filter, { portal })

  async function record(event: Record<string, unknown>): Promise<void> {
    const log = new EventLog(
      { knex, logger: quiet, breakers: createBreakers(knex, quiet) },
      { clientAddress: 'full' },
    )
    await log.record({ portal, ...event } as unknown as PortalEvent)
  }

  /** Inserts an event with a past date. */
  async function insertPast(at: string, event: Record<string, unknown>): Promise<string> {
    const id = randomUUID()
    const { detail = {}, ...rest } = event
    await knex('sso_events').insert({ id, portal, at, detail: JSON.stringify(detail), ...rest })
    return id
  }

  async function insertProvider(slug: string, createdAt = days(100)): Promise<void> {
    const table = openProvidersTable(knex)
    await table.insert(newProvider({ portal, slug }))
    await knex('sso_providers').where({ portal, slug }).update({ created_at: createdAt })
  }

  describe('list', () => {
    it('returns all fields of an event', async () => {
      await record({
        kind: 'sign-in-failed',
        provider: 'acme',
        reference: 'ABCD2345',
        clientAddress: '203.0.113.7',
        detail: { code: 'response_invalid', reason: 'a "quoted" reason' },
      })
      await record({ kind: 'provider-removed', provider: 'acme', actor: 'cli' })
      await record({ kind: 'signed-in', userId: 'ada', provider: 'acme' })
      const { events, next } = await list()
      expect(next).toBeUndefined()
      expect(events).toHaveLength(3)
      expect(events.find(({ kind }) => kind === 'sign-in-failed')).toStrictEqual({
        id: expect.any(String),
        at: expect.stringMatching(/^\d{4}-.*Z$/),
        kind: 'sign-in-failed',
        portal,
        userId: undefined,
        provider: 'acme',
        reference: 'ABCD2345',
        actor: undefined,
        clientAddress: '203.0.113.7',
        detail: { code: 'response_invalid', reason: 'a "quoted" reason' },
      })
      expect(events.find(({ kind }) => kind === 'provider-removed')).toMatchObject({ actor: 'cli' })
      expect(events.find(({ kind }) => kind === 'signed-in')).toMatchObject({ userId: 'ada' })
    })

    it('pages newest first, with each event once, even with equal timestamps and concurrent inserts', async () => {
      const moments = [days(3), days(2), days(1)]
      const ids: string[] = []
      for (let n = 0; n < 21; n++)
        ids.push(await insertPast(moments[n % 3]!, { kind: 'signed-in', user_id: 'ada' }))
      const seen: { id: string; at: string }[] = []
      let before: string | undefined
      do {
        const page = await list({ most: 4, before })
        seen.push(...page.events)
        before = page.next
        await insertPast(days(0), { kind: 'signed-in', user_id: 'bob' })
      } while (before !== undefined)
      expect(new Set(seen.map(({ id }) => id))).toEqual(new Set(ids))
      expect(seen).toHaveLength(21)
      const at = seen.map((event) => event.at)
      expect(at).toEqual([...at].sort().reverse())
    })

    it('has no next page after a page that is exactly full', async () => {
      await insertPast(days(2), { kind: 'signed-in' })
      await insertPast(days(1), { kind: 'signed-in' })
      expect(await list({ most: 2 })).toMatchObject({ next: undefined })
      expect(await list({ most: 1 })).toMatchObject({ next: expect.any(String) })
    })

    it('has ids that sort by time (UUID version 7)', async () => {
      const before = Date.now()
      await record({ kind: 'signed-out', userId: 'ada' })
      const id = (await list()).events[0]!.id
      expect(id).toMatch(/^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/)
      const at = Number.parseInt(id.replace('-', '').slice(0, 12), 16)
      expect([before <= at, at <= Date.now()]).toEqual([true, true])
    })

    it('searches at most 1,000 events per page for a combination of filters, and finds all by `next`', async () => {
      await insertPast(days(9), { kind: 'signed-out', user_id: 'ada' })
      const at = (n: number) => new Date(Date.parse(days(8)) + n).toISOString()
      const row = (n: number) => ({ id: randomUUID(), portal, at: at(n), kind: 'signed-in', user_id: 'ada' })
      const rows = Array.from({ length: 1500 }, (_, n) => ({ ...row(n), detail: '{}' }))
      await knex.batchInsert('sso_events', rows, 100)
      const filter: EventFilter = { userId: 'ada', kind: 'signed-out', to: days(1) }
      const { events, next } = await list(filter)
      expect(events).toEqual([])
      const rest = await list({ ...filter, before: next })
      expect(rest).toMatchObject({ events: [{ kind: 'signed-out' }], next: undefined })
      expect((await list({ ...filter, to: days(8.5), before: next })).events).toHaveLength(1)
      const all: StoredEvent[] = []
      for await (const page of history().pages({ ...filter, kind: 'signed-in' }, { portal }))
        all.push(...page)
      expect(all.map((event) => event.at)).toEqual(rows.map((each) => each.at).reverse())
    })

    it('filters by kind, provider, user, reference, date and portal', async () => {
      await insertPast(days(5), { kind: 'signed-in', user_id: 'ada', provider: 'acme' })
      await insertPast(days(3), { kind: 'sign-in-failed', provider: 'acme', reference: 'ABCD2345' })
      await insertPast(days(1), { kind: 'signed-in', user_id: 'bob', provider: 'other' })
      await insertPast(days(1), { kind: 'signed-in', user_id: 'ada', provider: 'acme', portal: 'elsewhere' })
      const found = async (filter: EventFilter) => {
        const { events } = await list(filter)
        return events.map(({ kind, provider }) => `${kind} ${provider}`)
      }
      expect(await found({ kind: 'sign-in-failed' })).toEqual(['sign-in-failed acme'])
      expect(await found({ provider: 'acme' })).toEqual(['sign-in-failed acme', 'signed-in acme'])
      expect(await found({ provider: 'acme', kind: 'signed-in' })).toEqual(['signed-in acme'])
      expect(await found({ userId: 'bob' })).toEqual(['signed-in other'])
      expect(await found({ reference: 'ABCD2345' })).toEqual(['sign-in-failed acme'])
      expect(await found({ from: days(4), to: days(2) })).toEqual(['sign-in-failed acme'])
      expect(await found({ from: '2100-01-01' })).toEqual([])
    })

    it('returns 50 events by default, and at most 1,000', async () => {
      const row = () => ({ id: randomUUID(), portal, at: days(1), kind: 'signed-in', detail: '{}' })
      await knex.batchInsert('sso_events', Array.from({ length: 1010 }, row), 50)
      expect((await list()).events).toHaveLength(50)
      expect((await list({ most: 1e9 })).events).toHaveLength(1000)
      expect((await list({ most: -3 })).events).toHaveLength(1)
      expect((await list({ most: Number.NaN })).events).toHaveLength(1)
    })

    it('refuses invalid dates and cursors', async () => {
      await expect(list({ from: 'yesterday' })).rejects.toThrow('from: write a date such as')
      await expect(list({ before: "x'; drop table" })).rejects.toThrow('before: use the `next` value')
      await expect(list({ before: `x_${randomUUID()}` })).rejects.toThrow('before: write a date')
      expect(await list({ reference: 'a\0b' })).toEqual({ events: [], next: undefined })
    })
  })

  describe('countsByDay', () => {
    const counting = () => knex('sso_tasks').where({ id: 'count events' })
    const count = () => countEvents({ knex, clock: sharedClock })
    const totals = async (slugs?: string[]) =>
      [...(await history().countsByDay(portal, slugs))].map(([slug, each]) => [
        slug,
        each.length,
        each.filter(({ signIns, failures }) => signIns + failures > 0),
      ])
    const day = (back: number) => days(back).slice(0, 10)
    const fail = { kind: 'sign-in-failed' }
    const succeed = { kind: 'signed-in' }

    beforeEach(() => counting().delete())

    /** Events of several days, the newest of which the maintenance has not counted yet. */
    async function insertAll(): Promise<void> {
      await insertPast(days(31), { ...succeed, provider: 'acme' })
      for (const provider of ['acme', 'acme', 'other', undefined])
        await insertPast(days(3), { ...succeed, ...(provider && { provider }) })
      await insertPast(days(2), { ...fail, provider: 'acme' })
      await insertPast(days(2), { kind: 'linked', provider: 'acme' })
      await insertPast(days(0), { ...succeed, provider: 'acme' })
    }
    const ofAcme = () => [
      { day: day(3), signIns: 2, failures: 0 },
      { day: day(2), signIns: 0, failures: 1 },
      { day: day(0), signIns: 1, failures: 0 },
    ]

    it('has the sign-ins and failures of 30 days, counted or not, of providers and of the portal', async () => {
      await insertAll()
      const expected = [
        ['acme', 30, ofAcme()],
        ['other', 30, [{ day: day(3), signIns: 1, failures: 0 }]],
        ['nobody', 30, []],
      ]
      const all = ['acme', 'other', 'nobody']
      expect(await totals(all)).toEqual(expected)
      await count()
      expect(await totals(all)).toEqual(expected)
      const rows = await knex('sso_event_counts').where({ portal }).orderBy(['day', 'provider'])
      expect(rows.map((row) => [row.provider, row.day, row.sign_ins, row.failures])).toEqual([
        ['', day(3), 4, 0],
        ['acme', day(3), 2, 0],
        ['other', day(3), 1, 0],
        ['', day(2), 0, 1],
        ['acme', day(2), 0, 1],
      ])
      const [[, , ofPortal] = []] = await totals()
      expect(ofPortal).toEqual([{ ...ofAcme()[0], signIns: 4 }, ...ofAcme().slice(1)])
    })

    it('counts no event twice, whatever the number of instances and runs', async () => {
      await insertAll()
      await Promise.all(Array.from({ length: 4 }, count))
      await count()
      expect(await totals(['acme'])).toEqual([['acme', 30, ofAcme()]])
    })

    it('starts at the last 30 days after a long pause, and deletes older counts', async () => {
      await insertAll()
      const old = { provider: 'acme', day: day(30), sign_ins: 1, failures: 0 }
      await knex('sso_event_counts').insert({ id: randomUUID(), portal, ...old })
      await counting().delete()
      const longAgo = days(300)
      await knex('sso_tasks').insert({
        id: 'count events',
        total: 0,
        done: 0,
        started_at: longAgo,
        reached_at: longAgo,
      })
      await count()
      expect(await totals(['acme'])).toEqual([['acme', 30, ofAcme()]])
      expect(await knex('sso_event_counts').where({ portal, day: day(30) })).toEqual([])
    })
  })

  describe('activity', () => {
    const consentMissing = { code: 'consent_missing', reason: 'AADSTS65001' }
    const nothing = {
      lastSignInAt: undefined,
      signIns: 0,
      consentMissingAt: undefined,
      consentReportedAt: undefined,
      failuresSince: 0,
      lastFailure: undefined,
    }
    const activity = async (slug = 'acme') => (await history().activity({ portal })).get(slug)

    it('has the last failure, and counts those since the last success that the user did not cause', async () => {
      await insertProvider('acme')
      const fail = (back: number, code: string, more: object = {}) =>
        insertPast(days(back), {
          kind: 'sign-in-failed',
          provider: 'acme',
          reference: `REF${back}`,
          detail: { code, reason: 'x', ...more },
        })
      await fail(5, 'provider_error')
      await insertPast(days(4), { kind: 'signed-in', provider: 'acme' })
      expect(await activity()).toMatchObject({ failuresSince: 0, lastFailure: { reference: 'REF5' } })
      for (const code of ['provider_error', 'provider_unavailable', 'response_invalid', 'subject_constant'])
        await fail(3, code)
      await fail(2, 'account_not_assigned')
      await fail(1, 'provider_error', { reportedBy: 'browser' })
      expect(await activity()).toMatchObject({
        failuresSince: 4,
        lastFailure: { reference: 'REF1', detail: { code: 'provider_error', reportedBy: 'browser' } },
      })
      await insertPast(days(0), { kind: 'signed-in', provider: 'acme' })
      expect(await activity()).toMatchObject({ failuresSince: 0 })
    })

    it('is empty before the first sign-in', async () => {
      await insertProvider('acme')
      expect(await history().activity({ portal })).toEqual(new Map([['acme', nothing]]))
    })

    it('has the last sign-in, and the number of sign-ins in 30 days', async () => {
      await insertProvider('acme')
      await insertProvider('other')
      const last = days(2)
      for (const at of [days(40), days(31), days(29), last])
        await insertPast(at, { kind: 'signed-in', provider: 'acme' })
      await insertPast(days(1), {
        kind: 'sign-in-failed',
        provider: 'acme',
        detail: { code: 'provider_denied' },
      })
      await insertPast(days(1), { kind: 'signed-in', provider: 'other' })
      await insertPast(days(1), { kind: 'signed-in', provider: 'acme', portal: 'elsewhere' })
      const lastFailure = expect.objectContaining({ detail: { code: 'provider_denied' } })
      expect(await activity()).toEqual({ ...nothing, lastSignInAt: last, signIns: 2, lastFailure })
      expect(await activity('other')).toMatchObject({ signIns: 1 })
    })

    it('reports missing consent until a sign-in or a test sign-in passes, even if a browser reports consent', async () => {
      await insertProvider('acme')
      const at = days(5)
      await insertPast(days(6), { kind: 'sign-in-failed', provider: 'acme', detail: consentMissing })
      await insertPast(at, { kind: 'sign-in-failed', provider: 'acme', detail: consentMissing })
      expect(await activity()).toMatchObject({ consentMissingAt: at })
      const refusedConsent = { outcome: 'refused', tenant: 'x' }
      await insertPast(days(4), { kind: 'admin-consent', provider: 'acme', detail: refusedConsent })
      expect(await activity()).toMatchObject({ consentMissingAt: at })
      await insertPast(days(4), { kind: 'admin-consent', provider: 'acme', detail: { outcome: 'granted' } })
      await insertPast(days(4), {
        kind: 'provider-sign-in-tested',
        provider: 'acme',
        detail: { outcome: 'failed' },
      })
      expect(await activity()).toMatchObject({ consentMissingAt: at })
      await insertPast(days(3), {
        kind: 'provider-sign-in-tested',
        provider: 'acme',
        detail: { outcome: 'passed' },
      })
      expect(await activity()).toMatchObject({ consentMissingAt: undefined })
      await insertPast(days(2), { kind: 'sign-in-failed', provider: 'acme', detail: consentMissing })
      expect(await activity()).toMatchObject({ consentMissingAt: expect.any(String) })
      await insertPast(days(1), { kind: 'signed-in', provider: 'acme' })
      expect(await activity()).toMatchObject({ consentMissingAt: undefined })
    })

    it('keeps apart the errors that a browser reported', async () => {
      await insertProvider('acme')
      const [missing, reported] = [days(5), days(4)]
      await insertPast(missing, { kind: 'sign-in-failed', provider: 'acme', detail: consentMissing })
      const detail = { ...consentMissing, reportedBy: 'browser' }
      await insertPast(reported, { kind: 'sign-in-failed', provider: 'acme', detail })
      expect(await activity()).toMatchObject({ consentMissingAt: missing, consentReportedAt: reported })
      await insertPast(days(3), { kind: 'signed-in', provider: 'acme' })
      expect(await activity()).toMatchObject({ consentMissingAt: undefined, consentReportedAt: undefined })
    })

    it('does not report missing consent because of a provider’s error text', async () => {
      await insertProvider('acme')
      const reason = 'said {"code":"consent_missing"}'
      await record({
        kind: 'sign-in-failed',
        provider: 'acme',
        reference: 'X',
        detail: { code: 'provider_error', reason },
      })
      expect(await activity()).toMatchObject({ consentMissingAt: undefined })
    })

    it('ignores events of an earlier provider with the same slug', async () => {
      await insertPast(days(5), { kind: 'signed-in', provider: 'acme' })
      await insertPast(days(5), { kind: 'sign-in-failed', provider: 'acme', detail: consentMissing })
      await insertProvider('acme', days(4))
      expect(await activity()).toEqual(nothing)
    })
  })

  if (name === 'PostgreSQL')
    it('uses an index for each query, with 100,000 events', async () => {
      await insertProvider('acme')
      await knex.raw(
        `insert into sso_events (id, portal, at, kind, provider, user_id, reference, detail)
         select gen_random_uuid()::text, ?,
           to_char(now() at time zone 'utc' - n * interval '20 seconds', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
           case when n % 5 = 0 then 'sign-in-failed' else 'signed-in' end,
           case when n % 3 = 0 then 'acme' else 'other' end, 'user-' || n % 1000, 'R' || n, '{}'
         from generate_series(1, 100000) n`,
        [portal],
      )
      await knex.raw('analyze sso_events')
      const queries: { sql: string; bindings: unknown[] }[] = []
      const watched = knexModule(config)
      watched.on('query', ({ sql, bindings }: (typeof queries)[number]) => queries.push({ sql, bindings }))
      try {
        const reading = new HistoryApi({ knex: watched })
        const { next } = await reading.list({ most: 10 }, { portal })
        await reading.list({ most: 10, before: next }, { portal })
        await reading.list({ kind: 'provider-removed' }, { portal })
        await reading.list({ provider: 'acme', kind: 'sign-in-failed' }, { portal })
        await reading.list({ userId: 'user-7' }, { portal })
        await reading.list({ reference: 'R77' }, { portal })
        await reading.activity({ portal })
      } finally {
        await watched.destroy()
      }
      expect(queries).toHaveLength(8)
      for (const { sql, bindings } of queries) {
        const values = bindings.map((value) => (typeof value === 'number' ? value : `'${String(value)}'`))
        const { rows } = await knex.raw(`explain ${sql.replace(/\$(\d+)/g, (_, n) => String(values[n - 1]))}`)
        const plan = JSON.stringify(rows)
        expect(plan).toMatch(/Index (Only )?Scan/)
        expect(plan).not.toMatch(/Seq Scan on sso_events/)
      }
    })
})
