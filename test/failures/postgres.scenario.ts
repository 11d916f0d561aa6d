import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import pg from 'pg'
import {
  expectOneOutage,
  longestWait,
  type Outage,
  ofKind,
  slackMs,
  statuses,
  useParts,
} from './support/scene.ts'

const parts = useParts()
const administrators: pg.Client[] = []
afterEach(async () => {
  for (const administrator of administrators.splice(0)) await administrator.end()
})

/** A connection of its own, which the scenario may use while those of the portal fail. */
async function connectAdministrator(): Promise<pg.Client> {
  const administrator = new pg.Client({ connectionString: parts.postgres.url, application_name: 'scenario' })
  await administrator.connect()
  administrators.push(administrator)
  return administrator
}

/** How long a page waits for its query, before it uses the cached value. */
const cachedPageMs = 250
const signInMs = 2000

function expectPagesFromCache(outage: Outage): void {
  const { during } = outage
  expect(statuses(ofKind(during, 'page'))).toEqual([200])
  expect(longestWait(outage, ofKind(during, 'page'))).toBeLessThan(cachedPageMs + slackMs)
  expect(longestWait(outage, ofKind(during, 'start', 'callback'))).toBeLessThan(signInMs + slackMs)
}

/** Apart from those that were sent when the outage began. */
const signIns = ({ during, brokenBy }: Outage) =>
  ofKind(during, 'start', 'callback').filter(({ at }) => at > brokenBy)

describe('PostgreSQL', () => {
  it('is stopped for 8 s: pages come from the cache, sign-ins get 503', async () => {
    const scene = await parts.startUnderLoad()
    const { postgres } = parts
    const outage = await scene.outage(
      8,
      () => postgres.stop(),
      () => postgres.start(),
    )
    expectPagesFromCache(outage)
    expect(statuses(signIns(outage))).toEqual([503])
    expectOneOutage(outage)
  })

  it('hangs for 15 s: pages come from the cache, sign-ins get 503', async () => {
    const scene = await parts.startUnderLoad()
    const { postgres } = parts
    const outage = await scene.outage(
      15,
      () => postgres.pause(),
      () => postgres.resume(),
    )
    expectPagesFromCache(outage)
    expect(statuses(signIns(outage))).toEqual([503])
    expectOneOutage(outage)
  })

  it('is restarted: no page fails', async () => {
    const scene = await parts.startUnderLoad()
    const { postgres } = parts
    expectPagesFromCache(
      await scene.outage(
        0,
        () => postgres.stop(),
        () => postgres.start(),
      ),
    )
  })

  it('ends all connections five times a second, in mid sign-in: no page fails, sign-ins succeed or get 503', async () => {
    const scene = await parts.startUnderLoad()
    const administrator = await connectAdministrator()
    const outage = await scene.outage(
      0,
      async () => {
        for (let times = 0; times < 30; times++) {
          await administrator.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name <> 'scenario' and backend_type = 'client backend'",
          )
          await delay(200)
        }
      },
      () => {},
    )
    expectPagesFromCache(outage)
    expect([302, 303, 503]).toEqual(
      expect.arrayContaining(statuses(ofKind(outage.during, 'start', 'callback'))),
    )
  })

  it('is read-only for 5 s, as after a failover: no page fails, sign-ins get 503', async () => {
    const scene = await parts.startUnderLoad()
    const administrator = await connectAdministrator()
    const outage = await scene.outage(
      5,
      async () => {
        await administrator.query('alter system set default_transaction_read_only = on')
        await administrator.query('select pg_reload_conf()')
      },
      async () => {
        await administrator.query('alter system reset default_transaction_read_only')
        await administrator.query('select pg_reload_conf()')
      },
    )
    expectPagesFromCache(outage)
    expect(statuses(ofKind(signIns(outage), 'callback'))).toEqual([503])
  })

  it('has no connection left, because the host holds all of its pool for 10 s: as if it hung', async () => {
    const scene = await parts.startUnderLoad({ poolSize: 4 })
    const outage = await scene.outage(
      10,
      () => scene.instance.post('connections', 10_000),
      () => {},
    )
    expectPagesFromCache(outage)
    expect(statuses(signIns(outage).filter(({ at }) => at < outage.restoredAt - slackMs))).toEqual([503])
    expectOneOutage(outage)
  })
})
