import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { clockTolerance } from '../providers/provider-client.ts'
import { inTime } from '../sessions/in-time.ts'
import type { RedisLike } from '../sessions/redis-store.ts'
import { longestAge } from './logout-token.ts'

/**
 * Logout tokens that have done their work: whoever recorded one must not sign the person out again with it, who has signed
 * in anew. In Redis, when there is one, so that it holds on every instance.
 */
export interface SeenTokens {
  has(token: SeenToken): Promise<boolean>
  add(token: SeenToken): Promise<void>
}

export interface SeenToken {
  portal: string
  issuer: string
  /** `jti` */
  id: string
}

/** seconds; a token that is older is refused for its age */
const remembered = longestAge + 2 * clockTolerance
// In the process the oldest go first, so that no provider can fill its memory.
const most = 10_000

export function createSeenTokens(redis: RedisLike | undefined): SeenTokens {
  return redis ? inRedis(redis) : inProcess()
}

function inRedis(redis: RedisLike): SeenTokens {
  const keyOf = (token: SeenToken) => `portal-sso:logout-token:${digest(token)}`
  return {
    has: async (token) => (await inTime(redis.get(keyOf(token)))) !== null,
    async add(token) {
      await inTime(redis.set(keyOf(token), '1', { expiration: { type: 'EX', value: remembered } }))
    },
  }
}

function inProcess(): SeenTokens {
  const seen = new LRUCache<string, true>({ max: most, ttl: remembered * 1000 })
  return {
    has: async (token) => seen.has(digest(token)),
    async add(token) {
      seen.set(digest(token), true)
    },
  }
}

function digest({ portal, issuer, id }: SeenToken): string {
  return createHash('sha256')
    .update(JSON.stringify([portal, issuer, id]))
    .digest('base64url')
}
