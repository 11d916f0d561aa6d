import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import type { UserDirectory } from '../../lib/index.ts'
import { takeClock } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { everyDatabase } from '../support/databases.ts'
import type { TestPortalOptions } from '../support/portal.ts'
import { connectRedis } from '../support/redis.ts'
import { ada, signIn, startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()

/** A directory of the host's own, with one statement for each method. */
async function ownDirectory(knex: Knex): Promise<UserDirectory> {
  await knex.schema.createTable('people', (table) => {
    table.string('id', 36).primary()
    table.string('email', 254)
    table.string('name', 200)
  })
  await knex('people').insert({ id: 'ada', email: ada.email, name: ada.name })
  return {
    findById: (id) => knex('people').where({ id }).first(),
    findByEmail: (email) => knex('people').where({ email }).first(),
    create: () => Promise.reject(new Error('nobody registers here')),
  }
}

/** @returns the command and its table, such as `insert sso_events` */
function summarize(sql: string): string {
  const pattern = /^(select) .*?from (\w+)|^(insert) into (\w+)|^(update) (\w+)/s
  const [, ...words] = pattern.exec(sql.replace(/["`]/g, '')) ?? [sql]
  return words.filter((word) => word !== undefined).join(' ')
}

/** The cost table of `docs/performance.md`. If a number changes here, it changes there. */
describe.each(everyDatabase)('costs of a returning user, on %s', (_name, fresh) => {
  let knex: Knex

  beforeEach(async () => {
    const { config, drop } = await fresh()
    knex = knexModule(config)
    open.push({ close: drop }, { close: () => knex.destroy() })
  })

  /** @returns all commands to Redis that contain the prefix, up to the call */
  async function monitorRedis(prefix: string) {
    const [redis, monitor] = [await connectRedis(), await connectRedis()]
    const lines: string[] = []
    const seen = new EventTarget()
    await monitor.monitor((line) => {
      lines.push(line.toString())
      seen.dispatchEvent(new Event('line'))
    })
    open.push({ close: () => redis.destroy() }, { close: () => monitor.destroy() })
    const readCommands = async () => {
      const mark = randomUUID()
      await redis.echo(mark)
      // Other files use this Redis at the same time.
      while (!lines.some((line) => line.includes(mark))) await once(seen, 'line')
      // The rate limits send one script per second, however many requests they have counted.
      const isOwn = (line: string) => line.includes(prefix) && !/"EVAL"| lua\]/i.test(line)
      const commands = lines.filter(isOwn).map((line) => /\] "(\w+)"/.exec(line)?.[1]?.toUpperCase())
      lines.length = 0
      return commands
    }
    return { redis, readCommands }
  }

  async function measure({ prefix, ...options }: TestPortalOptions & { prefix?: string }) {
    const monitored = prefix === undefined ? undefined : await monitorRedis(prefix)
    const session = { userCacheSeconds: 5, ...(prefix !== undefined && { prefix }) }
    const given = { ...options, ...(monitored && { redis: monitored.redis }) }
    const portal = await startPortalWithAda(provider, { database: knex, rateLimits: {}, ...given, session })
    open.push(portal)
    // Links the user, and reads the documents of the provider.
    expect((await signIn({ portal, visitor: new Visitor() }, 'acme')).status).toBe(200)

    const sql: string[] = []
    knex.on('query', (query: { sql: string }) => sql.push(summarize(query.sql)))
    const takeCosts = async () => ({
      sql: sql.splice(0),
      redis: await monitored?.readCommands(),
      provider: provider.requests
        .splice(0)
        .map(({ path }) => path)
        .filter((path) => path !== '/authorize'),
    })
    await takeCosts()
    const visitor = new Visitor()
    const begun = await visitor.get(`${portal.url}/login/acme?returnTo=/portal`)
    const start = await takeCosts()
    const { location = '' } = await visitor.get(begun.location ?? '')
    const page = await visitor.follow(await visitor.get(location))
    const callbackAndPage = await takeCosts()
    expect(JSON.parse(page.body)).toMatchObject({ path: '/portal', user: { email: ada.email } })
    return { portal, visitor, takeCosts, start, callbackAndPage }
  }

  const measureSignIn = async (options: Parameters<typeof measure>[0]) => {
    const { start, callbackAndPage } = await measure(options)
    return { start, callbackAndPage }
  }

  const inBuiltInTable = [
    'select sso_providers',
    'select sso_identities',
    'insert sso_sessions',
    'update sso_identities',
    'insert sso_events',
  ]

  it('with Redis: 1 statement at the start, then 5, 3 Redis commands and 1 provider call', async () => {
    expect(await measureSignIn({ prefix: `cost-${randomUUID()}:` })).toEqual({
      start: { sql: ['select sso_providers'], redis: [], provider: [] },
      callbackAndPage: { sql: inBuiltInTable, redis: ['SET', 'SET', 'GET'], provider: ['/token'] },
    })
  })

  it('without Redis: a statement more, which marks the code', async () => {
    const [first = '', ...others] = inBuiltInTable
    expect(await measureSignIn({})).toEqual({
      start: { sql: ['select sso_providers'], redis: undefined, provider: [] },
      callbackAndPage: {
        sql: [first, 'insert sso_redeemed_codes', ...others],
        redis: undefined,
        provider: ['/token'],
      },
    })
  })

  it('with a directory of the host: a statement more, which reads the user there', async () => {
    const [row = '', link = '', ...others] = inBuiltInTable
    const users = await ownDirectory(knex)
    expect(await measureSignIn({ users, prefix: `cost-${randomUUID()}:` })).toEqual({
      start: { sql: ['select sso_providers'], redis: [], provider: [] },
      callbackAndPage: {
        sql: [row, link, 'select people', ...others],
        redis: ['SET', 'SET', 'GET'],
        provider: ['/token'],
      },
    })
  })

  it('of the guarded page: 1 Redis command; 2 statements more when the cached user has expired', async () => {
    const { portal, visitor, takeCosts } = await measure({ prefix: `cost-${randomUUID()}:` })
    const clock = takeClock()
    open.push({ close: async () => clock.back() })
    const openPage = async () => {
      expect((await visitor.get(`${portal.url}/portal`)).status).toBe(200)
      return await takeCosts()
    }
    expect(await openPage()).toEqual({ sql: [], redis: ['GET'], provider: [] })
    clock.pass(6000)
    const reads = ['select sso_sessions', 'select sso_users']
    expect(await openPage()).toEqual({ sql: reads, redis: ['GET'], provider: [] })
    expect(await openPage()).toEqual({ sql: [], redis: ['GET'], provider: [] })
  })

  it('of a page of the host that needs no user: the same', async () => {
    const { portal, visitor, takeCosts } = await measure({ prefix: `cost-${randomUUID()}:` })
    expect((await visitor.get(portal.url)).body).toBe(`home of ${ada.email}`)
    expect(await takeCosts()).toEqual({ sql: [], redis: ['GET'], provider: [] })
  })

  it('of a visitor who is sent to the login page: none', async () => {
    const { portal, takeCosts } = await measure({ prefix: `cost-${randomUUID()}:` })
    for (const accept of ['text/html', 'application/json'])
      expect((await new Visitor({ accept }).get(`${portal.url}/portal`)).status).toBe(
        accept === 'text/html' ? 302 : 401,
      )
    expect((await new Visitor().get(portal.url)).body).toBe('home of nobody')
    expect(await takeCosts()).toEqual({ sql: [], redis: [], provider: [] })
  })
})
