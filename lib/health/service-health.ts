import { type Response, Router } from 'express'
import { pendingMigrations } from '../database/migrate.ts'
import type { RedisLike } from '../sessions/redis-client.ts'
import { staleIfErrorMs } from '../shared/cache.ts'
import { describeError } from '../shared/errors.ts'
import { MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'

/** One part of the portal, as the last check found it. */
export interface PartHealth {
  /** Whether the part works. */
  ok: boolean
  /** Why it does not work. */
  error?: string | undefined
}

/** The state of this instance. It does not depend on the providers: see `Provider.health`. */
export interface Health {
  /**
   * `degraded`: a part has failed, but guarded pages still work for signed-in users. `unavailable`: guarded pages respond with 503, or
   * the instance is closing.
   */
  status: 'ok' | 'degraded' | 'unavailable'
  /** The database. */
  database: PartHealth
  /** Redis. Absent if the portal does not use it. */
  redis?: PartHealth | undefined
  /** The tables. `pending` names the migrations that have not run. */
  migrations: PartHealth & { pending: readonly string[] }
  /**
   * The clock of this server. `offsetMs` is the database's time minus ours. `providerOffsetMs` is that of the provider whose keys were
   * read last, if more than ten seconds; `ok` does not depend on it. Absent while unknown.
   */
  clock: PartHealth & { offsetMs?: number | undefined; providerOffsetMs?: number | undefined }
}

/** Attacker: a client that asks all the time. The checks run once a second at most. */
const cacheMs = SECOND
/** A response takes less than a second. */
const checkTimeoutMs = 0.8 * SECOND
/** A part that hangs gets no second request for this long, because each holds a connection. */
const hangTimeoutMs = 10 * SECOND
const migrationsCheckMs = MINUTE

/** Checks what this instance needs, for orchestrators and for code. */
export class ServiceHealth {
  readonly #core: Pick<Core, 'clock' | 'knex'>
  readonly #userCacheSeconds: number
  readonly #database: PartCheck
  readonly #redis: PartCheck | undefined
  #pendingMigrations: string[] = []
  #migrationsCheckedAt = 0
  #latest: { at: number; result: Promise<Health> } | undefined
  /** Set if the host mounts its own express-session: its sessions are checked in the database at each request. */
  usesHostSession = false
  /** Set when the instance begins to close. */
  isClosing = false

  /** @param userCacheSeconds for how long a signed-in user is not read again */
  constructor(
    core: Pick<Core, 'clock' | 'knex' | 'prefix'>,
    redis: RedisLike | undefined,
    userCacheSeconds: number,
  ) {
    this.#core = core
    this.#userCacheSeconds = userCacheSeconds
    this.#database = new PartCheck(() => this.#checkDatabase())
    this.#redis = redis && new PartCheck(() => redis.get(`${core.prefix}health`))
  }

  async check(): Promise<Health> {
    const now = Date.now()
    const isFresh = this.#latest !== undefined && Math.abs(now - this.#latest.at) < cacheMs
    const { result } = isFresh && this.#latest ? this.#latest : { result: this.#check() }
    if (!isFresh) this.#latest = { at: now, result }
    const health = await result
    return this.isClosing ? { ...health, status: 'unavailable' } : health
  }

  async #check(): Promise<Health> {
    const [database, redis] = await Promise.all([this.#database.run(), this.#redis?.run()])
    const { offsetMs, isWrong, providerOffsetMs } = this.#core.clock
    const pending = this.#pendingMigrations
    const parts = {
      database,
      ...(redis && { redis }),
      migrations: { ok: pending.length === 0, pending },
      clock: { ok: !isWrong, offsetMs, ...(providerOffsetMs !== undefined && { providerOffsetMs }) },
    }
    const isOk = Object.values(parts).every(({ ok }) => ok)
    const refusesUsers = this.#refusesUsers(database.ok, redis?.ok ?? true)
    return { status: refusesUsers ? 'unavailable' : isOk ? 'ok' : 'degraded', ...parts }
  }

  /** As guarded pages do: without Redis no session of ours is found; without the database those that were read before still are. */
  #refusesUsers(hasDatabase: boolean, hasRedis: boolean): boolean {
    if (!hasRedis && !this.usesHostSession) return true
    if (hasDatabase) return false
    const isOutdated = Date.now() - (this.#database.failingSince ?? Infinity) > staleIfErrorMs
    return this.usesHostSession || this.#userCacheSeconds === 0 || isOutdated
  }

  async #checkDatabase(): Promise<void> {
    await this.#core.clock.measure()
    if (Date.now() - this.#migrationsCheckedAt < migrationsCheckMs) return
    this.#pendingMigrations = await pendingMigrations(this.#core.knex)
    // Those that are pending may run at any time.
    if (this.#pendingMigrations.length === 0) this.#migrationsCheckedAt = Date.now()
  }
}

/** The check of one part. While it hangs, the next runs wait for the same request. */
class PartCheck {
  readonly #request: () => Promise<unknown>
  #running: { startedAt: number; result: Promise<unknown> } | undefined
  failingSince: number | undefined

  constructor(request: () => Promise<unknown>) {
    this.#request = request
  }

  async run(): Promise<PartHealth> {
    const now = Date.now()
    if (!this.#running || now - this.#running.startedAt > hangTimeoutMs) {
      const running = { startedAt: now, result: this.#request() }
      this.#running = running
      const end = () => {
        if (this.#running === running) this.#running = undefined
      }
      running.result.then(end, end)
    }
    try {
      await withTimeout(checkTimeoutMs, this.#running.result)
      this.failingSince = undefined
      return { ok: true }
    } catch (error) {
      this.failingSince ??= now
      return { ok: false, error: describeError(error) }
    }
  }
}

/** `GET /livez` and `GET /readyz`, for orchestrators. They need no session, and reveal no address and no error. */
export function healthRoutes(health: ServiceHealth): Router {
  const routes = Router()
  routes.get('/livez', (_req, res) => send(res, { status: 'ok' }))
  routes.get(
    '/readyz',
    asyncHandler(async (_req, res) => send(res, await health.check())),
  )
  return routes
}

function send(res: Response, { status, ...parts }: Pick<Health, 'status'> & Partial<Health>): void {
  const words = Object.entries(parts as Record<string, PartHealth>).map(([part, { ok }]) => [
    part,
    ok ? 'ok' : 'failed',
  ])
  const { ok: isRight = true, offsetMs, providerOffsetMs } = parts.clock ?? {}
  res
    .status(status === 'unavailable' ? 503 : 200)
    .set('cache-control', 'no-store')
    .json({
      status,
      ...(Object.fromEntries(words) as object),
      clockOffsetMs: isRight ? undefined : offsetMs,
      providerClockOffsetMs: providerOffsetMs,
    })
}
