import type { SessionData } from 'express-session'
import { readSignInSession } from './session-data.ts'

/** How long a session lasts. */
export interface SessionLimits {
  /**
   * Minutes without a request after which a session expires: up to 1440, default 30. A session is renewed once a tenth of that
   * time has passed, so it expires after 0.9 to 1 of it.
   */
  idleMinutes: number
  /** Hours after which a session expires, even if it is used: up to 720, default 12. */
  absoluteHours: number
}

/** Session limits of one portal. An omitted limit is that of all portals. */
export type PartialLimits = { [name in keyof SessionLimits]?: number | undefined }

/** The limits of one portal's sessions. */
export interface LimitsMs {
  idleMs: number
  absoluteMs: number
  /** a request renews a session that was last renewed longer ago than this */
  renewAfterMs: number
}

/** The session limits of every portal. */
export class LimitsByPortal {
  /** no session of any portal lasts longer */
  readonly longestMs: number
  readonly #common: SessionLimits
  readonly #portals: Readonly<Record<string, PartialLimits>>

  constructor(common: SessionLimits, portals: Readonly<Record<string, PartialLimits>>) {
    this.#common = common
    this.#portals = portals
    const hours = Object.values(portals).map(({ absoluteHours }) => absoluteHours ?? common.absoluteHours)
    this.longestMs = Math.max(common.absoluteHours, ...hours) * 3_600_000
  }

  /** @param portal `undefined`: of a visitor who has not signed in */
  of(portal: string | undefined): LimitsMs {
    const own =
      portal !== undefined && Object.hasOwn(this.#portals, portal) ? this.#portals[portal] : undefined
    const idleMs = (own?.idleMinutes ?? this.#common.idleMinutes) * 60_000
    const absoluteMs = (own?.absoluteHours ?? this.#common.absoluteHours) * 3_600_000
    return { idleMs, absoluteMs, renewAfterMs: idleMs / 10 }
  }

  /** How long a session stays in its store without a request: the idle time, but never beyond the absolute limit. */
  storeTtl(session: SessionData): { ttlMs: number; renewAfterMs: number } {
    const signInSession = readSignInSession(session)
    const { idleMs, absoluteMs, renewAfterMs } = this.of(signInSession?.portal)
    const remainingMs = signInSession ? signInSession.since + absoluteMs - Date.now() : idleMs
    return { ttlMs: Math.min(idleMs, remainingMs), renewAfterMs }
  }
}
