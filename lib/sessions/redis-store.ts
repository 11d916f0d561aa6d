import { RedisStore } from 'connect-redis'
import type { Request } from 'express'
import type { SessionData } from 'express-session'
import { LRUCache } from 'lru-cache'
import type { RedisCounter } from '../web/rate-limit.ts'
import { inTime } from './in-time.ts'
import type { TimeLeftOf } from './time-left.ts'
import { asWritten, wasWritten } from './written.ts'

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
export class PunctualRedisStore extends RedisStore {
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
    return asWritten(super.createSession(req, data))
  }

  override async get(sid: string, done?: Done): Promise<unknown> {
    return await told(super.get(sid), done)
  }

  override async set(sid: string, data: SessionData, done?: Done): Promise<unknown> {
    const now = Date.now()
    const set = wasWritten(data) ? this.over.set(sid, data) : super.set(sid, data)
    // One that came too late may not have been written: the next is to come through.
    const noted = set.then(() => {
      asWritten(data)
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
