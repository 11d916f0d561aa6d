import { randomUUID } from 'node:crypto'
import type { Request } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import type { PortalResolver } from '../web/request.ts'
import type { Ended } from './end-sessions.ts'
import {
  type LocationResolver,
  type NewSignIn,
  newSignInSession,
  parseUserAgent,
  type SignInSession,
} from './session-data.ts'
import type { LimitsOf } from './session-limits.ts'
import type { SessionValidity } from './session-validity.ts'
import type { SessionsTable } from './sessions-table.ts'

/** The row of a session, as its request goes from one session to the next. */
export interface SessionRow {
  /** Whose session a request came with. */
  rememberRequestSession(req: Request, signedIn: SignInSession): void
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
  enter(req: Request, userId: string, signIn: NewSignIn | undefined): Promise<SignInSession>
  /** Its row waits until the request is answered, under an id that is no session's, for `enter` to go on with it. */
  leave(req: Request, sessionId: string): Promise<void>
}

export interface SessionRowParts {
  index: SessionsTable
  /** ends a session, and never rejects */
  endQuietly: (sessionId: string) => Promise<Ended | undefined>
  limitsOf: LimitsOf
  /** milliseconds that leaving waits for the index */
  patience: number
  locationOf: LocationResolver
  portalOf: PortalResolver
  sessionValidity: SessionValidity
}

export function createSessionRow(parts: SessionRowParts): SessionRow {
  const { index, endQuietly, limitsOf, patience, locationOf, portalOf, sessionValidity } = parts
  const rememberRequestSession = new WeakMap<Request, SignInSession>()
  /** under which id the row of a session waits that a request has left */
  const leftAs = new WeakMap<Request, string>()

  async function add(req: Request, { portal, userId, since }: SignInSession, signIn: NewSignIn | undefined) {
    const { provider, issuer, subject, sid } = signIn ?? {}
    const came = provider && issuer !== undefined && subject !== undefined
    await index.add({
      sessionId: req.sessionID,
      portal,
      userId,
      signedInVia: came ? { providerId: provider.id, provider: provider.slug, issuer, subject } : undefined,
      sid,
      ...parseUserAgent(req.get('user-agent')),
      location: locationOf(req),
      expiresAt: new Date(since + limitsOf(portal).absolute),
    })
  }

  return {
    rememberRequestSession: (req, signedIn) => void rememberRequestSession.set(req, signedIn),

    async enter(req, userId, signIn) {
      const [before, left, portal] = [rememberRequestSession.get(req), leftAs.get(req), portalOf(req)]
      leftAs.delete(req)
      const now = newSignInSession(portal, userId, signIn)
      const isSame = !signIn && before?.portal === portal && before.userId === userId
      if (isSame && left !== undefined && (await index.rename(left, req.sessionID)))
        return before.provider === undefined ? { ...now, since: before.since } : before
      const ended = !isSame && left !== undefined && (await endQuietly(left))?.size === 1
      if (!signIn && before && !ended)
        throw new PortalSsoError('not_signed_in', 'the session ended meanwhile')
      await add(req, now, signIn)
      return now
    },

    async leave(req, sessionId) {
      const left = randomUUID()
      const waits = await withTimeout(patience, index.rename(sessionId, left)).catch(() => false)
      sessionValidity.forget(sessionId)
      if (!waits) return
      leftAs.set(req, left)
      // What stands in for an answer in the handshake of a WebSocket may emit nothing; then it waits until its idle time is over.
      req.res?.once?.('close', () => void (leftAs.delete(req) && endQuietly(left)))
    },
  }
}

type Done = (error?: unknown) => void
type HostEnding = 'destroy' | 'regenerate'
type Ending = (this: unknown, done: Done) => unknown

/**
 * A host may end a session by itself: `req.logout`, `req.session.destroy` or `regenerate`. That takes it out of its store, into
 * which a request in flight can write it back; so it is ended here, too, before the host hears that it is over.
 *
 * @param end never rejects
 */
export function trackHostSessionChanges(
  req: Request,
  end: (sessionId: string, way: HostEnding) => Promise<unknown>,
): void {
  const { session, sessionID } = req
  for (const name of ['destroy', 'regenerate'] satisfies HostEnding[]) {
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
