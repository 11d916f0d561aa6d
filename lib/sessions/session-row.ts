import { randomUUID } from 'node:crypto'
import type { Request } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import type { Revocation } from './revocation.ts'
import {
  type LocationResolver,
  type NewSignIn,
  newSignInSession,
  parseUserAgent,
  type SignInSession,
} from './session-data.ts'
import type { LimitsByPortal } from './session-limits.ts'
import type { SessionValidity } from './session-validity.ts'
import type { SessionsTable } from './sessions-table.ts'

/**
 * The host may have checked a password just before the user's address was proven, and the host deleted it. An
 * attacker who keeps signing in with it would otherwise get a session after all others have ended.
 */
const passwordCheckMs = 10_000

interface SessionRowModules {
  /** Whether a first proof of a user's address ends the sessions that started before it. */
  endOtherSessions: boolean
  table: SessionsTable
  validity: SessionValidity
  revocation: Revocation
  limits: LimitsByPortal
  locations: LocationResolver
}

export type MarkedRequest = Request & { [mark: symbol]: unknown }

type Done = (error?: unknown) => void
type HostMethod = (this: unknown, done: Done) => unknown

/**
 * Keeps the row of a session attached while a request replaces the session by another one.
 *
 * A host may call `req.login` to refresh the signed-in user's data. Passport then regenerates the session: `detach` parks the row
 * under an id that no session has, and `attach` gives it to the new session, so that a revocation finds it at every moment.
 */
export class SessionRow {
  readonly #core: Pick<Core, 'breakers' | 'clock' | 'keyScope' | 'portalOf'>
  readonly #modules: SessionRowModules
  /** the key of a field on requests; a `WeakMap` of all requests costs more */
  readonly #requestSession = Symbol('session of the request')
  /** request → id under which the row of its detached session is parked */
  readonly #parkedAs = new WeakMap<Request, string>()

  constructor(core: Pick<Core, 'breakers' | 'clock' | 'keyScope' | 'portalOf'>, modules: SessionRowModules) {
    this.#core = core
    this.#modules = modules
  }

  /** Notes that the request came with this valid session. */
  rememberRequestSession(req: Request, signInSession: SignInSession): void {
    ;(req as MarkedRequest)[this.#requestSession] = signInSession
  }

  /**
   * Returns the data for the new session. Its row is written before the store writes the session, so that every session can be
   * found and revoked. Without a new authentication (`signIn` omitted, same user) the row and the previous data are kept.
   *
   * @throws PortalSsoError if the request's session was revoked in the meantime: a thief who holds a request open gets no new one
   */
  async attach(req: Request, userId: string, signIn: NewSignIn | undefined): Promise<SignInSession> {
    const { table, revocation, limits, locations, validity } = this.#modules
    const { clock, keyScope: instance, portalOf } = this.#core
    const portal = portalOf(req)
    const previous = (req as MarkedRequest)[this.#requestSession] as SignInSession | undefined
    const parked = this.#parkedAs.get(req)
    this.#parkedAs.delete(req)
    const next = newSignInSession({ instance, portal, userId }, signIn, clock.now())
    const isRefresh = !signIn && previous?.portal === portal && previous.userId === userId
    if (isRefresh && parked !== undefined && (await table.rename(parked, req.sessionID))) return previous
    const endedPrevious =
      !isRefresh && parked !== undefined && (await revocation.endQuietly(parked))?.size === 1
    if (!signIn && previous && !endedPrevious)
      throw new PortalSsoError('not_signed_in', 'the session was revoked in the meantime')
    validity.expect(req.sessionID)
    const added = table.add({
      sessionId: req.sessionID,
      portal,
      userId,
      signIn,
      ...parseUserAgent(req.get('user-agent')),
      location: locations.locationOf(req),
      expiresAt: new Date(next.since + limits.of(portal).absoluteMs),
    })
    await added.catch((error: unknown) => {
      validity.invalidate(req.sessionID)
      throw error
    })
    if (!signIn) await this.#assertNotReclaimed(req, next)
    return next
  }

  /** Runs after the row was written: a proof that comes later finds the row. */
  async #assertNotReclaimed({ sessionID }: Request, { portal, userId }: SignInSession): Promise<void> {
    const { endOtherSessions, revocation, table } = this.#modules
    if (!endOtherSessions || !(await table.wasProvenWithin(passwordCheckMs, portal, userId))) return
    await revocation.endQuietly(sessionID)
    throw new PortalSsoError(
      'signed_out_during_sign_in',
      'the user signed in with a provider in the meantime',
    )
  }

  /** Parks the row until `attach` takes it over. It is deleted when the response closes without that. */
  async detach(req: Request, sessionId: string): Promise<void> {
    const { table, validity, revocation } = this.#modules
    const parked = randomUUID()
    const { database } = this.#core.breakers
    const renamed = await database.run(table.rename(sessionId, parked)).catch(() => false)
    validity.invalidate(sessionId)
    if (!renamed) return
    this.#parkedAs.set(req, parked)
    // The stand-in response of a WebSocket handshake may emit no events; then the row stays until it expires.
    req.res?.once?.('close', () => void (this.#parkedAs.delete(req) && revocation.endQuietly(parked)))
  }

  /**
   * A host may end a session itself, by `req.logout`, `req.session.destroy` or `regenerate`. A request in flight could write that
   * session back into its store, so its row is deleted or parked too, before the host's callback runs.
   */
  trackHostSessionChanges(req: Request): void {
    this.#intercept(req, 'destroy', (sessionId) => this.#modules.revocation.endQuietly(sessionId))
    this.#intercept(req, 'regenerate', (sessionId) => this.detach(req, sessionId))
  }

  /** @param act never rejects */
  #intercept(
    { session, sessionID }: Request,
    name: 'destroy' | 'regenerate',
    act: (sessionId: string) => Promise<unknown>,
  ): void {
    const original = session[name] as HostMethod | undefined
    if (typeof original !== 'function') return
    const value: HostMethod = function (done) {
      const acted = act(sessionID)
      return original.call(this, (error) => void acted.then(() => done?.(error)))
    }
    // Not enumerable, so that it is not stored with the session's data.
    Object.defineProperty(session, name, { value, configurable: true, writable: true })
  }
}
