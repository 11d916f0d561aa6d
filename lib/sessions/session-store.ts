import { randomUUID } from 'node:crypto'
import { RedisStore } from 'connect-redis'
import type { ErrorRequestHandler, Request, RequestHandler } from 'express'
import session, { MemoryStore, type SessionData, type Store } from 'express-session'
import { LRUCache } from 'lru-cache'
import { ConfigurationError, describeError, PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { deriveKey } from '../shared/seal.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
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
    const session = super.createSession(req, data)
    persisted.add(session)
    return session
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
    this.#expiresAt.set(sid, Date.now() + this.#limits.storeTtl(data).ttlMs)
    persisted.add(data)
    super.set(sid, data, done)
  }

  override touch(sid: string, data: SessionData, done?: () => void): void {
    if (this.#expiresAt.has(sid)) this.#expiresAt.set(sid, Date.now() + this.#limits.storeTtl(data).ttlMs)
    super.touch(sid, data, done)
  }

  override destroy(sid: string, done?: (error?: unknown) => void): void {
    this.#expiresAt.delete(sid)
    super.destroy(sid, done)
  }
}

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
/** errors while Redis is down, which say nothing about the client */
const outages = /^(?:SocketClosedUnexpectedlyError|ConnectionTimeoutError|SocketTimeoutError|AggregateError)$/

/**
 * Other clients have methods of the same names. `redis` 4 ignores our expiry, so no session would ever end, and ioredis rejects the
 * command at each sign-in. While Redis is down, the portal starts without this check.
 *
 * @throws ConfigurationError for another client, and for one that is not connected
 */
export async function assertRedisClient(redis: RedisLike, logger: Logger, prefix: string): Promise<void> {
  const key = `${prefix}probe:${randomUUID()}`
  try {
    const expiration = { type: 'EX', value: 60 } as const
    await withTimeout(probeTimeoutMs, redis.set(key, '1', { expiration }))
    const left = await withTimeout(probeTimeoutMs, millisecondsLeft(redis, key))
    await withTimeout(probeTimeoutMs, redis.del([key]))
    if (left > 0) return
  } catch (cause) {
    const { code, name } = cause as { code?: unknown; name?: unknown }
    if (code !== 'timeout' && code !== 'ECONNREFUSED' && !outages.test(String(name)))
      throw new ConfigurationError(`${expected}: ${describeError(cause)}`, { cause })
    logger.warn({ cause: describeError(cause) }, 'Redis does not respond: nobody can sign in until it does')
    return
  }
  throw new ConfigurationError(`${expected}: this one sets no expiry`)
}

/** With EVAL, which the rate limits need, too: a restricted Redis user needs no further right. @returns -2 for a missing key */
async function millisecondsLeft(redis: RedisLike, key: string): Promise<number> {
  return Number(await redis.eval("return redis.call('PTTL', KEYS[1])", { keys: [key], arguments: [] }))
}

type Done = (error?: unknown, value?: unknown) => void

/** An instance that has dropped an entry writes one extra time. */
const maxRememberedWrites = 20_000
const lookUpTimeoutMs = SECOND / 2

/**
 * connect-redis with a time limit. The client queues commands while Redis is down; a guarded page must then answer 503 instead of
 * hanging, and must not treat the user as signed out.
 */
