import type { SessionData } from 'express-session'

/** How long a session lasts. */
export interface SessionLimits {
  /** minutes without a request after which a session ends; default 30. It is renewed when a tenth of it has passed, so it ends after 0.9 to 1 of it */
  idleMinutes: number
  /** hours after which a session ends whatever happens; default 12 */
  absoluteHours: number
}

/** What is left out is as for all portals. */
export type PartialLimits = { [name in keyof SessionLimits]?: number | undefined }

/** In milliseconds. */
export interface Limits {
  idle: number
  absolute: number
  /** a session that was seen longer ago than this is renewed by the next request */
  renew: number
}

/** @param portal `undefined`: of nobody yet */
export type LimitsOf = (portal: string | undefined) => Limits

export function createLimitsOf(
  limits: SessionLimits,
  portals: Readonly<Record<string, PartialLimits>>,
): LimitsOf {
  return (portal) => {
    const own = portal !== undefined && Object.hasOwn(portals, portal) ? portals[portal] : undefined
    const idle = (own?.idleMinutes ?? limits.idleMinutes) * 60_000
    return { idle, absolute: (own?.absoluteHours ?? limits.absoluteHours) * 3_600_000, renew: idle / 10 }
  }
}

/** @returns milliseconds; no session of any portal lasts longer */
export function longestOf(limits: SessionLimits, portals: Readonly<Record<string, PartialLimits>>): number {
  const all = Object.values(portals).map(({ absoluteHours }) => absoluteHours ?? limits.absoluteHours)
  return Math.max(limits.absoluteHours, ...all) * 3_600_000
}

/** How long a session stays in its store without a request, and how long that may go unwritten; both in milliseconds. */
export interface TimeLeft {
  /** the idle time of the session's portal, and never beyond its absolute one; 0 or less: it is over */
  left: number
  renew: number
}

export type TimeLeftOf = (session: SessionData) => TimeLeft

/** Read here only as far as a store needs it; what else stands in a session is `portal-session.ts`'s. */
type Signed = { passport?: { user?: { portalSso?: unknown; portal?: string; since?: number } | null } }

export function createTimeLeftOf(limitsOf: LimitsOf): TimeLeftOf {
  return (session) => {
    const user = (session as Signed).passport?.user
    // A visitor's, or that of a host's own Passport: nobody of ours is signed in.
    if (!user?.portalSso) {
      const { idle, renew } = limitsOf(undefined)
      return { left: idle, renew }
    }
    const { portal, since = 0 } = user
    const { idle, absolute, renew } = limitsOf(portal)
    return { left: Math.min(idle, since + absolute - Date.now()), renew }
  }
}
