import { randomUUID } from 'node:crypto'
import type { Request } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import { within } from '../shared/with-timeout.ts'
import type { PortalOf } from '../web/request.ts'
import type { Ended } from './end-sessions.ts'
import { deviceOf, type PlaceOf, type SignedIn, type SignIn, signedInNow } from './session-data.ts'
import type { LimitsOf } from './session-limits.ts'
import type { RunningSessions } from './session-validity.ts'
import type { SessionIndex } from './sessions-table.ts'

/** The row of a session, as its request goes from one session to the next. */
export interface EnterSession {
  /** Whose session a request came with. */
  cameWith(req: Request, signedIn: SignedIn): void
  /**
   * What is to stand in the session, and its row: before it is written, for one that nobody could find again to end it must not be.
   *
   * A host calls `req.login` also for who is signed in, whose particulars have changed say: nobody has shown anything then, and what
   * ends what was begun with a provider still has to find it, at every moment. Else who sends such requests with a stolen session
   * all the time, or holds one open, would have another one when it is ended.
   *
   * @param signIn `undefined`: the host calls `req.login` itself
   * @throws PortalSsoError where it has ended meanwhile
   */
  enter(req: Request, userId: string, signIn: SignIn | undefined): Promise<SignedIn>
  /** Its row waits until the request is answered, under an id that is no session's, for `enter` to go on with it. */
  leave(req: Request, sessionId: string): Promise<void>
}

export interface EnterSessionParts {
  index: SessionIndex
  /** ends a session, and never rejects */
  letGo: (sessionId: string) => Promise<Ended | undefined>
  limitsOf: LimitsOf
  /** milliseconds that leaving waits for the index */
  patience: number
  placeOf: PlaceOf
  portalOf: PortalOf
  runningSessions: RunningSessions
}

export function createEnterSession(parts: EnterSessionParts): EnterSession {
  const { index, letGo, limitsOf, patience, placeOf, portalOf, runningSessions } = parts
  const cameWith = new WeakMap<Request, SignedIn>()
  /** under which id the row of a session waits that a request has left */
  const leftAs = new WeakMap<Request, string>()

  async function add(req: Request, { portal, userId, since }: SignedIn, signIn: SignIn | undefined) {
    const { provider, issuer, subject, providerSession } = signIn ?? {}
    const came = provider && issuer !== undefined && subject !== undefined
    await index.add({
      sessionId: req.sessionID,
      portal,
      userId,
      cameBy: came ? { providerId: provider.id, provider: provider.slug, issuer, subject } : undefined,
      providerSession,
      ...deviceOf(req.get('user-agent')),
      place: placeOf(req),
      expiresAt: new Date(since + limitsOf(portal).absolute),
    })
  }

  return {
    cameWith: (req, signedIn) => void cameWith.set(req, signedIn),

    async enter(req, userId, signIn) {
      const [before, left, portal] = [cameWith.get(req), leftAs.get(req), portalOf(req)]
      leftAs.delete(req)
      const now = signedInNow(portal, userId, signIn)
      const isSame = !signIn && before?.portal === portal && before.userId === userId
      if (isSame && left !== undefined && (await index.rename(left, req.sessionID)))
        return before.provider === undefined ? { ...now, since: before.since } : before
      const ended = !isSame && left !== undefined && (await letGo(left))?.size === 1
      if (!signIn && before && !ended)
        throw new PortalSsoError('not_signed_in', 'the session ended meanwhile')
      await add(req, now, signIn)
      return now
    },

    async leave(req, sessionId) {
      const left = randomUUID()
      const waits = await within(patience, index.rename(sessionId, left)).catch(() => false)
      runningSessions.forget(sessionId)
      if (!waits) return
      leftAs.set(req, left)
      // What stands in for an answer in the handshake of a WebSocket may emit nothing; then it waits until its idle time is over.
      req.res?.once?.('close', () => void (leftAs.delete(req) && letGo(left)))
    },
  }
}

type Done = (error?: unknown) => void
type Way = 'destroy' | 'regenerate'
type Ending = (this: unknown, done: Done) => unknown

/**
 * A host may end a session by itself: `req.logout`, `req.session.destroy` or `regenerate`. That takes it out of its store, into
 * which a request in flight can write it back; so it is ended here, too, before the host hears that it is over.
 *
 * @param end never rejects
 */
export function watchForHost(req: Request, end: (sessionId: string, way: Way) => Promise<unknown>): void {
  const { session, sessionID } = req
  for (const name of ['destroy', 'regenerate'] satisfies Way[]) {
    const original = session[name] as Ending | undefined
    if (typeof original !== 'function') continue
    const value: Ending = function (done) {
      const ended = end(sessionID, name)
      return original.call(this, (error) => void ended.then(() => done?.(error)))
    }
    // Not enumerable: it is no part of what is kept.
    Object.defineProperty(session, name, { value, configurable: true, writable: true })
  }
}