export class TimeLimitedRedisStore extends RedisStore {
  readonly #client: RedisLike
  readonly #keyPrefix: string
  readonly #limits: LimitsByPortal
  /** overwrites existing keys only */
  readonly #overwriting: RedisStore
  /** session id → milliseconds since 1970; a request writes nothing if this instance wrote less than `renewAfterMs` ago */
  readonly #writtenAt = new LRUCache<string, number>({
    maxSize: maxRememberedWrites,
    sizeCalculation: () => 1,
  })

  constructor(client: RedisLike, limits: LimitsByPortal, instancePrefix: string) {
    const prefix = `${instancePrefix}session:`
    const ttl = (data: SessionData) => Math.ceil(limits.storeTtl(data).ttlMs / 1000)
    super({ client, prefix, ttl })
    const overwriting: Pick<RedisLike, 'set' | 'del'> = {
      set: (key, value, options) => client.set(key, value, { ...options, condition: 'XX' }),
      del: (keys) => client.del(keys),
    }
    this.#overwriting = new RedisStore({ client: overwriting, prefix, ttl })
    this.#client = client
    this.#keyPrefix = prefix
    this.#limits = limits
  }

  /**
   * Sessions that Redis has evicted or lost. One command for each key, sent together: the keys of a cluster are on several nodes.
   *
   * @returns none while Redis is down
   */
  async findMissing(sessionIds: readonly string[]): Promise<ReadonlySet<string>> {
    const lookUps = sessionIds.map(async (id) => await millisecondsLeft(this.#client, this.#keyPrefix + id))
    const left = await withTimeout(lookUpTimeoutMs, Promise.all(lookUps)).catch((): number[] => [])
    return new Set(sessionIds.filter((_id, at) => left[at] === -2))
  }

  override createSession(req: Request, data: SessionData) {
    const session = super.createSession(req, data)
    persisted.add(session)
    return session
  }

  override async get(sid: string, done?: Done): Promise<void> {
    await callbackify(super.get(sid), done)
  }

  override async set(sid: string, data: SessionData, done?: Done): Promise<void> {
    const now = Date.now()
    const set = persisted.has(data) ? this.#overwriting.set(sid, data) : super.set(sid, data)
    // Only after the write: one that failed must not suppress the next.
    const noted = set.then(() => {
      persisted.add(data)
      this.#writtenAt.set(sid, now)
    })
    await callbackify(noted, done)
  }

  override async touch(sid: string, data: SessionData, done?: Done): Promise<void> {
    const now = Date.now()
    if (now - (this.#writtenAt.get(sid) ?? 0) < this.#limits.storeTtl(data).renewAfterMs) return done?.()
    // Before the write, so that only one of many concurrent requests writes.
    this.#writtenAt.set(sid, now)
    const touched = super.touch(sid, data).catch((error: unknown) => {
      this.#writtenAt.delete(sid)
      throw error
    })
    await callbackify(touched, done)
  }

  override async destroy(sid: string, done?: Done): Promise<void> {
    this.#writtenAt.delete(sid)
    await callbackify(super.destroy(sid), done)
  }
}

async function callbackify(result: Promise<unknown>, done: Done = () => {}): Promise<void> {
  let value: unknown
  try {
    value = await withStoreTimeout(result)
  } catch (error) {
    return done(error)
  }
  done(undefined, value)
}

/** @throws ConfigurationError in production, where a restart would sign out everybody */
export function createMemoryStore(logger: Logger, limits: LimitsByPortal): IdleMemoryStore {
  if (process.env.NODE_ENV === 'production')
    throw new ConfigurationError(
      'redis: give a connected `redis` client; sessions in the process are for development and refused when NODE_ENV=production',
    )
  logger.warn(
    {},
    'SESSIONS ARE KEPT IN THIS PROCESS: fine for development; in production, set the option `redis`',
  )
  return new IdleMemoryStore(limits)
}

/** True for our own stores, which do not recreate a revoked session. */
export function isBuiltInStore(store: Store | undefined): boolean {
  return store instanceof TimeLimitedRedisStore || store instanceof IdleMemoryStore
}

/**
 * express-session with our cookie.
 *
 * @param options.secrets newest first
 * @param options.maxAgeMs how long the browser keeps the cookie; the server decides how long the session lasts
 */
export function createCookieSession(
  { cookieName, keyScope, secure }: Pick<Core, 'cookieName' | 'keyScope' | 'secure'>,
  store: Store,
  { secrets, maxAgeMs }: { secrets: readonly string[]; maxAgeMs: number },
): RequestHandler {
  // Another instance cannot open a session cookie of this one, whatever its name.
  const purpose = `session-cookie${keyScope}`
  return session({
    store,
    secret: secrets.map((secret) => Buffer.from(deriveKey(secret, purpose)).toString('base64url')),
    name: cookieName(),
    resave: false,
    // Visitors who have not signed in must not fill the store.
    saveUninitialized: false,
    // `req.session = null` signs out, as with cookie-session.
    unset: 'destroy',
    // A cookie in every response would write to the store each time, and no response could be cached.
    rolling: false,
    // Trusts X-Forwarded-Proto only to decide whether the Secure cookie may be sent.
    proxy: true,
    cookie: { httpOnly: true, secure, sameSite: 'lax', path: '/', maxAge: maxAgeMs },
  })
}

/** With `unset: 'destroy'`, express-session would delete a session that the store could not read. It then remains `undefined`. */
export const keepUnreadSession: ErrorRequestHandler = (error, req, _res, next) => {
  if (req.session === undefined) req.sessionID = ''
  next(error)
}

/** A request for express-session alone, which keeps the session of one instance there. */
export function createSessionView(req: Request): Request {
  const none = { value: undefined, writable: true }
  // Two levels, so that a deleted session does not reveal the request's own, which may be another instance's.
  return Object.create(
    Object.create(req, { session: none, sessionID: none, sessionStore: none, user: none }),
  ) as Request
}

/** Makes the request show the session and the user of a view. */
export function exposeSessionView(req: Request, view: Request): void {
  for (const field of ['session', 'sessionID', 'sessionStore', 'user'] as const)
    Object.defineProperty(req, field, {
      configurable: true,
      enumerable: true,
      get: () => view[field],
      set(value: never) {
        view[field] = value
      },
    })
}
