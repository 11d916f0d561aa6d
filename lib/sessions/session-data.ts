import bowser from 'bowser'
import type { Request } from 'express'
import type { Provider } from '../providers/provider.ts'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import type { User } from '../users/user-directory.ts'

/** What a person recognises a browser by. Nothing finer is kept. */
export interface Device {
  /** such as `Firefox` */
  browser: string | undefined
  /** such as `Windows` */
  os: string | undefined
}

// Longer ones are nobody's browser, and regular expressions look at it.
const maxUserAgentLength = 500

/** @param userAgent as the browser sent it, which may be anything */
export function parseUserAgent(userAgent: string | undefined): Device {
  if (!userAgent || userAgent.length > maxUserAgentLength) return { browser: undefined, os: undefined }
  const { browser, os } = bowser.parse(userAgent)
  return { browser: named(browser.name), os: named(os.name) }
}

const known = new Set<string | undefined>([
  ...Object.values(bowser.BROWSER_MAP),
  ...Object.values(bowser.OS_MAP),
])

/** Of one that it does not know the library repeats what the browser says: a stranger's text, in mails and on pages of ours. */
function named(name: string | undefined): string | undefined {
  return known.has(name) ? name : undefined
}

/** Where a request comes from, as far as that may be kept, in one line of bounded length. */
export type LocationResolver = (req: Request) => string | undefined

/** as long as the column */
const maxLocationLength = 100

/** @param place the host's function, which may say anything, or throw: nobody is kept out by that */
export function createLocationResolver(
  location: (req: Request) => unknown,
  logger: Logger,
): LocationResolver {
  const failed = (error: unknown) =>
    logger.error({ cause: describeError(error) }, 'the function `session.location` threw')
  return (req) => {
    try {
      const said = location(req)
      // Nobody waits for an async function; what it rejects with would end the process.
      if (said instanceof Promise) said.catch(failed)
      return typeof said === 'string' && said !== '' ? sanitizeText(said, maxLocationLength) : undefined
    } catch (error) {
      failed(error)
      return undefined
    }
  }
}

/** What stands in the session, under Passport's own key. */
export interface SignInSession {
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
  subject?: string
  logoutHint?: string
  /** see `Authentication` */
  authenticatedAt?: number
  acr?: string
}

/** The provider that somebody came in by. */
export interface SignedInVia {
  /** slug */
  provider: string
  issuer: string
  subject: string
  /** the ID token; for this issuer only */
  logoutHint: string | undefined
}

type PassportSession = { passport?: { user?: unknown } }

/** @returns `undefined` also for what a host's own Passport keeps there */
export function readSignInSession(req: Request): SignInSession | undefined {
  const value = (req.session as PassportSession).passport?.user
  return typeof value === 'object' && value !== null && 'portalSso' in value
    ? (value as SignInSession)
    : undefined
}

export function signedInViaOf(signedIn: SignInSession | undefined): SignedInVia | undefined {
  const { provider, issuer, subject, logoutHint } = signedIn ?? {}
  return provider !== undefined && issuer !== undefined && subject !== undefined
    ? { provider, issuer, subject, logoutHint }
    : undefined
}

export function clearSignInSession(req: Request): void {
  const { passport } = req.session as PassportSession
  if (passport) delete passport.user
}

/** How somebody came in; what the session needs to know of it later. */
export interface NewSignIn {
  user: User
  provider: Provider
  issuer: string
  subject: string
  /** the `sid` claim */
  sid?: string | undefined
  /** the ID token, for the provider's logout and nothing else */
  logoutHint?: string | undefined
  /** the `auth_time` claim, seconds since 1970 */
  authenticatedAt?: number | undefined
  /** the `acr` claim */
  acr?: string | undefined
}

/** What stands in the session of somebody who signs in now. @param signIn left out: the host signs them in */
export function newSignInSession(
  portal: string,
  userId: string,
  signIn: NewSignIn | undefined,
): SignInSession {
  const now = Date.now()
  const common = { portalSso: 1, portal, userId, since: now } as const
  // Whom the host signs in has shown it who they are. A provider that says nothing of when has not.
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
