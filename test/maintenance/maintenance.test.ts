import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { createPortalSso, type EventKind } from '../../lib/index.ts'
import { Maintenance } from '../../lib/maintenance/maintenance.ts'
import { sanitizingLogger } from '../../lib/shared/logger.ts'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import { recordDeletions } from '../support/deletions.ts'
import { type MailServer, startMailServer } from '../support/mail-server.ts'
import { startPortal, type TestPortal, type TestPortalOptions, testSecret } from '../support/portal.ts'
import { newProvider, openProvidersTable } from '../support/providers.ts'

const day = 24 * 3_600_000
const inDays = (count: number) => new Date(Date.now() + count * day).toISOString()

const longAgo = '2020-01-01T00:00:00.000Z'
const portal = 'default'
/** Tables with rows that expire: the date column, the hours of retention and the index for the query. */
const aging = {
  sso_events: {
    column: 'at',
    keep: 365 * 24,
    index: 'sso_events_age',
    row: { portal, kind: 'signed-in', detail: '{}' },
  },
  sso_sessions: {
    column: 'expires_at',
    keep: 1,
    index: 'sso_sessions_age',
    row: { portal, user_id: 'ada', session: 'sealed', created_at: longAgo, last_seen_at: longAgo },
  },
  sso_email_verifications: {
    column: 'sent_at',
    keep: 2,
    index: 'sso_email_verifications_age',
    row: {
      portal,
      registration: 'one',
      email_mac: 'a',
      identity_mac: 'i',
      attempts: 0,
      expires_at: longAgo,
    },
  },
  sso_logout_tokens: {
    column: 'expires_at',
    keep: 1,
    index: 'sso_logout_tokens_age',
    row: { portal, issuer: 'https://id.acme.example', received_at: longAgo },
  },
  sso_one_time_links: {
    column: 'expires_at',
    keep: 24,
    index: 'sso_one_time_links_age',
    row: { portal, kind: 'test-sign-in', detail: '{}', created_at: longAgo },
  },
  sso_redeemed_codes: { column: 'expires_at', keep: 1, index: 'sso_redeemed_codes_age', row: {} },
}

describe('maintenance with a logger that throws', () => {
  it('continues with the next task and the next run', async () => {
    const failToLog = () => {
      throw new Error('the disk of the log is full')
    }
    const logger = sanitizingLogger({ info: failToLog, warn: failToLog, error: failToLog })
    const done: string[] = []
    const failing = async () => {
      throw new Error('away')
    }
    const maintenance = new Maintenance({ logger }, { failing, other: async () => void done.push('other') })
    await maintenance.run()
    await maintenance.run()
    expect(done).toEqual(['other', 'other'])
    await maintenance.stop()
  })
})

