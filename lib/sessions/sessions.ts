import { setTimeout as sleep } from 'node:timers/promises'
import { callbackify, promisify } from 'node:util'
import type { Request, RequestHandler, Response } from 'express'
import type { Store } from 'express-session'
import passport, { type LogInOptions, type Strategy } from 'passport'
import type { EventLog } from '../events/event-log.ts'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import { SECOND } from '../shared/time.ts'
import { isActive, type User, type UserCache } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { LogoutTokensTable } from './logout-tokens-table.ts'
import type { RedisLike } from './redis-client.ts'
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
import { type MarkedRequest, SessionRow } from './session-row.ts'
import {
  createCookieSession,
  createMemoryStore,
  createSessionView,
  deferSession,
  exposeSessionView,
  isBuiltInStore,
  isSessionDeferred,
  TimeLimitedRedisStore,
} from './session-store.ts'
import { SessionValidity } from './session-validity.ts'
import {
  type ListedSessions,
  type SessionEnding,
  type SessionInfo,
  type SessionMatch,
  type SessionPage,
  SessionsTable,
} from './sessions-table.ts'

/** When and how the user of a session last authenticated. */
export interface Authentication {
  /** milliseconds since 1970; `undefined` if the provider sent no `auth_time` */
  at: number | undefined
  /** Authentication Context Class Reference, as the provider sent it */
  acr: string | undefined
}

/** Passport's function that stores a user in the session that was just created. */
export type SerializeUser = (
  req: Request,
  user: Express.User,
  done: (error: Error | null, stored?: unknown) => void,
) => void

/** The data of an ended session that signing out needs. */
export interface EndedSession {
  /** may differ from the request's portal */
  portal: string
  userId: string
  signedInVia: SignedInVia | undefined
}

