import type { Request } from 'express'
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { digest } from '../shared/seal.ts'
import { MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from './core.ts'
import { clientNetwork } from './request.ts'

/**
 * Requests per minute from one client address (IPv6: one /64) to each kind of route, and their records: 1 to 1,000,000. With the
 * defaults, 1,000 colleagues behind one address can all sign in within the same minute, twice.
 */
export interface RateLimits {
  /** Starts of a sign-in; as many login pages. Default 2000. */
  start: number
  /** Authorization responses. Default 2000: a posted one takes two requests. */
  callback: number
  /** Requests to the registration form and the account page. Default 2000. */
  registration: number
  /** Entering or requesting an e-mailed code. Default 200: each costs a mail or an attempt. */
  code: number
  /**
   * Sign-outs; as many front-channel logouts, and as many back-channel logouts. Default 2000: all back-channel logouts of a provider
   * come from one address.
   */
  logout: number
  /**
   * Records (event rows and log lines) that requests without a session may cause, on each instance. Beyond them, one summary per
   * minute is written. Default 120.
   */
  records: number
}

/** The Redis command that counts requests. */
export interface RedisCounter {
  /** Redis command EVAL. */
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
}

export interface Limit {
  /** also names the counters */
  name: string
  maxRequests: number
  windowSeconds: number
}

/**
 * Failed code exchanges of one client address at one provider. Anyone can cause them with made-up codes, and each occupies a
 * connection to the provider.
 */
export const failedExchanges: Limit = { name: 'failed-exchange', maxRequests: 60, windowSeconds: 60 }
/** Only the first refusal after it is recorded. */
export const refusedExchanges: Limit = { ...failedExchanges, name: 'failed-exchange-refused', maxRequests: 0 }

export interface RateLimitResult {
  isOver: boolean
  /** True for the first request over the limit. Only that one is logged, so that a flood cannot fill a log or a table. */
  isFirstOver: boolean
  retryAfterSeconds: number
}

const redisTimeoutMs = SECOND / 2
const warningIntervalMs = MINUTE

interface Counters {
  local: RateLimiterMemory
  shared: RateLimiterRedis | undefined
}

/** Counts requests, in Redis for all instances together, else in this process. */
export class RateLimiter {
  readonly #logger: Logger
  readonly #redis: RedisCounter | undefined
  readonly #prefix: string
  readonly #counters = new Map<string, Counters>()
  #warnedAt = 0

  constructor({ logger, prefix }: Pick<Core, 'logger' | 'prefix'>, redis: RedisCounter | undefined) {
    this.#logger = logger
    this.#prefix = `${prefix}limit:`
    this.#redis = redis
  }

  /**
   * @param key requests with the same key count together
   * @param points 0 asks without counting
   */
  async consume(limit: Limit, key: string, points: 0 | 1 = 1): Promise<RateLimitResult> {
    const { local, shared } = this.#counters.get(limit.name) ?? this.#addCounters(limit)
    let counted: Consumption | undefined
    try {
      if (shared) counted = await withTimeout(redisTimeoutMs, consumption(shared.consume(key, points)))
    } catch (error) {
      // Neither fails open nor closed: while Redis is down, every instance counts alone.
      this.#warn(error)
    }
    const { isOver, state } = counted ?? (await consumption(local.consume(key, points)))
    return {
      isOver,
      isFirstOver: isOver && state.consumedPoints === limit.maxRequests + 1,
      retryAfterSeconds: Math.max(1, Math.ceil(state.msBeforeNext / SECOND)),
    }
  }

  #addCounters({ name, maxRequests, windowSeconds }: Limit): Counters {
    const settings = { points: maxRequests, duration: windowSeconds, keyPrefix: this.#prefix + name }
    const shared =
      this.#redis &&
      new RateLimiterRedis({
        ...settings,
        storeClient: this.#redis,
        useRedisPackage: true,
        // A disconnected client would queue the command of every request.
        rejectIfRedisNotReady: true,
        // A client over its limit causes no more Redis commands in this window.
        inMemoryBlockOnConsumed: maxRequests + 1,
      })
    const counters = { local: new RateLimiterMemory(settings), shared }
    this.#counters.set(name, counters)
    return counters
  }

  #warn(error: unknown): void {
    if (Date.now() - this.#warnedAt < warningIntervalMs) return
    this.#warnedAt = Date.now()
    this.#logger.warn(
      { cause: describeError(error) },
      'Redis cannot count: rate limits hold in this process only',
    )
  }
}

interface Consumption {
  isOver: boolean
  state: RateLimiterRes
}

/** The library rejects with a `RateLimiterRes` over the limit; other rejections are failures. */
async function consumption(consumed: Promise<RateLimiterRes>): Promise<Consumption> {
  try {
    return { isOver: false, state: await consumed }
  } catch (error) {
    if (error instanceof RateLimiterRes) return { isOver: true, state: error }
    throw error
  }
}

/** @returns the client's address; of IPv6 its /64, which one household or server has. Clients without an address share a key */
export function clientKey(req: Request): string {
  return clientNetwork(req.ip, { ipv4: 32, ipv6: 64 }) ?? 'unknown'
}

/** @param slug default: as in the path of the request, which anyone can choose */
export function failedExchangeKey(
  req: Request,
  portalOf: Core['portalOf'],
  slug: unknown = req.params.provider,
): string {
  return digest(JSON.stringify([portalOf(req), slug, clientKey(req)]))
}
