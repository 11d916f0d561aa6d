import { RedisStore } from 'connect-redis'
import session, { MemoryStore, type SessionData, type Store } from 'express-session'
import { ConfigurationError, PortalSsoError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { RedisCounter } from '../web/rate-limit.ts'
import { within } from '../within.ts'

/** A connected client or cluster of the `redis` package, 5 or newer. */
export interface RedisLike extends RedisCounter {
  get(key: string): Promise<unknown>
  set(key: string, value: string, options: { expiration: { type: 'EX'; value: number } }): Promise<unknown>
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
  return new MemoryStore()
}

type Done = (error?: unknown, value?: unknown) => void

/**
 * connect-redis, but never waiting for long: the client queues commands while Redis is away, and a guarded page must then
 * say so, not hang, and never take somebody for signed out.
 */
class PunctualRedisStore extends RedisStore {
  constructor(client: RedisLike) {
    super({ client, prefix: 'portal-sso:session:' })
  }

  override async get(sid: string, done?: Done): Promise<unknown> {
    return await inTime(super.get(sid), done)
  }

  override async set(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    return await inTime(super.set(sid, data), done)
  }

  override async touch(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    return await inTime(super.touch(sid, data), done)
  }

  override async destroy(sid: string, done?: Done): Promise<unknown> {
    return await inTime(super.destroy(sid), done)
  }
}

async function inTime(answer: Promise<unknown>, done: Done | undefined): Promise<unknown> {
  const outcome = await race(answer)
  if (done) {
    done(outcome.error, outcome.value)
    return undefined
  }
  if (outcome.error) throw outcome.error
  return outcome.value
}

async function race(answer: Promise<unknown>): Promise<{ error?: PortalSsoError; value?: unknown }> {
  try {
    return { value: await within(patience, answer) }
  } catch (cause) {
    return { error: new PortalSsoError('session_unavailable', 'the session store', { cause }) }
  }
}

export interface SessionOptions {
  /** minutes without a request after which a session ends; default 30 */
  idleMinutes: number
  /** hours after which a session ends whatever happens; default 12 */
  absoluteHours: number
}

export interface SessionMiddlewareOptions extends SessionOptions {
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
