import { promisify } from 'node:util'
import type { Request, RequestHandler, Response } from 'express'
import type { PassportStatic } from 'passport'
import { Strategy } from 'passport-strategy'
import { ConfigurationError, PortalSsoError } from '../shared/errors.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import { isActive, type User, type UserCache } from '../users/user-directory.ts'
import { asyncHandler } from '../web/handler.ts'
import type { PortalResolver } from '../web/request.ts'
import type { Ended, EndSessions, SessionStores } from './end-sessions.ts'
import {
  clearSignInSession,
  type LocationResolver,
  type NewSignIn,
  readSignInSession,
  type SignedInVia,
  type SignInSession,
  signedInViaOf,
} from './session-data.ts'
import type { LimitsOf } from './session-limits.ts'
import { createSessionRow, trackHostSessionChanges } from './session-row.ts'
import type { SessionValidity } from './session-validity.ts'
import type { SessionsTable } from './sessions-table.ts'

/** Passport's own would wipe out what a host's Passport keeps under the same key; this one leaves foreign values alone. */
export class PortalSessionStrategy extends Strategy {
  private readonly userOf: (req: Request) => Promise<User | undefined>

  constructor(userOf: (req: Request) => Promise<User | undefined>) {
    super()
    this.userOf = userOf
  }

  override authenticate(req: Request): void {
    const ours = readSignInSession(req) !== undefined
    this.userOf(req)
      .then((user) => {
        // A host's own deserializer may have put somebody there whom we refuse.
        if (ours) req.user = user
        this.pass()
      })
      // Also hears what is thrown further down the road: nothing may become a rejection that nobody hears.
      .catch((error: unknown) => this.error(error as Error))
  }
}

/** When and how the person of a session showed who they are. */
export interface Authentication {
  /** milliseconds since 1970; `undefined`: the provider did not say */
  at: number | undefined
  /** Authentication Context Class Reference, as the provider said it */
  acr: string | undefined
}

/** What signing out needs to know of the session that ended. */
export interface EndedSession {
  /** which may be another one than the request's */
  portal: string
  userId: string
  signedInVia: SignedInVia | undefined
}

export interface PortalSessions {
  /** Puts the signed-in user into `req.user`; harmless when done twice. */
  readonly identify: RequestHandler
  /** Once more, for who took their time to send what they post: the session may have ended meanwhile, or its user be switched off. */
  readonly revalidate: RequestHandler
  /** The only place where somebody becomes signed in. */
  start(req: Request, signIn: NewSignIn): Promise<void>
  end(req: Request): Promise<EndedSession | undefined>
  /** of the session that runs */
  signedInVia(req: Request): SignedInVia | undefined
  /** of the session that runs */
  authentication(req: Request): Authentication | undefined
}

/** milliseconds that signing out waits for the index */
const patience = 1000

export interface PortalSessionsParts {
  passport: InstanceType<PassportStatic['Passport']>
  endSessions: EndSessions
  index: SessionsTable
  /** whether it asks to be signed out, for which nobody has to be known */
  isSignOut: (req: Request) => boolean
  sessionStores: SessionStores
  userCache: UserCache
  limitsOf: LimitsOf
  locationOf: LocationResolver
  portalOf: PortalResolver
  sessionValidity: SessionValidity
}

