import { afterEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import { DatabaseClock } from '../../lib/database/clock.ts'
import { type Clock, takeClock } from '../support/clock.ts'
import { everyEmptyDatabase } from '../support/databases.ts'

let clock: Clock | undefined
afterEach(() => clock?.back())

describe('the time of a provider', () => {
  const now = Date.parse('2026-07-01T12:00:00.900Z')
  const date = 'Wed, 01 Jul 2026 12:00:00 GMT'

  it.each<[string, number, Record<string, string>, number | undefined]>([
    ['is the same within its second', 0, { date }, undefined],
    ['is unknown without the header', 0, {}, undefined],
    ['is unknown with a malformed header', 0, { date: 'yesterday' }, undefined],
    ['may differ by ten seconds', 10_000, { date }, undefined],
    ['shows that our clock is ahead', 60_000, { date }, -59_900],
    ['shows that our clock is behind', -60_000, { date }, 59_100],
    ['is that of the origin plus the age of a cached response', 60_000, { date, age: '60' }, undefined],
    ['ignores a malformed age', 60_000, { date, age: 'old' }, -59_900],
  ])('%s', (_what, passed, headers, offsetMs) => {
    const lines: object[] = []
    const log = (fields: object) => void lines.push(fields)
    const unused = undefined as never
    const measured = new DatabaseClock(unused, { info: log, warn: log, error: log })
    clock = takeClock()
    clock.pass(now + passed - Date.now())
    for (let time = 0; time < 2; time++)
      measured.compareWithProvider(new Response('', { headers }), Date.now(), 'https://id.example')
    expect(measured.providerOffsetMs).toBe(offsetMs)
    // Nothing that is decided by the clock depends on a provider.
    expect([measured.isWrong, measured.offsetMs]).toEqual([false, undefined])
    const seconds = offsetMs && Math.round(offsetMs / 1000)
    expect(lines).toEqual(seconds ? [{ seconds, issuer: 'https://id.example' }] : [])
  })
})

describe.each(everyEmptyDatabase)('the clock of %s', (_name, fresh) => {
  it('shows by how much the clock of this server is wrong, and is logged once each time that this changes', async () => {
    const lines: string[] = []
    const log = (_fields: object, message: string) => void lines.push(message)
    const { config, drop } = await fresh()
    const knex = knexModule(config)
    const database = new DatabaseClock(knex, { info: log, warn: log, error: log })
    try {
      expect(database.offsetMs).toBeUndefined()
      await database.measure()
      expect(Math.abs(database.offsetMs!)).toBeLessThan(1000)
      expect(database.isWrong).toBe(false)
      clock = takeClock()
      const startedAt = Date.now()
      clock.pass(3_600_000)
      for (let run = 0; run < 2; run++) expect((await database.measure()) - startedAt).toBeLessThan(60_000)
      expect(database.isWrong).toBe(true)
      expect(database.now() - startedAt).toBeLessThan(60_000)
      expect(lines).toEqual([
        'the clock of this server is 3600 s ahead of the database’s, so sign-ins fail: synchronize it (NTP)',
      ])
      clock.pass(-3_600_000)
      await database.measure()
      clock.pass(-60_000)
      await database.measure()
      expect(lines.slice(1)).toEqual([
        'the clock of this server is right again',
        'the clock of this server is 60 s behind the database’s, so sign-ins fail: synchronize it (NTP)',
      ])
    } finally {
      await knex.destroy()
      await drop()
    }
  })
})
