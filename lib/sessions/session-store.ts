import { RedisStore } from 'connect-redis'
import type { Request, RequestHandler } from 'express'
import session, { MemoryStore, type SessionData, type Store } from 'express-session'
import { LRUCache } from 'lru-cache'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/time.ts'
import type { RedisCounter } from '../web/rate-limit.ts'
import type { LimitsByPortal } from './session-limits.ts'

const storeTimeoutMs = 2000

/** @throws PortalSsoError `session_unavailable` when the session store fails or takes too long */
export async function withStoreTimeout<T>(result: Promise<T>): Promise<T> {
  try {
    return await withTimeout(storeTimeoutMs, result)
  } catch (cause) {
    if (cause instanceof PortalSsoError) throw cause
    throw new PortalSsoError('session_unavailable', 'the session store', { cause })
  }
}

/**
 * Sessions that are, or were, in their store. A thief with a stolen cookie could keep a request open (a long upload) until the
 * user has signed out; its final write would recreate the session. So these sessions are only ever overwritten.
 */
const persisted = new WeakSet<object>()

function markPersisted<T extends object>(data: T): T {
  persisted.add(data)
  return data
}

/** Keeps sessions in this process, for development, with the same idle time as in Redis. */
export class IdleMemoryStore extends MemoryStore {
  readonly #limits: LimitsByPortal
  /** session id → when it expires, in milliseconds since 1970 */
  readonly #expiresAt = new Map<string, number>()

  constructor(limits: LimitsByPortal) {
    super()
    this.#limits = limits
  }

  override createSession(req: Request, data: SessionData) {
    return markPersisted(super.createSession(req, data))
  }

