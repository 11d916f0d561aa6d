import { randomUUID } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { CircuitBreaker } from '../shared/circuit-breaker.ts'
import { ConfigurationError, describeError, isConnectionError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { RedisCounter } from '../web/rate-limit.ts'

/** The methods that the plugin calls on a connected client or cluster of the package `redis`, version 5 or newer. */
export interface RedisLike extends RedisCounter {
  /** Redis command GET. */
  get(key: string): Promise<unknown>
  /** Redis command SET with EX, and XX or NX if `condition` says so. */
  set(
    key: string,
    value: string,
    options: { expiration: { type: 'EX'; value: number }; condition?: 'XX' | 'NX' },
  ): Promise<unknown>
  /** Redis command DEL. */
  del(keys: string[]): Promise<unknown>
  /** Redis command EXPIRE. */
  expire(key: string, seconds: number): Promise<unknown>
}

const probeTimeoutMs = 2 * SECOND
const expected =
  'redis: give a connected client of the package `redis`, version 5 or newer (`createClient`, `createCluster` or `createSentinel`)'

/**
 * Other clients have methods of the same names. `redis` 4 ignores our expiry, so no session would ever end, and ioredis rejects the
 * command at each sign-in. While Redis is down, the portal starts without this check.
 *
 * @throws ConfigurationError for another client, and for one that is not connected
 */
export async function assertRedisClient(redis: RedisLike, logger: Logger, prefix: string): Promise<void> {
  const key = `${prefix}probe:${randomUUID()}`
  // Node.js would end the process at the first lost connection. The circuit breaker reports outages.
  if (redis instanceof EventEmitter && redis.listenerCount('error') === 0) redis.on('error', () => {})
  try {
    const expiration = { type: 'EX', value: 60 } as const
    await withTimeout(probeTimeoutMs, redis.set(key, '1', { expiration }))
    const left = await withTimeout(probeTimeoutMs, millisecondsLeft(redis, key))
    await withTimeout(probeTimeoutMs, redis.del([key]))
    if (left > 0) return
  } catch (cause) {
    if (!isConnectionError(cause))
      throw new ConfigurationError(`${expected}: ${describeError(cause)}`, { cause })
    logger.warn({ cause: describeError(cause) }, 'Redis does not respond: nobody can sign in until it does')
    return
  }
  throw new ConfigurationError(`${expected}: this one sets no expiry`)
}

/** With EVAL, which the rate limits need, too: a restricted Redis user needs no further right. @returns -2 for a missing key */
export async function millisecondsLeft(redis: RedisLike, key: string): Promise<number> {
  return Number(await redis.eval("return redis.call('PTTL', KEYS[1])", { keys: [key], arguments: [] }))
}

/** The client behind a circuit breaker. It probes with the key of the command, because one node of a cluster may be down. */
export function limitRedis(client: RedisLike, breaker: CircuitBreaker): RedisLike {
  const run = (key: string | undefined, call: () => Promise<unknown>) =>
    breaker.run(call, { key, probe: () => client.get(key ?? '') })
  // The breaker limits the time. A limit of the client costs a signal and a timer for each command, which live until it expires.
  // As `withCommandOptions`, but calls the functions of this object, which a host may have wrapped.
  const options = { _commandOptions: { value: { timeout: 0 } } }
  const reader: RedisLike = 'withCommandOptions' in client ? Object.create(client, options) : client
  return {
    get: (key) => run(key, () => reader.get(key)),
    set: (key, ...rest) => run(key, () => client.set(key, ...rest)),
    del: (keys) => run(keys[0], () => client.del(keys)),
    expire: (key, seconds) => run(key, () => client.expire(key, seconds)),
    eval: (script, options) => run(options.keys[0], () => client.eval(script, options)),
  }
}
