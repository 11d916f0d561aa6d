import type { Request } from 'express'
import { LRUCache } from 'lru-cache'
import type { CircuitBreaker } from '../shared/circuit-breaker.ts'
import { describeError, PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { digest } from '../shared/seal.ts'
import { MINUTE, SECOND } from '../shared/time.ts'
import type { Core } from './core.ts'
import { clientNetwork } from './request.ts'

/**
 * Requests per minute from one client address (IPv6: one /64) to each kind of route, and their records: 1 to 1,000,000. With the
 * defaults, 1,000 colleagues behind one address can all sign in within the same minute, twice.
 */
export interface RateLimits {
  /** Starts of a sign-in; as many login pages, and as many logos that are read from the database. Default 2000. */
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

export interface RateLimitResult {
  isOver: boolean
  retryAfterSeconds: number
}

interface Counter {
  /** its key in Redis */
  key: string
  windowMs: number
  /** milliseconds since 1970 */
  endsAt: number
  /** requests of the window on all instances, as far as this one knows */
  count: number
  /** requests that Redis does not know yet */
  unsent: number
  hasRefused: boolean
}

const flushIntervalMs = SECOND
const warningIntervalMs = MINUTE
/** Attacker: has many addresses, and wants to fill the memory, or to reset a counter. The client that asks most is dropped last. */
const maxCounters = 20_000
/** Redis executes nothing else during a script. */
const maxBatch = 1000

/** Adds to each counter. @returns the total and the milliseconds until it expires, in turn */
const addScript = `local replies = {}
for i, key in ipairs(KEYS) do
  redis.call('SET', key, 0, 'PX', ARGV[2 * i], 'NX')
  replies[2 * i - 1] = redis.call('INCRBY', key, ARGV[2 * i - 1])
  replies[2 * i] = redis.call('PTTL', key)
end
return replies`

/**
 * Counts requests in this process, and adds them to the counters of all instances in Redis once per second. So no request waits for
 * Redis, and a client can exceed a limit by what each instance admits within a second. Without Redis, every instance counts alone.
 */
export class RateLimiter {
  readonly #logger: Logger
  readonly #breaker: CircuitBreaker
  readonly #redis: RedisCounter | undefined
  readonly #prefix: string
  // Not `max`, which allocates the space for all counters at once.
  readonly #counters = new LRUCache<string, Counter>({ maxSize: maxCounters, sizeCalculation: () => 1 })
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined
  #warnedAt = 0
  #stopped = false

  constructor(
    { breakers, logger, prefix }: Pick<Core, 'breakers' | 'logger' | 'prefix'>,
    redis: RedisCounter | undefined,
  ) {
    this.#logger = logger
    this.#breaker = breakers.redis
    // One hash slot, because a script cannot use the keys of several nodes of a cluster.
    this.#prefix = `${prefix}{limit}:`
    this.#redis = redis
  }

  /**
   * @param key requests with the same key count together
   * @param requests 0 asks without counting
   */
  count(limit: Limit, key: string, requests: 0 | 1 = 1): RateLimitResult {
    const counter = this.#counterOf(limit, key, requests > 0)
    // A client over its limit causes no more Redis commands in this window.
    if (requests > 0 && counter.count <= limit.maxRequests) {
      counter.count++
      counter.unsent++
      if (this.#redis && !this.#timer) this.#schedule()
    }
    return {
      isOver: counter.count > limit.maxRequests,
      retryAfterSeconds: Math.max(1, Math.ceil((counter.endsAt - Date.now()) / SECOND)),
    }
  }

  /** Counts one request, and asks Redis for the count of all instances first. While Redis is down, this instance counts alone. */
  async countExactly(limit: Limit, key: string): Promise<RateLimitResult> {
    this.count(limit, key)
    if (this.#redis) await this.#flush()
    return this.count(limit, key, 0)
  }

  /** True once for each window of a client. Only that refusal is logged, so that a flood cannot fill a log or a table. */
  isFirstRefusal(limit: Limit, key: string): boolean {
    const counter = this.#counterOf(limit, key)
    const isFirst = !counter.hasRefused
    counter.hasRefused = true
    return isFirst
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }

  #counterOf({ name, windowSeconds }: Limit, client: string, isKept = true): Counter {
    const key = `${name}:${client}`
    const now = Date.now()
    const windowMs = windowSeconds * SECOND
    const known = this.#counters.get(key)
    // A counter that ends later was made before the clock was set back.
    if (known && known.endsAt > now && known.endsAt <= now + windowMs) return known
    const counter = {
      key: this.#prefix + key,
      windowMs,
      endsAt: now + windowMs,
      count: 0,
      unsent: 0,
      hasRefused: false,
    }
    if (isKept) this.#counters.set(key, counter)
    return counter
  }

  #schedule(): void {
    if (this.#stopped || this.#timer) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      void this.#flush()
    }, flushIntervalMs)
    this.#timer.unref()
  }

  /** At most one batch is on its way and one waits, however long Redis takes. */
  #flush(): Promise<void> {
    this.#next ??= this.#sending.then(() => {
      this.#next = undefined
      this.#sending = this.#sendAll()
      return this.#sending
    })
    return this.#next
  }

  async #sendAll(): Promise<void> {
    const now = Date.now()
    const unsent = [...this.#counters.values()].filter(
      (counter) => counter.unsent > 0 && counter.endsAt > now,
    )
    for (let at = 0; at < unsent.length; at += maxBatch) await this.#send(unsent.slice(at, at + maxBatch))
  }

  async #send(counters: readonly Counter[]): Promise<void> {
    const added = counters.map(({ unsent }) => unsent)
    for (const counter of counters) counter.unsent = 0
    const given = counters.flatMap(({ windowMs }, at) => [String(added[at]), String(windowMs)])
    const request = { keys: counters.map(({ key }) => key), arguments: given }
    try {
      const replies = (await this.#eval(addScript, request)).map(Number)
      const now = Date.now()
      for (const [at, counter] of counters.entries()) {
        counter.count = (replies[2 * at] ?? 0) + counter.unsent
        counter.endsAt = now + (replies[2 * at + 1] ?? 0)
      }
    } catch (error) {
      this.#warn(error)
      // Sent again with the next batch. If only the reply was lost, they count twice, which is the safe side.
      for (const [at, counter] of counters.entries()) counter.unsent += added[at] ?? 0
      this.#schedule()
    }
  }

  /** The circuit breaker limits the time, and logs outages. */
  async #eval(script: string, request: { keys: string[]; arguments: string[] }): Promise<unknown[]> {
    const run = async (each: string) => (await this.#redis?.eval(each, request)) as unknown[]
    return await this.#breaker.run(() => run(script), { probe: () => run('return 1') })
  }

  /** Of an error with which Redis responds, such as a missing permission. */
  #warn(error: unknown): void {
    if (error instanceof PortalSsoError || Date.now() - this.#warnedAt < warningIntervalMs) return
    this.#warnedAt = Date.now()
    const cause = describeError(error)
    this.#logger.warn({ cause }, 'Redis cannot count: rate limits hold in this process only')
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