  override get(sid: string, done: (error: unknown, data?: SessionData | null) => void): void {
    if ((this.#expiresAt.get(sid) ?? 0) <= Date.now()) this.destroy(sid)
    super.get(sid, done)
  }

  override set(sid: string, data: SessionData, done?: (error?: unknown) => void): void {
    if (persisted.has(data) && !this.#expiresAt.has(sid)) {
      if (done) setImmediate(done)
      return
    }
    this.#renew(sid, data)
    markPersisted(data)
    super.set(sid, data, done)
  }

  override touch(sid: string, data: SessionData, done?: () => void): void {
    if (this.#expiresAt.has(sid)) this.#renew(sid, data)
    super.touch(sid, data, done)
  }

  override destroy(sid: string, done?: (error?: unknown) => void): void {
    this.#expiresAt.delete(sid)
    super.destroy(sid, done)
  }

  #renew(sid: string, data: SessionData): void {
    this.#expiresAt.set(sid, Date.now() + this.#limits.storeTtl(data).ttlMs)
  }
}

/** The methods that the plugin calls on a connected client or cluster of the package `redis`, version 5 or newer. */
export interface RedisLike extends RedisCounter {
  /** Redis command GET. */
  get(key: string): Promise<unknown>
  /** Redis command SET with EX, and XX if `condition` says so. */
  set(
    key: string,
    value: string,
    options: { expiration: { type: 'EX'; value: number }; condition?: 'XX' },
  ): Promise<unknown>
  /** Redis command DEL. */
  del(keys: string[]): Promise<unknown>
  /** Redis command EXPIRE. */
  expire(key: string, seconds: number): Promise<unknown>
}

type Done = (error?: unknown, value?: unknown) => void

/** An instance that has dropped an entry writes one extra time. */
const maxRememberedWrites = 20_000
const prefix = 'portal-sso:session:'

/** A client that overwrites existing keys only. */
function overwriting(client: RedisLike): Pick<RedisLike, 'set' | 'del'> {
  return {
    set: (key, value, options) => client.set(key, value, { ...options, condition: 'XX' }),
    del: (keys) => client.del(keys),
  }
}

/**
 * connect-redis with a time limit. The client queues commands while Redis is down; a guarded page must then answer 503 instead of
 * hanging, and must not treat the user as signed out.
 */
export class TimeLimitedRedisStore extends RedisStore {
  readonly #limits: LimitsByPortal
  readonly #overwriting: RedisStore
  /** session id → milliseconds since 1970; a request writes nothing if this instance wrote less than `renewAfterMs` ago */
  readonly #writtenAt = new LRUCache<string, number>({ max: maxRememberedWrites })

  constructor(client: RedisLike, limits: LimitsByPortal) {
    const ttl = (data: SessionData) => Math.ceil(limits.storeTtl(data).ttlMs / 1000)
    super({ client, prefix, ttl })
    this.#overwriting = new RedisStore({ client: overwriting(client), prefix, ttl })
    this.#limits = limits
  }

  override createSession(req: Request, data: SessionData) {
    return markPersisted(super.createSession(req, data))
  }

  override async get(sid: string, done?: Done): Promise<unknown> {
    return await callbackify(super.get(sid), done)
  }

  override async set(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    const now = Date.now()
    const set = persisted.has(data) ? this.#overwriting.set(sid, data) : super.set(sid, data)
    // Only after the write: one that failed must not suppress the next.
    const noted = set.then(() => {
      markPersisted(data)
      this.#writtenAt.set(sid, now)
    })
    return await callbackify(noted, done)
  }

  override async touch(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    const now = Date.now()
    if (now - (this.#writtenAt.get(sid) ?? 0) < this.#limits.storeTtl(data).renewAfterMs)
      return await callbackify(Promise.resolve(), done)
    // Before the write, so that only one of many concurrent requests writes.
    this.#writtenAt.set(sid, now)
    const touched = super.touch(sid, data).catch((error: unknown) => {
      this.#writtenAt.delete(sid)
      throw error
    })
    return await callbackify(touched, done)
  }

  override async destroy(sid: string, done?: Done): Promise<unknown> {
    this.#writtenAt.delete(sid)
    return await callbackify(super.destroy(sid), done)
  }
}

async function callbackify(result: Promise<unknown>, done: Done | undefined): Promise<unknown> {
  if (!done) return await withStoreTimeout(result)
  let value: unknown
  try {
    value = await withStoreTimeout(result)
  } catch (error) {
    done(error)
    return undefined
  }
  done(undefined, value)
  return undefined
}

/**
 * Creates the store for sessions: Redis, or the memory of this process for development.
 *
 * @throws ConfigurationError without Redis in production, where a restart would sign out everybody
 */
export function createSessionStore(
  { logger }: { logger: Logger },
  limits: LimitsByPortal,
  redis: RedisLike | undefined,
): Store {
  if (redis) return new TimeLimitedRedisStore(redis, limits) as Store
  if (process.env.NODE_ENV === 'production')
    throw new ConfigurationError(
      'redis: give a connected `redis` client; sessions in the process are for development and refused when NODE_ENV=production',
    )
  logger.warn(
    {},
    'SESSIONS ARE KEPT IN THIS PROCESS: fine for development; give `redis` before users rely on the portal',
  )
  return new IdleMemoryStore(limits)
}

/** True for our own stores, which do not recreate a revoked session. */
export function isBuiltInStore(store: Store): boolean {
  return store instanceof TimeLimitedRedisStore || store instanceof IdleMemoryStore
}

/** express-session with our cookie. */
export function createCookieSession(options: {
  store: Store
  /** newest first */
  secrets: string[]
  cookieName: string
  secure: boolean
  /** how long the browser keeps the cookie; the server decides how long the session lasts */
  maxAgeMs: number
}): RequestHandler {
  const { store, secrets, cookieName, secure, maxAgeMs } = options
  return session({
    store,
    secret: secrets,
    name: cookieName,
    resave: false,
    // Visitors who have not signed in must not fill the store.
    saveUninitialized: false,
    // A cookie in every response would write to the store each time, and no response could be cached.
    rolling: false,
    // Trusts X-Forwarded-Proto only to decide whether the Secure cookie may be sent.
    proxy: true,
    cookie: { httpOnly: true, secure, sameSite: 'lax', path: '/', maxAge: maxAgeMs },
  })
}
