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
