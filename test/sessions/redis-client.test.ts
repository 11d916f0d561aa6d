import { afterAll, describe, expect, it, jest } from '@jest/globals'
import { Redis } from 'ioredis'
import { createClient, createSentinel } from 'redis'
import { createClient as createClient4 } from 'redis4'
import { createPortalSso } from '../../lib/index.ts'
import { limitRedis } from '../../lib/sessions/redis-client.ts'
import { CircuitBreaker } from '../../lib/shared/circuit-breaker.ts'
import type { Logger } from '../../lib/shared/logger.ts'
import { Outage } from '../../lib/shared/outage.ts'
import { testSecret } from '../support/portal.ts'
import { connectRedis, startOwnRedis } from '../support/redis.ts'

const url = process.env.TEST_REDIS_URL!
const closing: (() => unknown)[] = []
afterAll(async () => {
  for (const close of closing) await close()
})

/** Starts a portal with a client. @returns its warnings */
async function start(redis: unknown): Promise<string[]> {
  const warnings: string[] = []
  const logger: Logger = { info() {}, warn: (_fields, message) => warnings.push(message), error() {} }
  const options = { baseUrl: 'http://localhost', secret: testSecret, database: 'sqlite::memory:', logger }
  const sso = await createPortalSso({ ...options, redis: redis as never })
  await sso.close()
  return warnings
}

describe('the option redis', () => {
  it('accepts a connected client', async () => {
    const client = await connectRedis()
    closing.push(() => client.destroy())
    expect(await start(client)).toEqual([])
    expect(await client.keys('portal-sso:probe:*')).toEqual([])
  })

  it('refuses ioredis, and names the package to use', async () => {
    const client = new Redis(url)
    closing.push(() => client.disconnect())
    await expect(start(client)).rejects.toThrow(
      /^redis: give a connected client of the package `redis`.*syntax/,
    )
  })

  it('refuses `redis` 4, which would store sessions without an end', async () => {
    const client = createClient4({ url })
    await client.connect()
    closing.push(() => client.disconnect())
    await expect(start(client)).rejects.toThrow(/version 5 or newer.*: this one sets no expiry$/)
  })

  it('refuses a client that is not connected', async () => {
    await expect(start(createClient({ url }))).rejects.toThrow(/give a connected client.*closed/)
  })

  it('is read without the time limit of the client, which keeps a timer for each command', async () => {
    const client = await connectRedis()
    closing.push(() => client.destroy())
    const silent = { warn() {}, error() {} }
    const outage = new Outage(silent, 'Redis', 'session_unavailable')
    const breaker = new CircuitBreaker({ timeoutMs: 1000, outage, code: 'session_unavailable' })
    const onTimeout = jest.spyOn(AbortSignal, 'timeout')
    await client.get('key')
    expect(onTimeout).toHaveBeenCalledTimes(1)
    expect(await limitRedis(client, breaker).get('key')).toBe(null)
    expect(onTimeout).toHaveBeenCalledTimes(1)
    // A wrapper, whose functions run on the client itself, is not bypassed.
    const get = (target: typeof client, name: string) =>
      name === 'get' ? async () => 'wrapped' : (Reflect.get(target, name) as () => unknown).bind(target)
    expect(await limitRedis(new Proxy(client, { get } as never), breaker).get('key')).toBe('wrapped')
  })

  it('survives a lost connection without an `error` listener of the host', async () => {
    const own = await startOwnRedis()
    const client = createClient({ url: own.url, socket: { reconnectStrategy: 50 } })
    await client.connect()
    closing.push(() => client.destroy())
    await start(client)
    await start(client)
    expect(client.listenerCount('error')).toBe(1)
    const lost = new Promise((resolve) => client.once('reconnecting', resolve))
    await own.stop()
    await lost
  })

  it('accepts a client while Redis is down, with a warning', async () => {
    const own = await startOwnRedis()
    const client = await connectRedis(own.url)
    closing.push(() => client.destroy())
    await own.stop()
    expect(await start(client)).toEqual(['Redis does not respond: nobody can sign in until it does'])
  })

  it('has a type that accepts a sentinel', () => {
    const accepts = (client: NonNullable<Parameters<typeof createPortalSso>[0]['redis']>) => client
    const sentinel = createSentinel({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] })
    expect(accepts(sentinel)).toBe(sentinel)
  })
})
