import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import type { RedisLike } from '../sessions/session-store.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { digestKey } from '../web/rate-limit.ts'

/** Twice as long as an attempt is valid, because the clocks of two instances may differ. */
const markerTtlSeconds = 1200
const redisTimeoutMs = SECOND

/**
 * Decides which request sends the code of an attempt, with a marker in Redis, or in the database without Redis. A copied cookie
 * can therefore neither redeem the code again nor try other codes, even at the same time on another instance.
 */
export class RedeemedCodes {
  readonly #knex: Knex
  readonly #redis: RedisLike | undefined

  constructor({ knex }: Pick<Core, 'knex'>, redis: RedisLike | undefined) {
    this.#knex = knex
    this.#redis = redis
  }

  /**
   * Called before the code is sent.
   *
   * @returns true for the first request with this `state`
   * @throws PortalSsoError `session_unavailable` while Redis is down: without it, no session could start either
   */
  async claim(state: string): Promise<boolean> {
    const id = digestKey(state)
    if (this.#redis) return await setMarker(this.#redis, id)
    const expiresAt = new Date(Date.now() + markerTtlSeconds * SECOND).toISOString()
    try {
      await this.#knex('sso_redeemed_codes').insert({ id, expires_at: expiresAt })
      return true
    } catch (error) {
      if (isUniqueViolation(error)) return false
      throw error
    }
  }
}

async function setMarker(redis: RedisLike, id: string): Promise<boolean> {
  try {
    const options = { expiration: { type: 'EX', value: markerTtlSeconds }, condition: 'NX' } as const
    return (await withTimeout(redisTimeoutMs, redis.set(`portal-sso:redeemed:${id}`, '1', options))) !== null
  } catch (cause) {
    throw new PortalSsoError('session_unavailable', 'the marker of a redeemed code', { cause })
  }
}