export function createPortalSessions(parts: PortalSessionsParts): PortalSessions {
  const { passport, endSessions, index, sessionStores, userCache } = parts
  const { isSignOut, limitsOf, locationOf, portalOf, sessionValidity } = parts
  const signIns = new WeakMap<Request, NewSignIn>()
  const identified = new WeakSet<Request>()
  const { rememberRequestSession, enter, leave } = createSessionRow({
    index,
    endQuietly,
    limitsOf,
    patience,
    locationOf,
    portalOf,
    sessionValidity,
  })

  // Also runs when the host calls `req.login(user)` itself, as a classic login kept for the operator does; at that moment the
  // session has its new id.
  passport.serializeUser(
    (req: Request, user: Express.User, done: (error: unknown, value?: SignInSession) => void) => {
      enter(req, String((user as User).id), signIns.get(req)).then(
        (signedIn) => done(null, signedIn),
        (error: unknown) => done(error),
      )
    },
  )

  /** The user of this request's session, or nobody: wrong portal, too old, ended, gone, or switched off. */
  async function userOf(req: Request): Promise<User | undefined> {
    const signedIn = readSignInSession(req)
    if (!signedIn || signedIn.portal !== portalOf(req)) return undefined
    const { portal, since, userId } = signedIn
    const isValid =
      Date.now() - since < limitsOf(portal).absolute && (await sessionValidity.isValid(req, portal))
    const user = isValid ? await userCache.findById(userId, portal) : undefined
    if (user && isActive(user)) {
      rememberRequestSession(req, signedIn)
      return user
    }
    await discardSession(req)
    return undefined
  }

  async function isStillValid({ sessionID }: Request, { portal, userId }: SignInSession): Promise<boolean> {
    if (!(await sessionValidity.isRunning(sessionID))) return false
    const user = await userCache.findById(userId, portal)
    return user !== undefined && isActive(user)
  }

  /** With all that the host kept in it: whoever holds the cookie of a session that is over is to find nothing there. */
  async function discardSession(req: Request): Promise<void> {
    clearSignInSession(req)
    await endQuietly(req.sessionID)
    await promisify(req.session.regenerate.bind(req.session))()
  }

  /** Over is over, also while the database is away: a row that outlives its session opens nothing. */
  async function endQuietly(sessionId: string): Promise<Ended | undefined> {
    return await withTimeout(patience, endSessions({ sessionId })).catch(() => undefined)
  }

  /** Whoever wants to leave must not have to wait for the database: the next person at a shared machine does not. */
  async function userUnlessSigningOut(req: Request): Promise<User | undefined> {
    return await userOf(req).catch((error: unknown) => {
      if (isSignOut(req)) return undefined
      throw error
    })
  }

  passport.use('session', new PortalSessionStrategy(userUnlessSigningOut))
  const restore = passport.authenticate('session') as RequestHandler
  const initialize = passport.initialize({ compat: false })

  /** `req.login` and `req.logout` go through our Passport, though a host's may have put its own on the request meanwhile. */
  function bind(req: Request): void {
    initialize(req, req.res as Response, () => {})
  }

  return {
    identify(req, res, next) {
      if (identified.has(req)) return next()
      identified.add(req)
      if (!req.session)
        return next(
          new ConfigurationError(
            'mount `app.use(sso.session())`, or express-session of your own, before this route',
          ),
        )
      if (req.sessionStore) sessionStores.note(req.sessionStore)
      if (readSignInSession(req))
        trackHostSessionChanges(req, (id, way) => (way === 'destroy' ? endQuietly(id) : leave(req, id)))
      restore(req, res, next)
    },

    revalidate: asyncHandler(async (req, _res, next) => {
      const signedIn = readSignInSession(req)
      // Nobody is kept from signing out because it cannot be asked; what else is posted needs the same database.
      if (req.user && signedIn && !(await isStillValid(req, signedIn).catch(() => true))) {
        req.user = undefined
        await discardSession(req)
      }
      next()
    }),

    async start(req, signIn) {
      refuseInsecure(req)
      signIns.set(req, signIn)
      bind(req)
      const before = readSignInSession(req)
      // Who shows anew who they are goes on with what the portal keeps for them; nobody else's goes along.
      const keepSessionInfo = before !== undefined && isOf(req.user, signIn.user)
      try {
        // Passport makes a new session id: who planted the old one into this browser is left with nothing (session fixation), and
        // who signs in again leaves no session behind.
        await promisify<void>((done) => req.login(signIn.user, { session: true, keepSessionInfo }, done))()
      } catch (error) {
        // A write to the store that was given up on may still land, so what is written last, at the end of this answer, has to
        // name nobody.
        clearSignInSession(req)
        await endQuietly(req.sessionID)
        await promisify(req.logout.bind(req))().catch(() => {})
        throw error
      }
      userCache.forget(signIn.user.id, signIn.provider.portal)
    },

    async end(req) {
      const signedIn = readSignInSession(req)
      const { sessionID } = req
      bind(req)
      if (signedIn) await endQuietly(sessionID)
      await promisify(req.logout.bind(req))()
      return (
        signedIn && { portal: signedIn.portal, userId: signedIn.userId, signedInVia: signedInViaOf(signedIn) }
      )
    },

    signedInVia: (req) => signedInViaOf(readSignInSession(req)),
    authentication(req) {
      const signedIn = readSignInSession(req)
      return signedIn && { at: signedIn.authenticatedAt, acr: signedIn.acr }
    },
  }
}

function isOf(now: Express.User | undefined, user: User): boolean {
  return now !== undefined && String((now as User).id) === String(user.id)
}

// Behind a proxy that does not say it spoke TLS the Secure cookie is not sent, and the person goes round in circles.
function refuseInsecure(req: Request): void {
  if (req.session.cookie.secure !== true || req.secure) return
  if (req.get('x-forwarded-proto')?.split(',')[0]?.trim() === 'https') return
  throw new PortalSsoError(
    'insecure_connection',
    'the request came without TLS and the proxy sends no `X-Forwarded-Proto: https`, so the session cookie cannot be set',
  )
}
