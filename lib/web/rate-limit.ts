import { createHash } from 'node:crypto'
import type { Request, RequestHandler, Response } from 'express'
import { RateLimiterMemory, RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import { asyncHandler } from './handler.ts'
import { clientNetwork } from './request.ts'

/**
 * How many requests a minute one client address (of IPv6 one /64) may make to each kind of route. The defaults let all of a
 * company of 1,000 people, who share one address, come in the same minute, and once more.
 */
export interface RateLimits {
  /** clicks on a provider; default 2000 */
  start: number
  /** answers of providers; default 2000: a posted one comes twice */
  callback: number
  /** the registration form and the account page; default 2000: shown, and sent */
  registration: number
  /** entering or asking for an e-mailed code; default 200: each costs a mail or a try */
  code: number
  /** signing out; default 2000: a provider that signs everybody out comes from one address */
  logout: number
}

/** What limits count with in Redis. */
export interface RedisCounter {
  eval(script: string, options: { keys: string[]; arguments: string[] }): Promise<unknown>
}

export interface Limit {
  /** also names its counters */
  name: string
  /** requests in one window */
  most: number
  /** seconds that a window lasts */
  window: number
  /** requests with the same key count together; those without one are not counted */
  keyOf: (req: Request) => string | undefined
}

export interface RateLimiterParts {
  /** where all instances count together; left out: in this process */
  redis: RedisCounter | undefined
  logger: Logger
  /**
   * Answers a request that is over a limit; `Retry-After` is set.
   *
   * @param first whether it is the first one of its key and window: who floods us must not fill a table or a log by it
   */
  tooMany: (req: Request, res: Response, over: { limit: string; first: boolean }) => Promise<void>
}

/** milliseconds that a request waits for Redis before it is counted here */
const patience = 500
/** milliseconds between two lines in the log that Redis cannot count */
const quiet = 60_000

/** Makes the middleware of a limit. It stands before everything that costs. */
export function createRateLimiter({
  redis,
  logger,
  tooMany,
}: RateLimiterParts): (limit: Limit) => RequestHandler {
  let warned = 0

  function warn(error: unknown): void {
    if (Date.now() - warned < quiet) return
    warned = Date.now()
    logger.warn({ cause: describeError(error) }, 'Redis cannot count: rate limits hold in this process only')
  }

  return ({ name, most, window, keyOf }) => {
    const settings = { points: most, duration: window, keyPrefix: `portal-sso:limit:${name}` }
    const here = new RateLimiterMemory(settings)
    const everywhere =
      redis &&
      new RateLimiterRedis({
        ...settings,
        storeClient: redis,
        useRedisPackage: true,
        // A client that is not connected queues what it is asked: that would be a wait, and a queue, for each request.
        rejectIfRedisNotReady: true,
        // Who is over the limit costs Redis nothing for the rest of the window.
        inMemoryBlockOnConsumed: most + 1,
      })

    async function count(key: string): Promise<Counted> {
      if (!everywhere) return await counted(here.consume(key))
      try {
        return await withTimeout(patience, counted(everywhere.consume(key)))
      } catch (error) {
        // Fails neither open nor shut: while Redis is away every instance counts for itself.
        warn(error)
        return await counted(here.consume(key))
      }
    }

    return asyncHandler(async (req, res, next) => {
      const key = keyOf(req)
      if (key === undefined) return next()
      const { over, state } = await count(key)
      if (!over) return next()
      res.set('retry-after', String(Math.max(1, Math.ceil(state.msBeforeNext / 1000))))
      await tooMany(req, res, { limit: name, first: state.consumedPoints === most + 1 })
    })
  }
}

interface Counted {
  over: boolean
  state: RateLimiterRes
}

/** The library refuses by rejecting; other rejections are failures. */
async function counted(consumption: Promise<RateLimiterRes>): Promise<Counted> {
  try {
    return { over: false, state: await consumption }
  } catch (refusal) {
    if (refusal instanceof RateLimiterRes) return { over: true, state: refusal }
    throw refusal
  }
}

/** @returns the client's address, of IPv6 its /64: that is what one household or server has. All without one share a key */
export function clientKey(req: Request): string {
  return clientNetwork(req.ip, { ipv4: 32, ipv6: 64 }) ?? 'unknown'
}

/** A key of bounded length that gives nothing of the value away. */
export function digestKey(value: string): string {
  return createHash('sha256').update(value).digest('base64url')
}
