import { RedisStore } from 'connect-redis'
import type { Request } from 'express'
import session, { MemoryStore, type SessionData, type Store } from 'express-session'
import { LRUCache } from 'lru-cache'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import type { RedisCounter } from '../web/rate-limit.ts'
import { createTimeLeftOf, type LimitsOf, type TimeLeftOf } from './session-limits.ts'

/** milliseconds that a request waits for the store before it is told to come back */
const patience = 2000

/**
 * What the session store, or Redis behind it, says, if it says so in time.
 *
 * @throws PortalSsoError `session_unavailable`
 */
export async function inTime<T>(answer: Promise<T>): Promise<T> {
  try {
    return await withTimeout(patience, answer)
  } catch (cause) {
    if (cause instanceof PortalSsoError) throw cause
    throw new PortalSsoError('session_unavailable', 'the session store', { cause })
  }
}

/**
 * Sessions that their store has, or had. A request that began before its session ended, and writes into it, would write it
 * anew at its end: whoever holds a stolen cookie keeps such a request running (a long upload, say) until the person has
 * signed out. So what was there once is only ever written over.
 */
const written = new WeakSet<object>()

export function markPersisted<T extends object>(data: T): T {
  written.add(data)
  return data
}

export function wasPersisted(data: object): boolean {
  return written.has(data)
}

/** Sessions in this process, for development: with the same idle time as in Redis, whatever their cookie says. */
export class IdleMemoryStore extends MemoryStore {
  /** id → when it ends without a request, in milliseconds since 1970 */
  private readonly living = new Map<string, number>()
  private readonly timeLeftOf: TimeLeftOf

  constructor(timeLeftOf: TimeLeftOf) {
    super()
    this.timeLeftOf = timeLeftOf
  }

  override createSession(req: Request, data: SessionData) {
    return markPersisted(super.createSession(req, data))
  }

  override get(sid: string, done: (error: unknown, data?: SessionData | null) => void): void {
    if ((this.living.get(sid) ?? 0) <= Date.now()) this.destroy(sid)
    super.get(sid, done)
  }

  override set(sid: string, data: SessionData, done?: (error?: unknown) => void): void {
    if (wasPersisted(data) && !this.living.has(sid)) {
      if (done) setImmediate(done)
      return
    }
    this.isValid(sid, data)
    markPersisted(data)
    super.set(sid, data, done)
  }

  override touch(sid: string, data: SessionData, done?: () => void): void {
    if (this.living.has(sid)) this.isValid(sid, data)
    super.touch(sid, data, done)
  }

  override destroy(sid: string, done?: (error?: unknown) => void): void {
    this.living.delete(sid)
    super.destroy(sid, done)
  }

  private isValid(sid: string, data: SessionData): void {
    this.living.set(sid, Date.now() + this.timeLeftOf(data).left)
  }
}

/** A connected client or cluster of the `redis` package, 5 or newer. */
export interface RedisLike extends RedisCounter {
  get(key: string): Promise<unknown>
  set(
    key: string,
    value: string,
    options: { expiration: { type: 'EX'; value: number }; condition?: 'XX' },
  ): Promise<unknown>
  del(keys: string[]): Promise<unknown>
  expire(key: string, seconds: number): Promise<unknown>
}

type Done = (error?: unknown, value?: unknown) => void

/** sessions of which this instance knows when it wrote them; of others it writes once too often */
const most = 20_000
const prefix = 'portal-sso:session:'

/** Writes over what is there, and nothing else. */
function writingOver(client: RedisLike): Pick<RedisLike, 'set' | 'del'> {
  return {
    set: (key, value, options) => client.set(key, value, { ...options, condition: 'XX' }),
    del: (keys) => client.del(keys),
  }
}

