import { afterEach, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import { DatabaseClock } from '../../lib/database/clock.ts'
import { type Clock, takeClock } from '../support/clock.ts'
import { everyEmptyDatabase } from '../support/databases.ts'

let clock: Clock | undefined
afterEach(() => clock?.back())

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
