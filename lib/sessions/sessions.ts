import { callbackify, promisify } from 'node:util'
import type { Request, RequestHandler, Response } from 'express'
import type { Store } from 'express-session'
import passport, { type LogInOptions, type Strategy } from 'passport'
import type { EventLog } from '../events/event-log.ts'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import { isActive, type User, type UserCache } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { LogoutTokensTable } from './logout-tokens-table.ts'
import { knownStores, Revocation, type RevokedSessions } from './revocation.ts'
import {
  clearSignInSession,
  LocationResolver,
  type NewSignIn,
  readSignInSession,
  type SignedInVia,
  type SignInSession,
  signedInViaOf,
} from './session-data.ts'
import { LimitsByPortal, type PartialLimits, type SessionLimits } from './session-limits.ts'
import { SessionRow } from './session-row.ts'
import { createCookieSession, createSessionStore, type RedisLike } from './session-store.ts'
import { SessionValidity } from './session-validity.ts'
import { type SessionMatch, SessionsTable } from './sessions-table.ts'

/** When and how the user of a session last authenticated. */
export interface Authentication {
  /** milliseconds since 1970; `undefined` if the provider sent no `auth_time` */
  at: number | undefined
  /** Authentication Context Class Reference, as the provider sent it */
  acr: string | undefined
}

/** The data of an ended session that signing out needs. */
export interface EndedSession {
  /** may differ from the request's portal */
  portal: string
  userId: string
  signedInVia: SignedInVia | undefined
}

type SessionsSettings = {
  session: SessionLimits & {
    portals: Readonly<Record<string, PartialLimits>>
    userCacheSeconds: number
    location?: ((req: Request) => unknown) | undefined
  }
  redis: RedisLike | undefined
  linking: { endOtherSessions: boolean }
  /** newest first */
  secrets: readonly string[]
}

/**
 * The sessions of signed-in users: starts, checks, lists and revokes them, and signs users out whom a provider has signed out.
 * It does not depend on how a user signs in, and sends no pages.
 */
export class Sessions {
  /** Our own instance, so that a host's Passport keeps its strategies and serializers. */
  readonly passport = new passport.Passport()
  readonly table: SessionsTable
  readonly logoutTokens: LogoutTokensTable
  readonly locations: LocationResolver
  readonly #core: Core
  readonly #users: UserCache
  readonly #secrets: readonly string[]
  readonly #limits: LimitsByPortal
  readonly #validity: SessionValidity
  readonly #stores = knownStores()
  readonly #redisStore: Store | undefined
  readonly #revocation: Revocation
  readonly #row: SessionRow
  readonly #signIns = new WeakMap<Request, NewSignIn>()
  /** request → its session, before other middleware could replace it */
  readonly #identified = new WeakMap<Request, Request['session']>()
  #cookieSession: RequestHandler | undefined
  /** Makes `req.login` and `req.logout` use our Passport, even if the host's has replaced it on this request. */
  readonly #bindPassport = promisify(this.passport.initialize({ compat: false }))