/**
 * connect-redis, but never waiting for long: the client queues commands while Redis is away, and a guarded page must then
 * say so, not hang, and never take somebody for signed out.
 *
 * A request writes nothing if this instance wrote less than a tenth of the idle time ago. So an unused session is gone after nine
 * tenths of its idle time to all of it.
 */
export class TimeLimitedRedisStore extends RedisStore {
  private readonly over: RedisStore
  private readonly timeLeftOf: TimeLeftOf
  /** id → milliseconds since 1970 */
  private readonly writtenAt = new LRUCache<string, number>({ max: most })

  constructor(client: RedisLike, timeLeftOf: TimeLeftOf) {
    const ttl = (data: SessionData) => Math.ceil(timeLeftOf(data).left / 1000)
    super({ client, prefix, ttl })
    this.over = new RedisStore({ client: writingOver(client), prefix, ttl })
    this.timeLeftOf = timeLeftOf
  }

  override createSession(req: Request, data: SessionData) {
    return markPersisted(super.createSession(req, data))
  }

  override async get(sid: string, done?: Done): Promise<unknown> {
    return await told(super.get(sid), done)
  }

  override async set(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    const now = Date.now()
    const set = wasPersisted(data) ? this.over.set(sid, data) : super.set(sid, data)
    // One that came too late may not have been written: the next is to come through.
    const noted = set.then(() => {
      markPersisted(data)
      this.writtenAt.set(sid, now)
    })
    return await told(noted, done)
  }

  override async touch(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    const now = Date.now()
    if (now - (this.writtenAt.get(sid) ?? 0) < this.timeLeftOf(data).renew)
      return await told(Promise.resolve(), done)
    // Noted here first: of many requests at once one writes.
    this.writtenAt.set(sid, now)
    const touched = super.touch(sid, data).catch((error: unknown) => {
      this.writtenAt.delete(sid)
      throw error
    })
    return await told(touched, done)
  }

  override async destroy(sid: string, done?: Done): Promise<unknown> {
    this.writtenAt.delete(sid)
    return await told(super.destroy(sid), done)
  }
}

async function told(answer: Promise<unknown>, done: Done | undefined): Promise<unknown> {
  if (!done) return await inTime(answer)
  let value: unknown
  try {
    value = await inTime(answer)
  } catch (error) {
    done(error)
    return undefined
  }
  done(undefined, value)
  return undefined
}

export interface SessionMiddlewareOptions {
  store: Store
  /** newest first */
  secrets: string[]
  cookieName: string
  secure: boolean
  /** milliseconds that the browser keeps the cookie; how long the session lasts is the server's to say */
  longest: number
}

export function createSessionMiddleware(options: SessionMiddlewareOptions): ReturnType<typeof session> {
  return session({
    store: options.store,
    secret: options.secrets,
    name: options.cookieName,
    resave: false,
    // A visitor who has not signed in costs no stored state.
    saveUninitialized: false,
    // Not with every answer: a page that is asked for often would write each time, and its answer could not be stored anywhere.
    rolling: false,
    // Believes X-Forwarded-Proto, for one thing only: whether the Secure cookie may be sent at all.
    proxy: true,
    cookie: {
      httpOnly: true,
      secure: options.secure,
      sameSite: 'lax',
      path: '/',
      maxAge: options.longest,
    },
  })
}

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
  if (redis) return new TimeLimitedRedisStore(redis, timeLeftOf) as Store
  if (process.env.NODE_ENV === 'production')
    throw new ConfigurationError(
      'redis: give a connected `redis` client; sessions in the process are for development and refused when NODE_ENV=production',
    )
  logger.warn(
    {},
    'SESSIONS ARE KEPT IN THIS PROCESS: fine for development; give `redis` before anybody relies on it',
  )
  return new IdleMemoryStore(timeLeftOf)
}

/** Whether it is a store of ours, in which a session that has ended is not written anew. */
export function isOurs(store: Store): boolean {
  return store instanceof TimeLimitedRedisStore || store instanceof IdleMemoryStore
}
