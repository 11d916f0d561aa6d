import { promisify } from 'node:util'
import type { Request, RequestHandler, Response } from 'express'
import type { PassportStatic } from 'passport'
import { Strategy } from 'passport-strategy'
import { ConfigurationError, PortalSsoError } from '../errors.ts'
import type { Provider } from '../providers/provider.ts'
import { isActive, type User, type UserDirectory } from '../users/user-directory.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { within } from '../within.ts'
import type { KnownStore } from './known-store.ts'
import type { SessionIndex } from './session-index.ts'

/** How somebody came in; what the session needs to know of it later. */
export interface SignIn {
  user: User
  provider: Provider
  issuer: string
  subject: string
  /** the `sid` claim */
  providerSession?: string | undefined
  /** the ID token, for the provider's logout and nothing else */
  logoutHint?: string | undefined
}

/** What stands in the session, under Passport's own key. */
interface SignedIn {
  /** tells our value from that of a host's own Passport */
  portalSso: 1
  portal: string
  userId: string
  /** milliseconds since 1970 */
  since: number
  /** slug; absent when the host signed the person in by `req.login` */
  provider?: string
  /** of that provider at that time: whose the hint is */
  issuer?: string
  logoutHint?: string
}

/** What signing out needs to know of the session that ended. */
export interface EndedSession {
  userId: string
  cameBy: CameBy | undefined
}

/** The provider that somebody came in by. */
export interface CameBy {
  /** slug */
  provider: string
  issuer: string
  /** the ID token; for this issuer only */
  logoutHint: string | undefined
}

export interface PortalSessions {
  /** Puts the signed-in user into `req.user`; harmless when done twice. */
  readonly identify: RequestHandler
  /** The only place where somebody becomes signed in. */
  start(req: Request, signIn: SignIn): Promise<void>
  end(req: Request): Promise<EndedSession | undefined>
  /** of the session that runs */
  cameBy(req: Request): CameBy | undefined
}

/** milliseconds that signing out waits for the index */
const patience = 1000

export interface PortalSessionsOptions {
  passport: InstanceType<PassportStatic['Passport']>
  users: UserDirectory
  index: SessionIndex
  knownStore: KnownStore
  portalOf: PortalOf
  /** hours */
  absoluteHours: number
}

export function createPortalSessions({
  passport,
  users,
  index,
  knownStore,
  portalOf,
  absoluteHours,
}: PortalSessionsOptions): PortalSessions {
  const absolute = absoluteHours * 3_600_000
  const signIns = new WeakMap<Request, SignIn>()
  const identified = new WeakSet<Request>()

  // Also runs when the host calls `req.login(user)` itself, as a classic login kept for the operator does.
  passport.serializeUser(
    (req: Request, user: Express.User, done: (error: unknown, value?: SignedIn) => void) => {
      const signIn = signIns.get(req)
      done(null, {
        portalSso: 1,
        portal: portalOf(req),
        userId: String((user as User).id),
        since: Date.now(),
        ...(signIn && { provider: signIn.provider.slug, issuer: signIn.issuer }),
        ...(signIn?.logoutHint && { logoutHint: signIn.logoutHint }),
      })
    },
  )

  /** The user of this request's session, or nobody: wrong portal, too old, gone, or switched off. */
  async function userOf(req: Request): Promise<User | undefined> {
    const signedIn = signedInOf(req)
    if (!signedIn || signedIn.portal !== portalOf(req)) return undefined
    const user =
      Date.now() - signedIn.since < absolute
        ? await users.findById(signedIn.userId, signedIn.portal)
        : undefined
    if (user && isActive(user)) return user
    forget(req)
    return undefined
  }

  /** Who signs in again in one browser leaves no session behind in the index. */
  async function forgetIndexed(req: Request): Promise<void> {
    if (signedInOf(req)) await index.remove(req.sessionID)
  }

  passport.use('session', new PortalSessionStrategy(userOf))
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
      knownStore.note(req)
      restore(req, res, next)
    },

    async start(req, signIn) {
      refuseInsecure(req)
      signIns.set(req, signIn)
      bind(req)
      await forgetIndexed(req)
      const { user, provider, issuer, subject, providerSession } = signIn
      try {
        // Passport makes a new session id: who planted the old one into this browser is left with nothing (session fixation).
        await promisify<Express.User, void>(req.login.bind(req))(user)
        await index.add({
          sessionId: req.sessionID,
          portal: provider.portal,
          userId: user.id,
          providerId: provider.id,
          issuer,
          subject,
          providerSession,
          expiresAt: new Date(Date.now() + absolute),
        })
      } catch (error) {
        // A session that nobody could find again to end it must not be; and a write to the store that was given up on may
        // still land, so what is written last, at the end of this answer, has to name nobody.
        forget(req)
        await promisify(req.logout.bind(req))().catch(() => {})
        throw error
      }
    },

    async end(req) {
      const signedIn = signedInOf(req)
      const { sessionID } = req
      bind(req)
      await promisify(req.logout.bind(req))()
      if (!signedIn) return undefined
      // Signed out is signed out, also while the database is away: a row that outlives its session opens nothing.
      await within(patience, index.remove(sessionID)).catch(() => {})
      return { userId: signedIn.userId, cameBy: cameByOf(signedIn) }
    },

    cameBy: (req) => cameByOf(signedInOf(req)),
  }
}

/** Passport's own would wipe out what a host's Passport keeps under the same key; this one leaves foreign values alone. */
class PortalSessionStrategy extends Strategy {
  private readonly userOf: (req: Request) => Promise<User | undefined>

  constructor(userOf: (req: Request) => Promise<User | undefined>) {
    super()
    this.userOf = userOf
  }

  override authenticate(req: Request): void {
    const ours = signedInOf(req) !== undefined
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

type PassportSession = { passport?: { user?: unknown } }

function signedInOf(req: Request): SignedIn | undefined {
  const value = (req.session as PassportSession).passport?.user
  return typeof value === 'object' && value !== null && 'portalSso' in value ? (value as SignedIn) : undefined
}

function cameByOf(signedIn: SignedIn | undefined): CameBy | undefined {
  const { provider, issuer, logoutHint } = signedIn ?? {}
  return provider !== undefined && issuer !== undefined ? { provider, issuer, logoutHint } : undefined
}

function forget(req: Request): void {
  const { passport } = req.session as PassportSession
  if (passport) delete passport.user
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
