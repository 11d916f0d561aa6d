import type { SessionData } from 'express-session'
import { HOUR, MINUTE } from '../shared/time.ts'
import type { Clock } from '../web/core.ts'
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
  readonly #common: LimitsMs
  readonly #clock: Pick<Clock, 'now'>
  readonly #byPortal = new Map<string | undefined, LimitsMs>()

  constructor(
    common: SessionLimits,
    portals: Readonly<Record<string, PartialLimits>>,
    clock: Pick<Clock, 'now'>,
  ) {
    this.#clock = clock
    const { idleMinutes, absoluteHours } = common
    this.#common = inMilliseconds(idleMinutes, absoluteHours)
    for (const [portal, own] of Object.entries(portals))
      this.#byPortal.set(
        portal,
        inMilliseconds(own.idleMinutes ?? idleMinutes, own.absoluteHours ?? absoluteHours),
      )
    const all = [this.#common, ...this.#byPortal.values()]
    this.longestMs = Math.max(...all.map(({ absoluteMs }) => absoluteMs))
  }

  /** @param portal `undefined`: of a visitor who has not signed in */
  of(portal: string | undefined): LimitsMs {
    return this.#byPortal.get(portal) ?? this.#common
  }

  /** How long a session stays in its store without a request: the idle time, but never beyond the absolute limit. */
  storeTtl(session: SessionData): { ttlMs: number; renewAfterMs: number } {
    const signInSession = readSignInSession(session)
    const { idleMs, absoluteMs, renewAfterMs } = this.of(signInSession?.portal)
    const remainingMs = signInSession ? signInSession.since + absoluteMs - this.#clock.now() : idleMs
    return { ttlMs: Math.min(idleMs, remainingMs), renewAfterMs }
  }
}

function inMilliseconds(idleMinutes: number, absoluteHours: number): LimitsMs {
  const idleMs = idleMinutes * MINUTE
  return { idleMs, absoluteMs: absoluteHours * HOUR, renewAfterMs: idleMs / 10 }
}
