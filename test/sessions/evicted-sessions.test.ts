/** @slow starts several Redis servers */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import session, { MemoryStore } from 'express-session'
import type { RedisClientType } from 'redis'
import { mountDefault, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { connectRedis, type OwnRedis, startOwnRedis } from '../support/redis.ts'
import { hasClusterProgram, startRedisCluster } from '../support/redis-cluster.ts'
import { startRedisSentinel } from '../support/redis-sentinel.ts'
import { signIn, startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

const firefox = { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' }
const safari = {
  'user-agent':
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15',
}

async function start(options: TestPortalOptions): Promise<TestPortal> {
  const portal = await startPortalWithAda(provider, {
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
    },
    ...options,
  })
  closing.push(() => portal.close())
  return portal
}

/** Signs Ada in with two browsers. @returns them and the Redis key of the second one's session */
async function signInTwice(portal: TestPortal) {
  const [here, other] = [new Visitor(firefox), new Visitor(safari)]
  for (const visitor of [here, other]) expect((await signIn({ portal, visitor }, 'acme')).status).toBe(200)
  const cookie = decodeURIComponent(other.cookies.get(portal.url)!.get('portal-sso')!)
  return { here, other, key: `portal-sso:session:${cookie.slice(2).split('.')[0]}` }
}

const userId = async ({ sso }: TestPortal) => (await sso.users.findByEmail('ada@example.com'))!.id
const onAccount = async (portal: TestPortal, visitor: Visitor) =>
  (await visitor.get(`${portal.url}/account/security`)).body
const onAdmin = async (portal: TestPortal) =>
  (await new Visitor().get(`${portal.url}/admin/sso/sessions?user=${await userId(portal)}`)).body

describe('a session that Redis has evicted', () => {
  let own: OwnRedis
  let redis: RedisClientType
  beforeAll(async () => {
    own = await startOwnRedis()
    redis = await connectRedis(own.url)
  })
  afterAll(async () => {
    redis.destroy()
    await own.stop()
  })

  it('is no longer on the account page, on the admin pages and in the list for code', async () => {
    const portal = await start({ redis })
    const { here, other, key } = await signInTwice(portal)
    expect(await onAccount(portal, here)).toContain('Safari')
    // Redis evicts the keys that would expire first, the session's before the ballast.
    await redis.set('ballast', 'x'.repeat(5_000_000), { expiration: { type: 'EX', value: 90 } })
    await redis.expire(key, 60)
    const used = Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1])
    const evicting = { 'maxmemory-policy': 'volatile-ttl', 'maxmemory-samples': '64' }
    await redis.configSet({ ...evicting, maxmemory: String(used - 1000) })
    await redis.configSet({ 'maxmemory-policy': 'noeviction', maxmemory: '0' })
    expect(await redis.exists([key])).toBe(0)

    const account = await onAccount(portal, here)
    expect(account).toContain('Firefox')
    expect(account).not.toContain('Safari')
    const admin = await onAdmin(portal)
    expect(admin).toContain('1 active session')
    expect(admin).not.toContain('Safari')
    const listed = await portal.sso.sessions.list({ userId: await userId(portal) })
    expect(listed.map(({ browser }) => browser)).toEqual(['Firefox'])
    expect((await other.get(`${portal.url}/portal`)).status).toBe(302)
    expect((await here.get(`${portal.url}/portal`)).status).toBe(200)
  })

  it('costs no look-up on a guarded page', async () => {
    const portal = await start({ redis })
    const { here } = await signInTwice(portal)
    await redis.configResetStat()
    expect((await here.get(`${portal.url}/portal`)).status).toBe(200)
    const commands = await redis.info('commandstats')
    expect(commands).toMatch(/^cmdstat_get:calls=1,/m)
    expect(commands).not.toMatch(/^cmdstat_(eval|exists|pttl|mget)/m)
  })

  it('is listed with all others while Redis is down', async () => {
    const portal = await start({ redis })
    const { key } = await signInTwice(portal)
    await redis.del(key)
    expect(await onAdmin(portal)).not.toContain('Safari')
    await own.stop()
    expect(await onAdmin(portal)).toContain('Safari')
    await own.start()
  })

  it('is not confused with one in the store of a host’s own express-session', async () => {
    const portal = await start({
      redis,
      mount(app, sso) {
        const secret = 'of the host'
        app.use(session({ store: new MemoryStore(), secret, resave: false, saveUninitialized: false }))
        app.use(sso.session({ own: true }))
        app.use(sso.router())
        app.use('/portal', sso.guard(), (_req, res) => void res.send('in'))
      },
    })
    const visitor = new Visitor(safari)
    expect((await signIn({ portal, visitor }, 'acme')).status).toBe(200)
    expect(await onAccount(portal, visitor)).toContain('Safari')
  })
})

const withProgram = hasClusterProgram() ? describe : describe.skip

withProgram('a portal', () => {
  it.each([
    ['Redis Cluster', startRedisCluster],
    ['Redis Sentinel', startRedisSentinel],
  ])('works with a %s, and finds the sessions that it has lost', async (_name, startServers) => {
    const servers = await startServers()
    closing.push(() => servers.stop())
    const redis = await servers.connect()
    closing.push(() => redis.destroy())
    const portal = await start({ redis })
    const { here, key } = await signInTwice(portal)
    expect(await onAccount(portal, here)).toContain('Safari')
    await redis.del(key)
    expect(await onAccount(portal, here)).not.toContain('Safari')
  })
})