describe.each(everyDatabase)('maintenance on %s', (name, fresh) => {
  let database: FreshDatabase
  let knex: Knex
  let mailServer: MailServer
  const open = closedAfterEach()

  beforeAll(async () => {
    mailServer = await startMailServer()
    database = await fresh()
    knex = knexModule(database.config)
    await (await startPortal({ database: knex })).close() // makes the tables
  })
  afterAll(async () => {
    await mailServer.close()
    await knex.destroy()
    await database.drop()
  })
  beforeEach(async () => {
    mailServer.reset()
    for (const table of ['sso_providers', ...Object.keys(aging)]) await knex(table).delete()
  })

  async function instance(options: TestPortalOptions = {}): Promise<TestPortal> {
    const started = await startPortal({ ...options, database: knex })
    open.push(started)
    return started
  }

  const table = () => openProvidersTable(knex)
  async function events(kind: EventKind): Promise<Record<string, unknown>[]> {
    const rows = await knex('sso_events').where({ kind }).orderBy('at')
    return rows.map(({ provider, actor, detail }) => ({ provider, actor, ...JSON.parse(detail) }))
  }

  describe('warns before a client secret expires', () => {
    const warnedDays = async () => (await events('client-secret-expiring')).map(({ days }) => days)
    const expiresIn = (days: number) =>
      knex('sso_providers').update({ client_secret_expires_at: inDays(days) })

    it('at 60, 30, 7 and 1 days, once each, in the log and as an event', async () => {
      const end = inDays(61)
      await table().insert(newProvider({ clientSecretExpiresAt: end }))
      const portal = await instance()
      await portal.sso.runMaintenance()
      expect(await warnedDays()).toEqual([])
      for (const days of [59.5, 45, 29.5, 8, 6.5, 2, 0.5, -3]) {
        // Change the stored dates as if days had passed.
        const [end, lastDays] = [inDays(days), await lastWarnedDays()]
        await knex('sso_providers').update({
          client_secret_expires_at: end,
          expiry_warned: lastDays === undefined ? null : JSON.stringify({ end, days: lastDays }),
        })
        await portal.sso.runMaintenance()
        await portal.sso.runMaintenance()
      }
      expect(await warnedDays()).toEqual([60, 30, 7, 1])
      const warnings = portal.logs.filter(({ message }) => message.startsWith('a client secret is about to'))
      expect(warnings).toHaveLength(4)
      expect(warnings[0]).toMatchObject({ level: 'warn', fields: { provider: 'acme' } })

      async function lastWarnedDays(): Promise<number | undefined> {
        const { expiry_warned } = await knex('sso_providers').first()
        return JSON.parse(expiry_warned ?? '{}').days
      }
    })

    it('once, even if several instances run the task at the same time', async () => {
      await table().insert(newProvider({ clientSecretExpiresAt: inDays(5) }))
      const instances = await Promise.all([instance(), instance(), instance()])
      await Promise.all(instances.map(({ sso }) => sso.runMaintenance()))
      expect(await warnedDays()).toEqual([5])
    })

    it('again when the expiry date changes', async () => {
      await table().insert(newProvider({ clientSecretExpiresAt: inDays(5) }))
      const { sso } = await instance()
      await sso.runMaintenance()
      await expiresIn(6)
      await sso.runMaintenance()
      await sso.runMaintenance()
      expect(await warnedDays()).toEqual([5, 6])
    })

    it('even if it has already expired, with 0 days', async () => {
      await table().insert(newProvider({ clientSecretExpiresAt: inDays(-2) }))
      const { sso } = await instance()
      await sso.runMaintenance()
      expect(await warnedDays()).toEqual([0])
    })

    it('for every provider, even behind a thousand that expired long ago', async () => {
      await table().insert(newProvider({ enabled: false, clientSecretExpiresAt: inDays(-400) }))
      const row = await knex('sso_providers').first()
      const others = Array.from({ length: 1000 }, (_, at) => ({
        ...row,
        id: randomUUID(),
        slug: `old-${at}`,
      }))
      await knex.batchInsert('sso_providers', others, 20)
      await table().insert(newProvider({ slug: 'last', clientSecretExpiresAt: inDays(5) }))
      await knex('sso_providers')
        .where({ slug: 'last' })
        .update({ id: 'z'.repeat(36) })
      const { sso } = await instance()
      await sso.runMaintenance()
      expect(await warnedDays()).toEqual([5])
    })

    it.each([
      ['is disabled', { enabled: false }],
      ['authenticates the portal by a key', { clientAuthentication: 'private_key_jwt' as const }],
      ['has no expiry date', { clientSecretExpiresAt: undefined }],
      ['has a long time left', { clientSecretExpiresAt: inDays(300) }],
    ])('but not if the provider %s', async (_what, more) => {
      await table().insert(newProvider({ clientSecretExpiresAt: inDays(5), ...more }))
      const { sso } = await instance()
      await sso.runMaintenance()
      expect(await warnedDays()).toEqual([])
    })

    it('but not if the provider is removed or retires before that date', async () => {
      const acme = await table().insert(newProvider({ clientSecretExpiresAt: inDays(5) }))
      await knex('sso_providers').update({ retire_at: inDays(4) })
      const { sso } = await instance()
      await sso.runMaintenance()
      await table().disable(acme, { removes: true })
      await sso.runMaintenance()
      expect(await warnedDays()).toEqual([])
    })

    describe('by mail', () => {
      const mailing = { adminMail: ['one@example.com', 'two@example.com'], branding: { name: 'Portal <b>' } }

      it('to each administrator separately, with instructions, without the secret', async () => {
        const acme = newProvider({
          displayName: 'Acme\r\nBcc: x@evil.example',
          clientSecretExpiresAt: inDays(0.5),
        })
        await table().insert(acme, { clientSecret: 'the secret itself' })
        const { sso } = await instance({ ...mailing, mailer: mailServer.transport })
        await sso.runMaintenance()
        await sso.runMaintenance()
        const to = mailServer.mails.map(({ recipients }) => recipients)
        expect(to).toEqual([['one@example.com'], ['two@example.com']])
        const [mail] = mailServer.mails
        const subject = 'Portal <b>: the client secret of Acme Bcc: x@evil.example expires in 1 day'
        expect(Object.fromEntries(mail!.headers)).toMatchObject({ subject })
        for (const body of [mail!.text, mail!.html]) {
          expect(body).toContain('expires in 1 day')
          expect(body).toContain(acme.clientSecretExpiresAt!.slice(0, 10))
          expect(body).toContain('Create a new client secret at the provider.')
          expect(body).not.toContain('the secret itself')
        }
        expect(mail!.html).toContain('Portal &lt;b&gt;')
      })

      it('in the default language of the portal', async () => {
        await table().insert(newProvider({ clientSecretExpiresAt: inDays(5) }))
        const { sso } = await instance({ ...mailing, defaultLocale: 'ar', mailer: mailServer.transport })
        await sso.runMaintenance()
        expect(mailServer.mails[0]!.html).toContain('<html lang="ar" dir="rtl">')
      })

      it('and logs a mail that cannot be sent; the event is recorded anyway', async () => {
        await table().insert(newProvider({ clientSecretExpiresAt: inDays(5) }))
        mailServer.faults.refuse = true
        const { sso, logs } = await instance({ ...mailing, mailer: mailServer.transport })
        await sso.runMaintenance()
        const failures = logs.filter(({ message }) => message === 'the warning could not be sent by mail')
        expect(failures).toHaveLength(2)
        expect(String(failures[0]!.fields.cause)).toMatch(/the mail could not be sent: .+refused/)
        expect(await warnedDays()).toEqual([5])
      })

      it('and leaves the remaining mails for the next run if the mail server hangs, to end sessions on time', async () => {
        for (let n = 0; n < 5; n++)
          await table().insert(newProvider({ slug: `p${n}`, clientSecretExpiresAt: inDays(5) }))
        let waited = 0
        const clock = Date.now.bind(Date)
        const now = jest.spyOn(Date, 'now').mockImplementation(() => clock() + waited)
        try {
          // Simulate a mail that takes the longest allowed time.
          const mailer = async () => {
            waited += 10_000
          }
          const { sso } = await instance({ ...mailing, mailer })
          await sso.runMaintenance()
          expect((await warnedDays()).length).toBeLessThan(5)
          for (let minute = 0; minute < 4; minute++) await sso.runMaintenance()
          expect(await warnedDays()).toHaveLength(5)
        } finally {
          now.mockRestore()
        }
      })

      it.each([
        ['an invalid address', { adminMail: 'admin' }, 'adminMail: write an address'],
        ['no mailer', { adminMail: 'admin@example.com' }, 'adminMail: requires the option `mailer`'],
      ])('which refuses %s at startup', async (_what, options, sentence) => {
        const given = { baseUrl: 'http://localhost:3000', secret: testSecret, database: knex }
        await expect(createPortalSso({ ...given, ...options })).rejects.toThrow(sentence)
      })
    })
  })

  it('reads only the providers that are due, by an index', async () => {
    const statements: Knex.Sql[] = []
    const record = ({ sql, bindings }: Knex.Sql) => {
      if (/^select .*sso_providers/.test(sql)) statements.push({ sql, bindings } as Knex.Sql)
    }
    const { sso } = await instance()
    knex.on('query', record)
    await sso.runMaintenance()
    knex.removeListener('query', record)
    const explain = name === 'SQLite' ? 'explain query plan' : 'explain'
    const plans = await knex.transaction(async (trx) => {
      if (name === 'PostgreSQL') await trx.raw('set local enable_seqscan = off')
      const read = async ({ sql, bindings }: Knex.Sql) =>
        JSON.stringify(await trx.raw(`${explain} ${sql.replace(/\$\d+/g, '?')}`, bindings as Knex.Value[]))
      return await Promise.all(statements.map(read))
    })
    expect(plans).toEqual([
      expect.stringContaining('sso_providers_retire'),
      expect.stringContaining('sso_providers_secret_expiry'),
      expect.stringContaining('sso_provider_health_due'),
      expect.stringContaining('sso_providers_removed'),
    ])
  })

  it('deletes and retires by the database’s time, if the clock of this server is wrong', async () => {
    const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString()
    const { row } = aging.sso_sessions
    await knex('sso_sessions').insert({ ...row, id: 'valid', expires_at: inHours(0.5) })
    await table().insert(newProvider({ slug: 'retiring' }))
    await table().insert(newProvider({ slug: 'removed' }))
    await knex('sso_providers')
      .where({ slug: 'retiring' })
      .update({ retire_at: inHours(1) })
    await knex('sso_providers')
      .where({ slug: 'removed' })
      .update({ removed_at: inDays(-29.9) })
    const { sso, logs } = await instance()
    const clock = takeClock()
    try {
      clock.pass(100 * day)
      for (let run = 0; run < 2; run++) await sso.runMaintenance()
    } finally {
      clock.back()
    }
    expect(await knex('sso_sessions').pluck('id')).toEqual(['valid'])
    expect(await knex('sso_providers').orderBy('slug').pluck('slug')).toEqual(['removed', 'retiring'])
    expect(await knex('sso_providers').where({ slug: 'retiring' }).first()).toMatchObject({ version: 1 })
    const reports = logs.filter(({ message }) => message.startsWith('the clock of this server'))
    expect(reports.map(({ level }) => level)).toEqual(['error'])
  })

  it('deletes nothing by the database’s time alone, which may be wrong after a failover', async () => {
    await knex('sso_sessions').insert({ ...aging.sso_sessions.row, id: 'valid', expires_at: inDays(-50) })
    await table().insert(newProvider({ slug: 'removed' }))
    await knex('sso_providers').update({ removed_at: inDays(-50) })
    const { sso } = await instance()
    const clock = takeClock()
    try {
      clock.pass(-100 * day)
      await sso.runMaintenance()
    } finally {
      clock.back()
    }
    expect(await knex('sso_sessions').pluck('id')).toEqual(['valid'])
    expect(await knex('sso_providers').pluck('slug')).toEqual(['removed'])
  })

  describe('deletes', () => {
    it('a removed provider after 30 days, with its secret, and records one event', async () => {
      for (const slug of ['old', 'young', 'there'])
        await table().insert(newProvider({ slug }), { clientSecret: 'x' })
      await knex('sso_providers')
        .where({ slug: 'old' })
        .update({ removed_at: inDays(-30.01) })
      await knex('sso_providers')
        .where({ slug: 'young' })
        .update({ removed_at: inDays(-29.9) })
      const instances = await Promise.all([instance(), instance()])
      await Promise.all(instances.map(({ sso }) => sso.runMaintenance()))
      expect(await knex('sso_providers').orderBy('slug').pluck('slug')).toEqual(['there', 'young'])
      expect(await events('provider-purged')).toEqual([{ provider: 'old', actor: 'maintenance' }])
      await expect(instances[0]!.sso.providers.restore('old')).rejects.toThrow('after 30 days it is deleted')
    })

    describe.each(Object.entries(aging))('from %s', (of, { column, row, keep, index }) => {
      const hours = 3_600_000
      const old = (id: string, ago: number) => ({
        ...row,
        id,
        [column]: new Date(Date.now() - ago * hours).toISOString(),
      })

      it('expired rows only, with several instances', async () => {
        const over = Array.from({ length: 30 }, (_, n) => old(`over ${n}`, keep + 0.1 + n))
        await knex.batchInsert(of, [...over, old('counts', keep - 0.1), old('new', 0)], 10)
        const instances = await Promise.all([instance(), instance()])
        await Promise.all(instances.map(({ sso }) => sso.runMaintenance()))
        const left: string[] = await knex(of).pluck('id')
        expect(left.filter((id) => id.startsWith('over'))).toEqual([])
        expect(left).toEqual(expect.arrayContaining(['counts', 'new']))
      })

      it('rows by an index', async () => {
        const query = knex(of).where(column, '<', '2020').orderBy(column).limit(1000).select('id').toString()
        const explain = name === 'SQLite' ? 'explain query plan' : 'explain'
        const plan = await knex.transaction(async (trx) => {
          // PostgreSQL would scan a small table without the index.
          if (name === 'PostgreSQL') await trx.raw('set local enable_seqscan = off')
          return JSON.stringify(await trx.raw(`${explain} ${query}`))
        })
        expect(plan).toContain(index)
      })
    })

    it('at most 20,000 rows of a table per run, oldest first, in batches with a turn for other requests; the next run continues', async () => {
      const rows = Array.from({ length: 20_300 }, (_, n) => ({
        ...aging.sso_logout_tokens.row,
        id: `token ${n}`,
        expires_at: new Date(Date.UTC(2020, 0) + n * 1000).toISOString(),
      }))
      await knex.batchInsert('sso_logout_tokens', rows, 500)
      const { sso } = await instance()
      const batches = await recordDeletions(knex, 'sso_logout_tokens', () => sso.runMaintenance())
      expect(batches).toEqual(Array(80).fill(250))
      const left: string[] = await knex('sso_logout_tokens').pluck('id')
      expect(left).toHaveLength(300)
      expect(left).toContain('token 20299')
      await sso.runMaintenance()
      expect(await knex('sso_logout_tokens')).toHaveLength(0)
    })

    it('events after the retention time of the portal', async () => {
      const at = inDays(-40)
      await knex('sso_events').insert({ ...aging.sso_events.row, id: 'old', at })
      await (await instance()).sso.runMaintenance()
      expect(await knex('sso_events').pluck('id')).toEqual(['old'])
      await (await instance({ events: { retentionDays: 30 } })).sso.runMaintenance()
      expect(await knex('sso_events').where({ id: 'old' })).toEqual([])
    })

    it('one-time links a day after they expire', async () => {
      const token = (id: string, expires: number) => ({
        id,
        portal: 'default',
        kind: 'test-sign-in',
        detail: '{}',
        created_at: inDays(-3),
        expires_at: inDays(expires),
      })
      await knex('sso_one_time_links').insert([token('old', -1.01), token('over', -0.9), token('good', 0.01)])
      const { sso } = await instance()
      await sso.runMaintenance()
      expect(await knex('sso_one_time_links').orderBy('id').pluck('id')).toEqual(['good', 'over'])
    })

    it('nothing else', async () => {
      await table().insert(newProvider(), { clientSecret: 'x' })
      await knex('sso_events').insert({
        id: randomUUID(),
        portal: 'default',
        at: inDays(-300),
        kind: 'signed-in',
        detail: '{}',
      })
      const before = [await knex('sso_providers'), await knex('sso_events')]
      const { sso } = await instance()
      await sso.runMaintenance()
      expect([await knex('sso_providers'), await knex('sso_events')]).toEqual(before)
    })
  })
})

