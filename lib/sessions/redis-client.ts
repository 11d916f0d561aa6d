import { randomUUID } from 'node:crypto'
import { ConfigurationError, describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { RedisLike } from './session-store.ts'

const probeTimeoutMs = 2 * SECOND
const expected =
  'redis: give a connected client of the package `redis`, version 5 or newer (`createClient`, `createCluster` or `createSentinel`)'
/** names of errors that say nothing about the client */
const outages = /^(?:SocketClosedUnexpectedlyError|ConnectionTimeoutError|SocketTimeoutError|AggregateError)$/

/**
 * Other clients have methods of the same names: `redis` 4 ignores our expiry, so that no session would ever end, and ioredis refuses
 * the command at each sign-in. While Redis is down, nothing can be found out, and the portal starts.
 *
 * @throws ConfigurationError for another client, and for one that is not connected
 */
export async function assertRedisClient(redis: RedisLike, logger: Logger): Promise<void> {
  const key = `portal-sso:probe:${randomUUID()}`
  try {
    const expiration = { type: 'EX', value: 60 } as const
    await withTimeout(probeTimeoutMs, redis.set(key, '1', { expiration }))
    const script = "return redis.call('PTTL', KEYS[1])"
    const left = await withTimeout(probeTimeoutMs, redis.eval(script, { keys: [key], arguments: [] }))
    await withTimeout(probeTimeoutMs, redis.del([key]))
    if (Number(left) > 0) return
  } catch (cause) {
    const { code, name } = cause as { code?: unknown; name?: unknown }
    if (code !== 'timeout' && code !== 'ECONNREFUSED' && !outages.test(String(name)))
      throw new ConfigurationError(`${expected}: ${describeError(cause)}`, { cause })
    logger.warn({ cause: describeError(cause) }, 'Redis does not respond: nobody can sign in until it does')
    return
  }
  throw new ConfigurationError(`${expected}: this one sets no expiry`)
}
