import type { Request } from 'express'

type Done = (error?: unknown) => void
type Ending = (this: unknown, done: Done) => unknown

/**
 * A host may end a session by itself: `req.logout`, `req.session.destroy` or `regenerate`. That takes it out of its store, into
 * which a request in flight can write it back; so it is ended here, too, before the host hears that it is over.
 *
 * @param end never rejects
 */
export function watchForHost(req: Request, end: (sessionId: string) => Promise<void>): void {
  const { session, sessionID } = req
  for (const name of ['destroy', 'regenerate'] as const) {
    const original = session[name] as Ending | undefined
    if (typeof original !== 'function') continue
    const value: Ending = function (done) {
      const ended = end(sessionID)
      return original.call(this, (error) => void ended.then(() => done?.(error)))
    }
    // Not enumerable: it is no part of what is kept.
    Object.defineProperty(session, name, { value, configurable: true, writable: true })
  }
}
