import type { Request } from 'express'
import { MemoryStore, type SessionData } from 'express-session'
import type { TimeLeftOf } from './time-left.ts'
import { asWritten, wasWritten } from './written.ts'

/** Sessions in this process, for development: with the same idle time as in Redis, whatever their cookie says. */
export class LivingMemoryStore extends MemoryStore {
  /** id → when it ends without a request, in milliseconds since 1970 */
  private readonly living = new Map<string, number>()
  private readonly timeLeftOf: TimeLeftOf

  constructor(timeLeftOf: TimeLeftOf) {
    super()
    this.timeLeftOf = timeLeftOf
  }

  override createSession(req: Request, data: SessionData) {
    return asWritten(super.createSession(req, data))
  }

  override get(sid: string, done: (error: unknown, data?: SessionData | null) => void): void {
    if ((this.living.get(sid) ?? 0) <= Date.now()) this.destroy(sid)
    super.get(sid, done)
  }

  override set(sid: string, data: SessionData, done?: (error?: unknown) => void): void {
    if (wasWritten(data) && !this.living.has(sid)) {
      if (done) setImmediate(done)
      return
    }
    this.goesOn(sid, data)
    asWritten(data)
    super.set(sid, data, done)
  }

  override touch(sid: string, data: SessionData, done?: () => void): void {
    if (this.living.has(sid)) this.goesOn(sid, data)
    super.touch(sid, data, done)
  }

  override destroy(sid: string, done?: (error?: unknown) => void): void {
    this.living.delete(sid)
    super.destroy(sid, done)
  }

  private goesOn(sid: string, data: SessionData): void {
    this.living.set(sid, Date.now() + this.timeLeftOf(data).left)
  }
}
