import type { Request } from 'express'

/** What stands in the session, under Passport's own key. */
export interface SignedIn {
  /** tells our value from that of a host's own Passport */
  portalSso: 1
  portal: string
  userId: string
  /** milliseconds since 1970 */
  since: number
  /** slug; absent when the host signed the person in by `req.login` */
  provider?: string
  providerId?: string
  /** of that provider at that time: whose the hint is */
  issuer?: string
  subject?: string
  /** the `sid` claim */
  providerSession?: string
  logoutHint?: string
  /** see `Authentication` */
  authenticatedAt?: number
  acr?: string
}

/** The provider that somebody came in by. */
export interface CameBy {
  /** slug */
  provider: string
  issuer: string
  subject: string
  /** the ID token; for this issuer only */
  logoutHint: string | undefined
}

type PassportSession = { passport?: { user?: unknown } }

/** @returns `undefined` also for what a host's own Passport keeps there */
export function signedInOf(req: Request): SignedIn | undefined {
  const value = (req.session as PassportSession).passport?.user
  return typeof value === 'object' && value !== null && 'portalSso' in value ? (value as SignedIn) : undefined
}

export function cameByOf(signedIn: SignedIn | undefined): CameBy | undefined {
  const { provider, issuer, subject, logoutHint } = signedIn ?? {}
  return provider !== undefined && issuer !== undefined && subject !== undefined
    ? { provider, issuer, subject, logoutHint }
    : undefined
}

export function clearSignedIn(req: Request): void {
  const { passport } = req.session as PassportSession
  if (passport) delete passport.user
}
