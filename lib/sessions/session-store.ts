import { promisify } from 'node:util'
import { RedisStore } from 'connect-redis'
import type { Request, RequestHandler, Response } from 'express'
import session, { MemoryStore, type Session, type SessionData, type Store } from 'express-session'
import { LRUCache } from 'lru-cache'
import { ConfigurationError, describeError, PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { deriveKey } from '../shared/seal.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { cookiesOf } from '../web/sealed-cookie.ts'
import { millisecondsLeft, type RedisLike } from './redis-client.ts'
import { readSignInSession, type SignInSession } from './session-data.ts'
import type { LimitsByPortal } from './session-limits.ts'

const storeTimeoutMs = 2000

/** @throws PortalSsoError `session_unavailable` when the session store fails or takes too long */
export async function withStoreTimeout<T>(result: Promise<T>): Promise<T> {
  try {
    return await withTimeout(storeTimeoutMs, result)
  } catch (cause) {
    throw storeFailure(cause)
  }
}

function storeFailure(cause: unknown): PortalSsoError {
  if (cause instanceof PortalSsoError) return cause
  return new PortalSsoError('session_unavailable', 'the session store', { cause })
}

/**
 * Sessions that are, or were, in their store. A thief with a stolen cookie could keep a request open (a long upload) until the
 * user has signed out; its final write would recreate the session. So these sessions are only ever overwritten.
 */
const persisted = Symbol('persisted')
/** The field of sessions that are, or may be, in Redis: what this request wrote last. */
const sentContent = Symbol('sent content')

interface StoredSession extends SessionData {
  // Symbols are neither stored nor copied to another session.
  [persisted]?: true
  [sentContent]?: string | undefined
}

/** Marks a session as persisted. Its JSON, such as in a page or a log line of the host, does not contain the ID token. */
function markLoaded<T extends SessionData>(session: T): T {
  ;(session as StoredSession)[persisted] = true
  const toJSON = { value: toJsonWithoutIdToken, configurable: true, writable: true }
  const signInSession = readSignInSession(session)
  if (signInSession) Object.defineProperty(signInSession, 'toJSON', toJSON)
  return session
}

function toJsonWithoutIdToken(this: SignInSession) {
  return { ...this, logoutHint: this.logoutHint?.length }
}

/** A copy whose JSON is complete, for the store. */
function withFullJson<T extends SessionData>(session: T): T {
  const signInSession = readSignInSession(session)
  const { passport } = session as { passport?: object }
  return signInSession ? { ...session, passport: { ...passport, user: { ...signInSession } } } : session
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
    return markLoaded(super.createSession(req, data))
  }

  override get(sid: string, done: (error: unknown, data?: SessionData | null) => void): void {
    if ((this.#expiresAt.get(sid) ?? 0) <= Date.now()) this.destroy(sid)
    super.get(sid, done)
  }

  override set(sid: string, data: SessionData, done?: (error?: unknown) => void): void {
    if ((data as StoredSession)[persisted] && !this.#expiresAt.has(sid)) {
      if (done) setImmediate(done)
      return
    }
    this.#expiresAt.set(sid, Date.now() + this.#limits.storeTtl(data).ttlMs)
    ;(data as StoredSession)[persisted] = true
    super.set(sid, withFullJson(data), done)
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

const serializer = {
  parse: (text: string) => JSON.parse(text) as SessionData,
  stringify: (data: SessionData) => JSON.stringify(withFullJson(data)),
}

type Done = (error?: unknown, value?: unknown) => void

/** An instance that has dropped an entry writes one extra time. */
const maxRememberedWrites = 20_000
const lookUpTimeoutMs = SECOND / 2

/** connect-redis that writes less. While Redis is down, a guarded page responds with 503, and does not treat the user as signed out. */
export class TimeLimitedRedisStore extends RedisStore {
  /** Set by express-session. */
  declare generate: (req: Request) => void
  readonly #client: RedisLike
  readonly #keyPrefix: string
  readonly #limits: LimitsByPortal
  #isCluster = false
  #alreadyRead: string | undefined
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
    super({ client, prefix, ttl, serializer })
    const overwriting: Pick<RedisLike, 'set' | 'del'> = {
      set: (key, value, options) => client.set(key, value, { ...options, condition: 'XX' }),
      del: (keys) => client.del(keys),
    }
    this.#overwriting = new RedisStore({ client: overwriting, prefix, ttl, serializer })
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
    const session: StoredSession = markLoaded(super.createSession(req, data))
    session[sentContent] = undefined
    return session as ReturnType<Store['createSession']>
  }

  override async get(sid: string, done?: Done): Promise<void> {
    const text = this.#alreadyRead
    if (text === undefined) return await callbackify(super.get(sid), done)
    this.#alreadyRead = undefined
    done?.(undefined, JSON.parse(text))
  }

  /** Creates the request's session unless it is missing. @returns its text, and its cookie as stored */
  async read(req: Request, sid: string): Promise<{ text: string; cookie: unknown }> {
    const text = String((await this.#client.get(this.#keyPrefix + sid)) ?? null)
    const data = JSON.parse(text) as SessionData | null
    // The session replaces it in `data`.
    const cookie = data?.cookie
    if (data) this.createSession(Object.assign(req, { sessionID: sid }), data)
    return { text, cookie }
  }

  /** @param open runs express-session, which gets this text instead of reading the session again */
  openRead(text: string, open: () => void): void {
    this.#alreadyRead = text
    open()
    this.#alreadyRead = undefined
  }

  /** A new session that was never sent to the store needs no command to delete it. */
  override regenerate(req: Request, done: (error?: unknown) => unknown): void {
    if (!req.session || sentContent in req.session) {
      super.regenerate(req, done)
      return
    }
    this.generate(req)
    done()
  }

  override async set(sid: string, data: SessionData, done?: Done): Promise<void> {
    const now = Date.now()
    const stored = data as StoredSession
    const content = JSON.stringify({ ...data, cookie: undefined })
    // express-session writes the session of a sign-in again at the end of the response.
    const isWritten = stored[sentContent] === content && !this.isDue(sid, data, now)
    if (isWritten) return done?.()
    // Before the write, which may succeed even if it times out.
    stored[sentContent] = undefined
    const set = stored[persisted] ? this.#overwriting.set(sid, data) : super.set(sid, data)
    // Only after the write: one that failed must not suppress the next.
    const noted = set.then(() => {
      stored[persisted] = true
      stored[sentContent] = content
      this.#writtenAt.set(sid, now)
    })
    await callbackify(noted, done)
  }

  override async touch(sid: string, data: SessionData, done?: Done): Promise<void> {
    const now = Date.now()
    if (!this.isDue(sid, data, now)) return done?.()
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

  /** True if the entry must be renewed, so that it does not expire while the session is in use. */
  isDue(sid: string, data: SessionData, now: number): boolean {
    // Also if the clock was set back: Redis would otherwise delete a session that is in use.
    return Math.abs(now - (this.#writtenAt.get(sid) ?? 0)) >= this.#limits.storeTtl(data).renewAfterMs
  }

  /** One command, except in a cluster, where the keys are on several nodes. */
  async destroyTogether(sessionIds: readonly string[]): Promise<void> {
    const keys = sessionIds.map((id) => this.#keyPrefix + id)
    for (const id of sessionIds) this.#writtenAt.delete(id)
    try {
      if (!this.#isCluster) return void (await this.#client.del(keys))
    } catch (error) {
      if (!describeError(error).includes('CROSSSLOT')) throw error
      this.#isCluster = true
    }
    await Promise.all(keys.map((key) => this.#client.del([key])))
  }
}

/** @throws PortalSsoError `session_unavailable` when the session store fails or takes too long */
export async function destroyTogether(store: Store, sessionIds: readonly string[]): Promise<void> {
  const destroyOne = promisify(store.destroy.bind(store))
  const destroyed =
    store instanceof TimeLimitedRedisStore
      ? store.destroyTogether(sessionIds)
      : Promise.all(sessionIds.map((id) => destroyOne(id)))
  await withStoreTimeout<unknown>(destroyed)
}

async function callbackify(result: Promise<unknown>, done: Done = () => {}): Promise<void> {
  let value: unknown
  try {
    value = await result
  } catch (cause) {
    return done(storeFailure(cause))
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
  const openSession = session({
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
  const open: RequestHandler = (req, res, next) => {
    openSession(req, res, (error?: unknown) => {
      // express-session would destroy the session that it could not read, which signs the user out.
      if (error !== undefined && !req.session) req.sessionID = ''
      next(error)
    })
  }
  return store instanceof TimeLimitedRedisStore ? openOnDemand(store, open, cookieName()) : open
}

/** A dropped cookie is verified again. */
const maxVerifiedCookies = 10_000

/**
 * Most requests only read their session, but express-session hashes each session four times, and its cookie three times. So it runs
 * only for cookies that it has not verified yet, and for sessions that the request has changed or that must be renewed.
 */
function openOnDemand(
  store: TimeLimitedRedisStore,
  open: RequestHandler,
  cookieName: string,
): RequestHandler {
  // Attacker: guesses signatures. Only whole cookies that express-session has verified are here, so there is nothing to guess.
  /** signed cookie → session id */
  const verified = new LRUCache<string, string>({ maxSize: maxVerifiedCookies, sizeCalculation: () => 1 })
  return (req, res, next) => {
    const cookie = cookiesOf(req)[cookieName] ?? ''
    const sid = verified.get(cookie)
    // With several instances in the app, each has a view of the request. The host may have mounted this middleware twice.
    if (sid === undefined || res.req !== req || req.session) {
      open(req, res, (error?: unknown) => {
        const isLoaded = req.session && persisted in req.session
        if (isLoaded && cookie.startsWith(`s:${req.sessionID}.`)) verified.set(cookie, req.sessionID)
        next(error)
      })
      return
    }
    Object.assign(req, { sessionID: '', sessionStore: store })
    store.read(req, sid).then(
      ({ text, cookie }) => {
        if (!req.session) return store.openRead(text, () => open(req, res, next))
        const reportError = (error?: unknown) => error !== undefined && next(error)
        const openRead = () => store.openRead(text, () => open(req, res, reportError))
        openBeforeResponse(store, res, { text, cookie }, openRead)
        next()
      },
      (cause: unknown) => next(storeFailure(cause)),
    )
  }
}

/**
 * Runs `open` before the headers are sent, or at the end of the response, if the session no longer is `text`, or must be renewed.
 *
 * @param open runs express-session, which wraps the functions that the response has now, before those of later middleware
 */
function openBeforeResponse(
  store: TimeLimitedRedisStore,
  res: Response,
  { text, cookie }: { text: string; cookie: unknown },
  open: () => void,
): void {
  const { req } = res
  const loaded = req.session
  let functions = functionsOf(res)
  let opened: Session | undefined
  let hasEnded = false
  const isUnchanged = () => {
    const { session, sessionID } = req
    if (session !== loaded || session.id !== sessionID || store.isDue(sessionID, session, Date.now()))
      return false
    // express-session ignores the expiry of the cookie, too.
    return JSON.stringify({ ...withFullJson(session), cookie }) === text
  }
  const openNow = (): Session => {
    const [{ session, sessionID }, later] = [req, functionsOf(res)]
    Object.assign(res, functions)
    Object.assign(req, { session: undefined })
    open()
    functions = functionsOf(res)
    // express-session opens none for `OPTIONS *`.
    opened = req.session ?? (Object.getPrototypeOf(loaded) as Session)
    Object.assign(res, later)
    Object.assign(req, { session, sessionID })
    return opened
  }
  // express-session compares the session with what these have written or read last.
  for (const name of ['save', 'reload'] as const) {
    const value = function (this: Session, done: (error?: unknown) => void) {
      return (opened ?? openNow())[name].call(this, done)
    }
    Object.defineProperty(loaded, name, { value, configurable: true, writable: true })
  }
  res.end = (...parameters: unknown[]) => {
    // As with express-session, a second call does nothing, even if the first has failed.
    if (hasEnded) return false as never
    hasEnded = true
    if (!opened && !isUnchanged()) openNow()
    return Reflect.apply(functions.end, res, parameters)
  }
  res.writeHead = (...parameters: unknown[]) => {
    if (!opened && !hasEnded && !isUnchanged()) openNow()
    return Reflect.apply(functions.writeHead, res, parameters)
  }
}

const functionsOf = ({ end, write, writeHead }: Response) => ({ end, write, writeHead })

const opener = Symbol('opener')

type DeferredRequest = Request & { [opener]?: RequestHandler | undefined }

// The same functions for all requests: V8 handles those much faster than closures.
const deferred = (field: 'session' | 'sessionID') => ({
  configurable: true,
  enumerable: true,
  get(this: DeferredRequest) {
    openDeferred(this)
    return this[field]
  },
  set(this: DeferredRequest, value: never) {
    openDeferred(this)
    this[field] = value
  },
})
const [deferredSession, deferredId] = [deferred('session'), deferred('sessionID')]

/**
 * Opens the session of a visitor without a session cookie when the host first reads it. Most visitors need none, and its id and
 * comparisons cost more than a redirect.
 */
export function deferSession(req: Request, store: Store, openSession: RequestHandler): void {
  req.sessionStore = store as Request['sessionStore']
  ;(req as DeferredRequest)[opener] = openSession
  Object.defineProperty(req, 'session', deferredSession)
  Object.defineProperty(req, 'sessionID', deferredId)
}

export function isSessionDeferred(req: Request): boolean {
  return (req as DeferredRequest)[opener] !== undefined
}

function openDeferred(given: DeferredRequest): void {
  let req = given
  // Middleware may derive a request from this one.
  while (!Object.hasOwn(req, opener)) req = Object.getPrototypeOf(req) as DeferredRequest
  const openSession = req[opener]
  req[opener] = undefined
  const none = { value: undefined, configurable: true, enumerable: true, writable: true }
  Object.defineProperty(req, 'session', none)
  Object.defineProperty(req, 'sessionID', none)
  // Without a cookie, express-session asks no store and calls back at once.
  openSession?.(req, req.res as Response, () => {})
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
