import type { SessionData } from 'express-session'
import type { LimitsOf } from './limits.ts'

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
