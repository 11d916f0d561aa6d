import { RedisStore } from 'connect-redis'
import type { Request } from 'express'
import session, { MemoryStore, type SessionData, type Store } from 'express-session'
import { ConfigurationError, PortalSsoError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { RedisCounter } from '../web/rate-limit.ts'
import { within } from '../within.ts'
import type { SessionLimits } from './limits.ts'

/** A connected client or cluster of the `redis` package, 5 or newer. */
export interface RedisLike extends RedisCounter {
  get(key: string): Promise<unknown>
  set(
    key: string,
    value: string,
    options: { expiration: { type: 'EX'; value: number }; condition?: 'XX' },
  ): Promise<unknown>
  del(keys: string[]): Promise<unknown>
}

/** milliseconds that a request waits for Redis before it is told to come back */
const patience = 2000

/**
 * Where sessions live: in Redis, or in this process for development.
 *
 * @throws ConfigurationError when production would keep them in the process, where a restart signs everybody out
 */
export function createSessionStore(redis: RedisLike | undefined, logger: Logger): Store {
  if (redis) return new PunctualRedisStore(redis) as Store
  if (process.env.NODE_ENV === 'production')
    throw new ConfigurationError(
      'redis: give a connected `redis` client; sessions in the process are for development and refused when NODE_ENV=production',
    )
  logger.warn(
    {},
    'SESSIONS ARE KEPT IN THIS PROCESS: fine for development; give `redis` before anybody relies on it',
  )
  return new LivingMemoryStore()
}

type Done = (error?: unknown, value?: unknown) => void

/**
 * Sessions that their store has, or had. A request that began before its session ended, and writes into it, would write it
 * anew at its end: whoever holds a stolen cookie keeps such a request running (a long upload, say) until the person has
 * signed out. So what was there once is only ever written over.
 */
const written = new WeakSet<object>()

class LivingMemoryStore extends MemoryStore {
  private readonly living = new Set<string>()

  override createSession(req: Request, data: SessionData) {
    return asWritten(super.createSession(req, data))
  }

  override set(sid: string, data: SessionData, done?: (error?: unknown) => void): void {
    if (written.has(data) && !this.living.has(sid)) {
      if (done) setImmediate(done)
      return
    }
    this.living.add(sid)
    written.add(data)
    super.set(sid, data, done)
  }

  override destroy(sid: string, done?: (error?: unknown) => void): void {
    this.living.delete(sid)
    super.destroy(sid, done)
  }
}

function asWritten<T extends object>(data: T): T {
  written.add(data)
  return data
}

/** Writes over what is there, and nothing else. */
function writingOver(client: RedisLike): Pick<RedisLike, 'set' | 'del'> {
  return {
    set: (key, value, options) => client.set(key, value, { ...options, condition: 'XX' }),
    del: (keys) => client.del(keys),
  }
}

const prefix = 'portal-sso:session:'

/**
 * connect-redis, but never waiting for long: the client queues commands while Redis is away, and a guarded page must then
 * say so, not hang, and never take somebody for signed out.
 */
class PunctualRedisStore extends RedisStore {
  private readonly over: RedisStore

  constructor(client: RedisLike) {
    super({ client, prefix })
    this.over = new RedisStore({ client: writingOver(client), prefix })
  }

  override createSession(req: Request, data: SessionData) {
    return asWritten(super.createSession(req, data))
  }

  override async get(sid: string, done?: Done): Promise<unknown> {
    return await told(super.get(sid), done)
  }

  override async set(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    const set = written.has(data) ? this.over.set(sid, data) : super.set(sid, data)
    // One that came too late may not have been written: the next is to come through.
    return await told(
      set.then(() => asWritten(data)),
      done,
    )
  }

  override async touch(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    return await told(super.touch(sid, data), done)
  }

  override async destroy(sid: string, done?: Done): Promise<unknown> {
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

/** Whether it is a store of ours, in which a session that has ended is not written anew. */
export function isOurs(store: Store): boolean {
  return store instanceof PunctualRedisStore || store instanceof LivingMemoryStore
}

/**
 * What the session store, or Redis behind it, says, if it says so in time.
 *
 * @throws PortalSsoError `session_unavailable`
 */
export async function inTime<T>(answer: Promise<T>): Promise<T> {
  try {
    return await within(patience, answer)
  } catch (cause) {
    if (cause instanceof PortalSsoError) throw cause
    throw new PortalSsoError('session_unavailable', 'the session store', { cause })
  }
}

export interface SessionMiddlewareOptions extends SessionLimits {
  store: Store
  /** newest first */
  secrets: string[]
  cookieName: string
  secure: boolean
}

export function createSessionMiddleware(options: SessionMiddlewareOptions): ReturnType<typeof session> {
  return session({
    store: options.store,
    secret: options.secrets,
    name: options.cookieName,
    resave: false,
    // A visitor who has not signed in costs no stored state.
    saveUninitialized: false,
    rolling: true,
    // Believes X-Forwarded-Proto, for one thing only: whether the Secure cookie may be sent at all.
    proxy: true,
    cookie: {
      httpOnly: true,
      secure: options.secure,
      sameSite: 'lax',
      path: '/',
      maxAge: options.idleMinutes * 60_000,
    },
  })
}
