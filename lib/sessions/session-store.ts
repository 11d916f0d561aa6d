import type { Store } from 'express-session'
import { ConfigurationError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { LimitsOf } from './limits.ts'
import { LivingMemoryStore } from './memory-store.ts'
import { PunctualRedisStore, type RedisLike } from './redis-store.ts'
import { createTimeLeftOf } from './time-left.ts'

export interface SessionStoreParts {
  limitsOf: LimitsOf
  logger: Logger
  redis: RedisLike | undefined
}

/**
 * Where sessions live: in Redis, or in this process for development.
 *
 * @throws ConfigurationError when production would keep them in the process, where a restart signs everybody out
 */
export function createSessionStore({ limitsOf, logger, redis }: SessionStoreParts): Store {
  const timeLeftOf = createTimeLeftOf(limitsOf)
  if (redis) return new PunctualRedisStore(redis, timeLeftOf) as Store
  if (process.env.NODE_ENV === 'production')
    throw new ConfigurationError(
      'redis: give a connected `redis` client; sessions in the process are for development and refused when NODE_ENV=production',
    )
  logger.warn(
    {},
    'SESSIONS ARE KEPT IN THIS PROCESS: fine for development; give `redis` before anybody relies on it',
  )
  return new LivingMemoryStore(timeLeftOf)
}

/** Whether it is a store of ours, in which a session that has ended is not written anew. */
export function isOurs(store: Store): boolean {
  return store instanceof PunctualRedisStore || store instanceof LivingMemoryStore
}
