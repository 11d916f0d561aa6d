import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import type { RedisClientType } from 'redis'
import { consoleLogger } from '../../lib/shared/logger.ts'
import { RedeemedCodes } from '../../lib/sign-in/attempts.ts'
import { createBreakers } from '../../lib/web/core.ts'
import { sharedClock, takeTimers } from '../support/clock.ts'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import { startPortal } from '../support/portal.ts'
import { connectRedis, startOwnRedis } from '../support/redis.ts'
import { ada, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let states = 0
const coreOf = (knex: Knex) => ({
  clock: sharedClock,
  knex,
  prefix,
  breakers: createBreakers(knex, consoleLogger),
})
const newState = () => `state-${Date.now()}-${states++}`

/** Ten requests on each of two instances, at the same time. */
async function claimConcurrently(north: RedeemedCodes, south: RedeemedCodes): Promise<boolean[]> {
  const state = newState()
  const claims = Array.from({ length: 10 }, () => [north.claim(state), south.claim(state)])
  return await Promise.all(claims.flat())
}

describe.each(everyDatabase)('on %s, a code', (_name, fresh) => {
  let database: Awaited<ReturnType<typeof openMigrated>>
  let second: Knex

  beforeAll(async () => {
    database = await openMigrated(fresh)
    second = knexModule(database.config)
  })
  afterAll(async () => {
    await second.destroy()
    await database.close()
  })

  it('is redeemed by one of twenty concurrent requests to two instances', async () => {
    const [north, south] = [database.knex, second].map((knex) => new RedeemedCodes(coreOf(knex), undefined))
    const claimed = await claimConcurrently(north!, south!)
    expect(claimed.filter(Boolean)).toHaveLength(1)
  })

  it('leaves a marker that does not contain its state, until after its attempt has expired', async () => {
    const { knex } = database
    await knex('sso_redeemed_codes').delete()
    const state = newState()
    await new RedeemedCodes(coreOf(knex), undefined).claim(state)
    const [row] = await knex('sso_redeemed_codes')
    expect(row).toEqual({
      id: expect.stringMatching(/^[\w-]{43}$/),
      expires_at: expect.stringMatching(/^\d{4}-/),
    })
    expect(JSON.stringify(row)).not.toContain(state)
    expect(Date.parse(row.expires_at) - Date.now()).toBeGreaterThan(10 * 60_000)
  })
})

const prefix = 'portal-sso:'

describe('with Redis, a code', () => {
  let redis: RedisClientType
  let unused: Knex

  beforeAll(async () => {
    redis = await connectRedis()
    // Any statement fails.
    unused = knexModule({ client: 'pg' })
  })
  afterAll(async () => {
    await redis.close()
    await unused.destroy()
  })

  it('is redeemed by one of twenty concurrent requests to two instances, without the database', async () => {
    const other = await connectRedis()
    const [north, south] = [redis, other].map((client) => new RedeemedCodes(coreOf(unused), client))
    const claimed = await claimConcurrently(north!, south!)
    await other.close()
    expect(claimed.filter(Boolean)).toHaveLength(1)
  })

  it('leaves a marker that does not contain its state, until after its attempt has expired', async () => {
    const state = newState()
    const before = await markers()
    await new RedeemedCodes(coreOf(unused), redis).claim(state)
    const [key, ...others] = (await markers()).filter((each) => !before.includes(each))
    expect([key, others]).toEqual([expect.stringMatching(/^portal-sso:redeemed:[\w-]{43}$/), []])
    const seconds = await redis.ttl(key!)
    expect(seconds).toBeGreaterThan(600)
    expect(seconds).toBeLessThanOrEqual(1200)
  })

  async function markers(): Promise<string[]> {
    const found: string[] = []
    for await (const keys of redis.scanIterator({ MATCH: 'portal-sso:redeemed:*' })) found.push(...keys)
    return found
  }

  it('is not sent while Redis is silent, because two instances could both send it', async () => {
    const silent = { ...redis, set: () => new Promise<never>(() => {}) }
    const timers = takeTimers()
    try {
      const claim = new RedeemedCodes(coreOf(unused), silent).claim(newState())
      const refused = expect(claim).rejects.toMatchObject({ code: 'session_unavailable' })
      timers.pass(1000)
      await refused
    } finally {
      timers.back()
    }
  })

  it('is not sent while Redis is down, and the page has a button that works afterwards', async () => {
    const server = await startOwnRedis()
    const client = await connectRedis(server.url)
    const portal = await startPortal({ redis: client })
    try {
      await portal.connect(provider)
      await portal.sso.users.create(ada)
      const visitor = new Visitor()
      const start = await visitor.get(`${portal.url}/login/acme?returnTo=/portal`)
      const response = (await visitor.get(start.location!)).location!
      provider.requests.length = 0
      await server.stop()
      const seen = await visitor.get(response)
      expect([seen.status, seen.body]).toEqual([503, expect.stringContaining('href="/login/acme?returnTo=')])
      expect(provider.requests.filter(({ path }) => path === '/token')).toEqual([])
      await server.start()
      while (!client.isReady) await new Promise((resolve) => setTimeout(resolve, 5))
      expect((await visitor.open(response)).url).toBe(`${portal.url}/portal`)
    } finally {
      await portal.close()
      client.destroy()
      await server.stop()
    }
  })
})