describe('Maintenance', () => {
  const logs: { fields: object; message: string }[] = []
  const logger = {
    info() {},
    warn() {},
    error: (fields: object, message: string) => void logs.push({ fields, message }),
  }

  it('continues after a failed task, and logs it', async () => {
    const done: string[] = []
    const maintenance = new Maintenance(
      { logger },
      {
        first: async () => {
          throw new Error('the database is away')
        },
        second: async () => void done.push('second'),
      },
    )
    await maintenance.run()
    expect(done).toEqual(['second'])
    expect(logs).toEqual([
      {
        fields: { task: 'first', cause: 'the database is away' },
        message: 'a maintenance task failed; it will run again in a minute',
      },
    ])
  })

  it('runs about once a minute between start and stop', async () => {
    jest.useFakeTimers()
    try {
      let runs = 0
      const maintenance = new Maintenance(
        { logger },
        {
          async task() {
            runs += 1
          },
        },
      )
      maintenance.start()
      maintenance.start()
      await jest.advanceTimersByTimeAsync(29_000)
      expect(runs).toBe(0)
      await jest.advanceTimersByTimeAsync(10 * 60_000)
      expect(runs).toBeGreaterThanOrEqual(6)
      expect(runs).toBeLessThanOrEqual(21)
      await maintenance.stop()
      const before = runs
      await jest.advanceTimersByTimeAsync(10 * 60_000)
      expect(runs).toBe(before)
    } finally {
      jest.useRealTimers()
    }
  })

  it('never runs concurrently in one instance, and never after stop', async () => {
    let running = 0
    let maxRunning = 0
    let runs = 0
    const maintenance = new Maintenance(
      { logger },
      {
        async task() {
          runs += 1
          maxRunning = Math.max(maxRunning, ++running)
          await new Promise((resolve) => setImmediate(resolve))
          running -= 1
        },
      },
    )
    await Promise.all([maintenance.run(), maintenance.run(), maintenance.run()])
    expect([runs, maxRunning]).toEqual([3, 1])
    const last = maintenance.run()
    await maintenance.stop()
    await last
    await maintenance.run()
    expect(runs).toBeLessThanOrEqual(4)
    expect(running).toBe(0)
  })
})