/** How many instances in this process have a `keyScope`. Two instances may have the same. */
const liveInstances = new Map<string, number>()
const drainTimeoutMs = 10 * SECOND
const drainPollMs = 20
const sharedSession =
  'two instances share your express-session: mount `sso.session()` of each, without `own`, before your express-session'

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
  readonly #redisStore: TimeLimitedRedisStore | undefined
  readonly #ownStores = new WeakSet<Store>()
  /** True if middleware of the host replaces `req.session`. */
  usesViews = false
  /** request → its view with our session and user */
  readonly #views = new WeakMap<Request, Request>()
  readonly #revocation: Revocation
  readonly #row: SessionRow
  readonly #signIns = new WeakMap<Request, NewSignIn>()
  /** the key of a mark on requests; a `WeakSet` of all requests costs more */
  readonly #identified = Symbol('identified')
  readonly #boundTo = Symbol('bound')
  readonly #initialize = this.passport.initialize({ compat: false })
  /** identified by cached values, because the database did not respond */
  readonly #staleRequests = new WeakSet<Request>()
  /** responses that are not finished yet */
  readonly #open = new Set<Response>()

  /** Runs with the session's new id, also when the host calls `req.login` itself, for example after a password login. */
  readonly serializeUser: SerializeUser = callbackify((req: Request, user: Express.User) =>
    this.#core.breakers.database.run(
      this.#row.attach(req, String((user as User).id), this.#signIns.get(req)),
    ),
  )

  constructor(
    core: Core,
    users: UserCache,
    events: Pick<EventLog, 'addressOf'>,
    { session, redis, secrets, linking }: SessionsSettings,
  ) {
    const { logger } = core
    const limits = new LimitsByPortal(session, session.portals, core.clock)
    const table = new SessionsTable(core, core.seal(`session-index${core.keyScope}`), limits)
    const validity = new SessionValidity(core, table, limits, session.userCacheSeconds * 1000)
    const locations = new LocationResolver(core, events, session.location)
    this.#core = core
    this.#users = users
    this.#secrets = secrets
    this.#limits = limits
    this.#validity = validity
    this.table = table
    this.locations = locations
    this.logoutTokens = new LogoutTokensTable(core)
    const revocation = new Revocation({
      breakers: core.breakers,
      logger,
      table,
      validity,
      stores: this.#stores,
    })
    this.#revocation = revocation
    const { endOtherSessions } = linking
    this.#row = new SessionRow(core, { table, validity, revocation, limits, locations, endOtherSessions })
    this.#redisStore = redis && new TimeLimitedRedisStore(redis, limits, core.prefix)
    // Sessions that this instance revokes before its first request are destroyed in Redis, too.
    if (this.#redisStore) this.#stores.set(this.#redisStore as Store, true)
    liveInstances.set(core.keyScope, (liveInstances.get(core.keyScope) ?? 0) + 1)
    this.passport.serializeUser(this.serializeUser)
  }

  /**
   * express-session with our store and cookie. Each instance in the app keeps its session on a view of the request, so that none of
   * them reads, writes or ends the session of another one.
   */
  cookieSession(): RequestHandler {
    const core = this.#core
    const store = (this.#redisStore as Store | undefined) ?? createMemoryStore(core.logger, this.#limits)
    this.#stores.set(store, true)
    this.#ownStores.add(store)
    const { longestMs: maxAgeMs } = this.#limits
    const openSession = createCookieSession(core, store, { secrets: this.#secrets, maxAgeMs })
    const cookie = `${core.cookieName()}=`
    return (req, res, next) => {
      this.#awaitClose(req, res)
      // The only instance needs no view, unless cookie-session replaces `req.session`.
      const view = !this.usesViews && liveInstances.size === 1 ? req : this.#openView(req)
      const hasSession = view !== req || isSessionDeferred(req) || req.session !== undefined
      // Without Express, such as in a WebSocket handshake, `req.res` is not set.
      // Attacker: spells the cookie differently. Such a request has no session, so it gains nothing.
      const canDefer = !hasSession && req.res === res && req.originalUrl.startsWith('/')
      if (canDefer && !req.headers.cookie?.includes(cookie)) deferSession(req, store, openSession)
      if (view && !isSessionDeferred(req)) openSession(view, res, next)
      else next()
    }
  }

  /** @returns `undefined` if the request has a session already: the host's own, or ours if the host has mounted it twice */
  #openView(req: Request): Request | undefined {
    this.activate(req)
    const isForeign = this.#isForeign(req)
    if (!isForeign && typeof req.session?.regenerate === 'function') return undefined
    const view = createSessionView(req)
    if (!isForeign) view.user = req.user
    this.#views.set(req, view)
    exposeSessionView(req, view)
    return view
  }

  /** Gives the request our session and user again, after another instance in the app or cookie-session has replaced it. */
  activate(req: Request, res = req.res as Response): void {
    const view = this.#views.get(req)
    if (!view || (req.session === view.session && !this.#isForeign(req))) return
    exposeSessionView(req, view)
    this.#bindPassport(req, res)
  }

  /** Makes `req.login` and `req.logout` use our Passport, even if the host's has replaced it on this request. */
  #bindPassport(req: Request, res: Response): void {
    this.#initialize(req, res, () => {})
  }

  /** As `#bindPassport`, but for all requests of the app at once: seven fields on each request cost as much as its routing. */
  #bindPassportToApp(req: Request, res: Response): void {
    // Express gives the requests of each app a prototype of their own. That of a mounted app is replaced after it.
    const prototype = Object.getPrototypeOf(req) as Request
    const { parent, request } = (req.app ?? {}) as { parent?: unknown; request?: unknown }
    const isOfApp = request === prototype && parent === undefined
    const isReplaced = Object.hasOwn(req, '_sessionManager') || Object.hasOwn(req, 'login')
    if (!isOfApp || isReplaced || liveInstances.size > 1 || this.usesViews) this.#bindPassport(req, res)
    else if (!(this.#boundTo in req)) {
      this.#bindPassport(prototype, res)
      ;(prototype as MarkedRequest)[this.#boundTo] = true
    }
  }

  /** Before a check that reads `req.user`, or a login. Attacker: a user of another instance, whose session would otherwise pass. */
  assertOwn(req: Request): void {
    this.activate(req)
    if (this.#isForeign(req)) throw missingSession(req)
    const own = this.#core.keyScope
    const { instance = own } = readSignInSession(req.session ?? {}) ?? {}
    if (instance !== own && liveInstances.has(instance)) throw new ConfigurationError(sharedSession)
  }

  /** Sets `req.user` to the signed-in user. A second call for the same request does nothing. */
  readonly identify: RequestHandler = (req, res, next) => {
    const isRepeated = this.#identified in req
    ;(req as MarkedRequest)[this.#identified] = true
    const isAlone = !this.usesViews && liveInstances.size === 1
    // A visitor without a session cookie.
    if (isAlone && isSessionDeferred(req)) {
      if (!isRepeated) this.#bindPassportToApp(req, res)
      return next()
    }
    if (isRepeated && isAlone && req.session) return next()
    const identified = isRepeated ? this.#identifyAgain(req) : this.#identifyFirst(req, res)
    identified.then(() => next()).catch(next)
  }

  async #identifyAgain(req: Request): Promise<void> {
    if (this.usesViews || liveInstances.size > 1) this.activate(req)
    if (!req.session) await this.#replaceNullSession(req)
  }

  async #identifyFirst(req: Request, res: Response): Promise<void> {
    const isShared = liveInstances.size > 1
    if (this.usesViews || isShared) this.activate(req)
    // Sessions of the host.
    this.#awaitClose(req, res)
    if (isShared) this.assertOwn(req)
    if (typeof req.session?.regenerate !== 'function') throw missingSession(req)
    if (req.sessionStore) this.#stores.set(req.sessionStore, true)
    this.#bindPassportToApp(req, res)
    const signInSession = readSignInSession(req.session, this.#core.keyScope)
    // Unlike Passport's own strategy, this keeps data of a host's Passport under the same key.
    if (signInSession) {
      this.#row.trackHostSessionChanges(req)
      // A host's own deserializer may have set a user whom we refuse.
      req.user = await this.#userOf(req, signInSession)
    } else if (readSignInSession(req.session)) {
      // Another copy of this package may have set the user.
      req.user = undefined
    }
  }

  /** A host signs users out of cookie-session by `req.session = null`. */
  async #replaceNullSession(req: Request): Promise<void> {
    req.user = undefined
    await this.#revocation.endQuietly(req.sessionID)
    req.sessionStore.generate(req)
  }

  /** Checks again after the body was read: a slow body could otherwise outlive its session, or its user's deactivation. */
  readonly revalidate: RequestHandler = asyncHandler(async (req, _res, next) => {
    const signInSession = readSignInSession(req.session, this.#core.keyScope)
    if (req.user && signInSession) {
      // A database error must not prevent signing out.
      const isValid = this.#isStillValid(req, signInSession).catch((error: unknown) => {
        if (!this.#isSignOut(req)) throw error
        return true
      })
      if (!(await isValid)) {
        req.user = undefined
        await this.#discardSession(req)
      }
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
    this.#bindPassport(req, res)
    // After a re-authentication the user keeps the portal's session data. Another user must not inherit it.
    const current = readSignInSession(req.session, this.#core.keyScope) && (req.user as User | undefined)
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
    const { portal, slug } = signIn.provider
    res.once('close', () => {
      if (res.writableFinished) return
      void this.#revocation.endQuietly(sessionID)
      const message = 'the connection closed before the response was sent; the new session was ended'
      this.#core.logger.warn({ portal, provider: slug }, message)
    })
  }

  /** True if `start` has started a session for this request. */
  hasStarted(req: Request): boolean {
    return this.#signIns.has(req)
  }

  /** A WebSocket handshake, with Express or without, has only a stand-in for a response, which may emit no event. */
  #awaitClose(req: Request & { upgrade?: boolean }, res: Response): void {
    const open = this.#open
    if ('app' in req && !req.upgrade && !res.closed && !open.has(res))
      open.add(res.once('close', open.delete.bind(open, res)))
  }

  /** Waits until the requests in flight have their responses, at most ten seconds: a client may never read its own. */
  async drain(): Promise<void> {
    const deadline = Date.now() + drainTimeoutMs
    while (this.#open.size > 0 && Date.now() < deadline) await sleep(drainPollMs)
  }

  /** This instance serves no request any more, so it needs no protection from others in this process. */
  close(): void {
    const { keyScope } = this.#core
    const others = (liveInstances.get(keyScope) ?? 1) - 1
    if (others > 0) liveInstances.set(keyScope, others)
    else liveInstances.delete(keyScope)
  }

  /** Signs the user of this request out here. */
  async end(req: Request): Promise<EndedSession | undefined> {
    const signInSession = readSignInSession(req.session, this.#core.keyScope)
    const { sessionID } = req
    this.#bindPassport(req, req.res as Response)
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

  /** As `endAll`, for an ending that was recorded before. */
  async finish(ending: SessionEnding): Promise<RevokedSessions> {
    return await this.#revocation.revoke(ending.match, ending)
  }

  /** Finishes what another instance began before it died. */
  async finishAbandonedEndings(): Promise<void> {
    await this.#revocation.finishAbandoned()
  }

  /** @throws PortalSsoError `not_signed_in` without a signed-in user */
  markAuthenticated(req: Request): void {
    const signInSession = req.user && readSignInSession(req.session, this.#core.keyScope)
    if (!signInSession) throw new PortalSsoError('not_signed_in', 'the request has no signed-in user')
    signInSession.authenticatedAt = this.#core.clock.now()
    // The provider's `acr` describes an older authentication.
    delete signInSession.acr
  }

  /**
   * Not an authentication: no guard counts it. Attacker: holds a copy of the cookie, and waits until the user confirms. So the
   * session gets a new id, as in a re-authentication, and the copy becomes worthless.
   */
  async confirm(req: Request): Promise<void> {
    this.#bindPassport(req, req.res as Response)
    const login = promisify<User, LogInOptions>(req.login.bind(req))
    await login(req.user as User, { session: true, keepSessionInfo: true })
    const signInSession = readSignInSession(req.session, this.#core.keyScope)
    if (signInSession) signInSession.confirmedAt = this.#core.clock.now()
  }

  /** When `confirm` was called: milliseconds since 1970. */
  confirmedAt(req: Request): number | undefined {
    return readSignInSession(req.session, this.#core.keyScope)?.confirmedAt
  }

  /** The provider that started this request's session. */
  signedInVia(req: Request): SignedInVia | undefined {
    return signedInViaOf(readSignInSession(req.session, this.#core.keyScope))
  }

  /** Valid sessions, newest first, without those that Redis has evicted or lost. While Redis is down, with them. */
  async list(match: SessionMatch, limit?: number): Promise<SessionInfo[]> {
    return await this.table.list(match, limit, this.#findMissing())
  }

  /** One page of `list`. */
  async page(
    match: ListedSessions,
    page: SessionPage,
  ): Promise<{ sessions: SessionInfo[]; next: string | undefined }> {
    return await this.table.page(match, page, this.#findMissing())
  }

  #findMissing() {
    const store = this.#redisStore
    // A host's own store may hold the others.
    const isOnlyStore = [...this.#stores.keys()].every((each) => each === (store as Store | undefined))
    return store && isOnlyStore ? async (ids: string[]) => await store.findMissing(ids) : undefined
  }

  authentication(req: Request): Authentication | undefined {
    const signInSession = readSignInSession(req.session, this.#core.keyScope)
    return signInSession && { at: signInSession.authenticatedAt, acr: signInSession.acr }
  }

  /** @returns `undefined` if the session is of another portal, expired or revoked, or its user is deleted or inactive */
  async #userOf(req: Request, signInSession: SignInSession): Promise<User | undefined> {
    const { portal, since, userId } = signInSession
    try {
      if (portal !== this.#core.portalOf(req)) return undefined
      const onStale = () => void this.#staleRequests.add(req)
      const ageMs = this.#core.clock.now() - since
      const isValid =
        ageMs < this.#limits.of(portal).absoluteMs && (await this.#validity.isValid(req, portal, onStale))
      // A host's own store may still have a session whose user was deactivated.
      const onStaleUser = isBuiltInStore(req.sessionStore) ? onStale : undefined
      const user = isValid ? await this.#users.findById(userId, portal, onStaleUser) : undefined
      if (user && isActive(user)) {
        this.#row.rememberRequestSession(req, signInSession)
        return user
      }
      // An expired session stays until the maintenance deletes it by the database's time: our clock may be wrong.
      const exists = () => this.table.exists(req.sessionID)
      if (isValid || !(await this.#core.breakers.database.run(exists))) await this.#discardSession(req)
      else req.sessionStore.generate(req)
    } catch (error) {
      // Signing out must work while the database is down, or the next person at a shared computer would be signed in.
      if (!this.#isSignOut(req)) throw error
    }
    return undefined
  }

  #isSignOut({ method, originalUrl }: Request): boolean {
    return method === 'POST' && originalUrl.split('?')[0] === this.#core.urls.path('/logout')
  }

  /**
   * Before what a revoked session must not do even once: re-authentication, account and admin pages. Attacker: slows the database
   * down, so that their session continues.
   */
  assertFresh(req: Request): void {
    if (this.#staleRequests.has(req))
      throw new PortalSsoError('database_unavailable', 'the session could not be checked')
  }

  /** True if the request shows the session of another instance. */
  #isForeign({ sessionStore }: Request): boolean {
    return isBuiltInStore(sessionStore) && !this.#ownStores.has(sessionStore)
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
  const isOurKey = (this as { _key?: string })._key === 'passport'
  if (!req.session || (isOurKey && readSignInSession(req.session))) this.pass()
  else authenticate.call(this as never, req, options)
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