  constructor(
    core: Core,
    users: UserCache,
    events: Pick<EventLog, 'addressOf'>,
    { session, redis, secrets, linking }: SessionsSettings,
  ) {
    const { logger } = core
    const limits = new LimitsByPortal(session, session.portals)
    const table = new SessionsTable(core.knex, core.seal('session-index'), limits)
    const validity = new SessionValidity(core, table, limits, session.userCacheSeconds * 1000)
    const locations = new LocationResolver(core, events, session.location)
    this.#core = core
    this.#users = users
    this.#secrets = secrets
    this.#limits = limits
    this.#validity = validity
    this.table = table
    this.locations = locations
    this.logoutTokens = new LogoutTokensTable(core.knex)
    const revocation = new Revocation({ logger, table, validity, stores: this.#stores })
    this.#revocation = revocation
    const { endOtherSessions } = linking
    this.#row = new SessionRow(core, { table, validity, revocation, limits, locations, endOtherSessions })
    this.#redisStore = redis && createSessionStore(core, limits, redis)
    // Sessions that this instance revokes before its first request are destroyed in Redis, too.
    if (this.#redisStore) this.#stores.set(this.#redisStore, true)
    // Runs with the session's new id, also when the host calls `req.login` itself, for example after a password login.
    this.passport.serializeUser(
      callbackify((req: Request, user: Express.User) =>
        this.#row.attach(req, String((user as User).id), this.#signIns.get(req)),
      ),
    )
  }

  /** express-session with our store and cookie. */
  cookieSession(): RequestHandler {
    const store = this.#redisStore ?? createSessionStore(this.#core, this.#limits, undefined)
    this.#stores.set(store, true)
    const { secure } = this.#core
    const options = { secrets: this.#secrets, secure, maxAgeMs: this.#limits.longestMs }
    this.#cookieSession = createCookieSession(store, options)
    return this.#cookieSession
  }

  /** Sets `req.user` to the signed-in user. A second call for the same request does nothing. */
  readonly identify: RequestHandler = asyncHandler(async (req, res, next) => {
    if (typeof req.session?.regenerate !== 'function') await this.#restoreSession(req, res)
    if (this.#identified.has(req)) return next()
    this.#identified.set(req, req.session)
    if (req.sessionStore) this.#stores.set(req.sessionStore, true)
    await this.#bindPassport(req, res)
    const signInSession = readSignInSession(req.session)
    // Unlike Passport's own strategy, this keeps data of a host's Passport under the same key.
    if (signInSession) {
      this.#row.trackHostSessionChanges(req)
      // A host's own deserializer may have set a user whom we refuse.
      req.user = await this.#userOf(req, signInSession)
    }
    next()
  })

  /** For hosts whose own session middleware follows: express-session fails on its object when the response ends. */
  readonly keepSession: RequestHandler = (req, res, next) => {
    const { session } = req
    const end = res.end
    res.end = (...args: unknown[]) => {
      if (req.session && typeof req.session.regenerate !== 'function') setSession(req, session)
      return Reflect.apply(end, res, args) as Response
    }
    next()
  }

  /** Checks again after the body was read: a slow body could otherwise outlive its session, or its user's deactivation. */
  readonly revalidate: RequestHandler = asyncHandler(async (req, _res, next) => {
    const signInSession = readSignInSession(req.session)
    // A database error must not prevent signing out. Every other route that reads a body needs the database anyway.
    if (req.user && signInSession && !(await this.#isStillValid(req, signInSession).catch(() => true))) {
      req.user = undefined
      await this.#discardSession(req)
    }
    next()
  })

  /**
   * Starts the session of a user who has signed in with a provider. It ends if the connection closes before the response was
   * sent: no browser has its cookie, so nobody would ever sign it out.
   */
  async start(req: Request, signIn: NewSignIn): Promise<void> {
    assertSecure(req)
    const res = req.res as Response
    this.#signIns.set(req, signIn)
    await this.#bindPassport(req, res)
    // After a re-authentication the user keeps the portal's session data. Another user must not inherit it.
    const current = readSignInSession(req.session) && (req.user as User | undefined)
    const keepSessionInfo = current !== undefined && String(current.id) === String(signIn.user.id)
    try {
      // Passport creates a new session id, so that a planted id is worthless (session fixation).
      await promisify<User, LogInOptions>(req.login.bind(req))(signIn.user, {
        session: true,
        keepSessionInfo,
      })
    } catch (error) {
      // A store write that timed out may still succeed, so the final write at the end of the response must name no user.
      clearSignInSession(req)
      await this.#revocation.endQuietly(req.sessionID)
      await promisify(req.logout.bind(req))().catch(() => {})
      throw error
    }
    if (res.closed) {
      await this.end(req)
      throw new PortalSsoError('attempt_expired', 'the connection closed before the response was sent')
    }
    const { sessionID } = req
    res.once('close', () => {
      if (!res.writableFinished) void this.#revocation.endQuietly(sessionID)
    })
  }

  /** Signs the user of this request out here. */
  async end(req: Request): Promise<EndedSession | undefined> {
    const signInSession = readSignInSession(req.session)
    const { sessionID } = req
    await this.#bindPassport(req, req.res as Response)
    if (signInSession) await this.#revocation.endQuietly(sessionID)
    await promisify(req.logout.bind(req))()
    if (!signInSession) return undefined
    const { portal, userId } = signInSession
    return { portal, userId, signedInVia: signedInViaOf(signInSession) }
  }

  /**
   * Revokes sessions on every instance. Afterwards none of them admits anybody; other instances, and sessions in a store of ours
   * that is down, follow within the user cache time.
   */
  async endAll(match: SessionMatch): Promise<RevokedSessions> {
    return await this.#revocation.revoke(match)
  }

  /** @throws PortalSsoError `not_signed_in` without a signed-in user */
  markAuthenticated(req: Request): void {
    const signInSession = req.user && readSignInSession(req.session)
    if (!signInSession) throw new PortalSsoError('not_signed_in', 'the request has no signed-in user')
    signInSession.authenticatedAt = Date.now()
    // The provider's `acr` describes an older authentication.
    delete signInSession.acr
  }

  /**
   * Not an authentication: no guard counts it. Attacker: holds a copy of the cookie, and waits until the user confirms. So the
   * session gets a new id, as in a re-authentication, and the copy becomes worthless.
   */
  async confirm(req: Request): Promise<void> {
    await this.#bindPassport(req, req.res as Response)
    const login = promisify<User, LogInOptions>(req.login.bind(req))
    await login(req.user as User, { session: true, keepSessionInfo: true })
    const signInSession = readSignInSession(req.session)
    if (signInSession) signInSession.confirmedAt = Date.now()
  }

  /** When `confirm` was called: milliseconds since 1970. */
  confirmedAt(req: Request): number | undefined {
    return readSignInSession(req.session)?.confirmedAt
  }

  /** The provider that started this request's session. */
  signedInVia(req: Request): SignedInVia | undefined {
    return signedInViaOf(readSignInSession(req.session))
  }

  authentication(req: Request): Authentication | undefined {
    const signInSession = readSignInSession(req.session)
    return signInSession && { at: signInSession.authenticatedAt, acr: signInSession.acr }
  }

  /** Other session middleware, such as cookie-session, has set `req.session`. `req.session = null` is its way to sign out. */
  async #restoreSession(req: Request, res: Response): Promise<void> {
    const current: unknown = req.session
    const known = this.#identified.get(req)
    if (known) {
      setSession(req, known)
      if (current) return
      req.user = undefined
      await this.#discardSession(req)
    } else {
      if (!current || !this.#cookieSession) throw missingSession(req)
      setSession(req, undefined)
      await promisify(this.#cookieSession)(req, res)
    }
  }

  /** @returns `undefined` if the session is of another portal, expired or revoked, or its user is deleted or inactive */
  async #userOf(req: Request, signInSession: SignInSession): Promise<User | undefined> {
    const { portal, since, userId } = signInSession
    try {
      if (portal !== this.#core.portalOf(req)) return undefined
      const isValid =
        Date.now() - since < this.#limits.of(portal).absoluteMs && (await this.#validity.isValid(req, portal))
      const user = isValid ? await this.#users.findById(userId, portal) : undefined
      if (user && isActive(user)) {
        this.#row.rememberRequestSession(req, signInSession)
        return user
      }
      await this.#discardSession(req)
    } catch (error) {
      // Signing out must work while the database is down, or the next person at a shared computer would be signed in.
      const isSignOut =
        req.method === 'POST' && req.originalUrl.split('?')[0] === this.#core.urls.path('/logout')
      if (!isSignOut) throw error
    }
    return undefined
  }

  async #isStillValid({ sessionID }: Request, { portal, userId }: SignInSession): Promise<boolean> {
    if (!(await this.#validity.hasRow(sessionID))) return false
    const user = await this.#users.findById(userId, portal)
    return user !== undefined && isActive(user)
  }

  /** Also drops the host's data, so that the holder of an old cookie cannot read it. */
  async #discardSession(req: Request): Promise<void> {
    clearSignInSession(req)
    await this.#revocation.endQuietly(req.sessionID)
    await promisify(req.session.regenerate.bind(req.session))()
  }
}

// A host's `passport.session()` would fail on our value in the session, or delete it. With our copy of Passport it skips our sessions,
// and requests that have none yet. It sets no user for them, so this admits nobody.
const { prototype } = passport.strategies.SessionStrategy
const { authenticate } = prototype
prototype.authenticate = function (
  this: Strategy & passport.StrategyCreatedStatic,
  req: Request,
  options?: object,
) {
  if (!req.session || readSignInSession(req.session)) this.pass()
  else authenticate.call(this as never, req, options)
}

/** cookie-session makes it an accessor, which a plain assignment would not replace. */
function setSession(req: Request, value: unknown): void {
  Object.defineProperty(req, 'session', { value, configurable: true, enumerable: true, writable: true })
}

/** If the proxy does not report TLS, the Secure cookie is not sent and the sign-in would repeat forever. */
function assertSecure(req: Request): void {
  if (req.session.cookie.secure !== true || req.secure) return
  if (req.get('x-forwarded-proto')?.split(',')[0]?.trim().toLowerCase() === 'https') return
  throw new PortalSsoError(
    'insecure_connection',
    'the request came without TLS and the proxy sends no `X-Forwarded-Proto: https`, so the session cookie cannot be set',
  )
}

function missingSession(req: Request): Error {
  // express-session skips requests whose target is not below `/`, such as `OPTIONS *`. No route of ours is there either.
  return req.originalUrl.startsWith('/')
    ? new ConfigurationError('mount `app.use(sso.session())`, or your own express-session, before this route')
    : new PortalSsoError('request_invalid', 'the target of the request is not a path')
}
