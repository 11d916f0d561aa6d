import bowser from 'bowser'
import type { Request } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import type { User } from '../users/user-directory.ts'

/** Names by which users recognize their sessions. No further details of a browser are stored. */
export interface Device {
  /** Such as `Firefox`. `undefined` if unknown. */
  browser: string | undefined
  /** Such as `Windows`. `undefined` if unknown. */
  os: string | undefined
}

/** No browser sends more, and regular expressions run over it. */
const maxUserAgentLength = 500

/** @param userAgent untrusted header value */
export function parseUserAgent(userAgent: string | undefined): Device {
  if (!userAgent || userAgent.length > maxUserAgentLength) return { browser: undefined, os: undefined }
  const { browser, os } = bowser.parse(userAgent)
  return { browser: ifKnown(browser.name), os: ifKnown(os.name) }
}

const knownNames = new Set<string | undefined>([
  ...Object.values(bowser.BROWSER_MAP),
  ...Object.values(bowser.OS_MAP),
])

/** For unknown browsers the library returns the header's own text, which an attacker could place in our mails and pages. */
function ifKnown(name: string | undefined): string | undefined {
  return knownNames.has(name) ? name : undefined
}

/** as long as the column */
const maxLocationLength = 100

/** Finds the location of a request for the list of sessions: what the host's `session.location` returns, or the client address. */
export class LocationResolver {
  readonly #logger: Logger
  readonly #events: Pick<EventLog, 'addressOf'>
  readonly #location: ((req: Request) => unknown) | undefined

  /** @param location a host function, which may return anything or throw; neither must prevent a sign-in */
  constructor(
    core: { logger: Logger },
    events: Pick<EventLog, 'addressOf'>,
    location: ((req: Request) => unknown) | undefined,
  ) {
    this.#logger = core.logger
    this.#events = events
    this.#location = location
  }

  /** @returns one line of at most 100 characters */
  locationOf(req: Request): string | undefined {
    try {
      const location: unknown = this.#location ? this.#location(req) : this.#events.addressOf(req.ip)
      // The promise of an async function is not awaited; an unhandled rejection would end the process.
      if (location instanceof Promise) location.catch((error: unknown) => this.#logFailure(error))
      return typeof location === 'string' && location !== ''
        ? sanitizeText(location, maxLocationLength)
        : undefined
    } catch (error) {
      this.#logFailure(error)
      return undefined
    }
  }

  #logFailure(error: unknown): void {
    this.#logger.error({ cause: describeError(error) }, 'the function `session.location` threw')
  }
}

/** Our data in the session, under Passport's own key. */
export interface SignInSession {
  /** distinguishes our value from that of a host's own Passport */
  portalSso: 1
  /** `keyScope` of the instance that started it; older versions leave it out */
  instance?: string
  portal: string
  userId: string
  /** milliseconds since 1970 */
  since: number
  /** slug; absent when the host signed the user in by `req.login` */
  provider?: string
  /** the issuer at that time: `logoutHint` is sent only to it */
  issuer?: string
  subject?: string
  logoutHint?: string
  /** see `Authentication` */
  authenticatedAt?: number
  acr?: string
  /** when a code by mail proved who the user is, for the account page only; milliseconds since 1970 */
  confirmedAt?: number
}

/** The provider's part of a sign-in. */
export interface SignedInVia {
  /** slug */
  provider: string
  issuer: string
  subject: string
  /** the ID token; for this issuer only */
  logoutHint: string | undefined
}

type PassportSession = { passport?: { user?: unknown } }

/**
 * @param instance `keyScope` of the instance that reads it; omitted for the session of any instance
 * @returns `undefined` also for data of a host's own Passport, and of another instance that shares the host's session
 */
export function readSignInSession(session: object, instance?: string): SignInSession | undefined {
  const value = (session as PassportSession).passport?.user
  if (typeof value !== 'object' || value === null || !('portalSso' in value)) return undefined
  const signInSession = value as SignInSession
  const { instance: owner = instance } = signInSession
  return instance === undefined || owner === instance ? signInSession : undefined
}

export function signedInViaOf(signInSession: SignInSession | undefined): SignedInVia | undefined {
  const { provider, issuer, subject, logoutHint } = signInSession ?? {}
  return provider !== undefined && issuer !== undefined && subject !== undefined
    ? { provider, issuer, subject, logoutHint }
    : undefined
}

export function clearSignInSession(req: Request): void {
  const { passport } = req.session as PassportSession
  if (passport) delete passport.user
}

/** A sign-in with a provider, as far as the session needs it later. */
export interface NewSignIn {
  user: User
  provider: Provider
  issuer: string
  subject: string
  /** the `sid` claim */
  sid?: string | undefined
  /** the ID token, for the provider's logout only */
  logoutHint?: string | undefined
  /** the `auth_time` claim, seconds since 1970 */
  authenticatedAt?: number | undefined
  /** the `acr` claim */
  acr?: string | undefined
}

/** @param signIn omitted when the host signs the user in by `req.login` */
export function newSignInSession(
  owner: { instance: string; portal: string; userId: string },
  signIn: NewSignIn | undefined,
  now: number,
): SignInSession {
  const common = { portalSso: 1, ...owner, since: now } as const
  // The host has just authenticated the user. A provider that sends no `auth_time` gives no such guarantee.
  if (!signIn) return { ...common, authenticatedAt: now }
  const { provider, issuer, subject, logoutHint, authenticatedAt, acr } = signIn
  return {
    ...common,
    provider: provider.slug,
    issuer,
    subject,
    ...(logoutHint && { logoutHint }),
    ...(authenticatedAt !== undefined && { authenticatedAt: Math.min(authenticatedAt * 1000, now) }),
    ...(acr !== undefined && { acr }),
  }
}
