import type { How } from '../providers/how.ts'

/** Taking a provider away without locking anybody out. */
export interface Retirement {
  /** How many people have signed in with it, and for how many of them no other enabled provider is linked. */
  whoDependsOn(slug: string, portal?: string): Promise<{ people: number; onlyWayIn: number }>
  /** From `at` on it is disabled and its sessions end; until then the login page says so. */
  retire(slug: string, at: Date, how?: How): Promise<void>
  /** Takes that back, as long as the day has not come. */
  keep(slug: string, how?: How): Promise<void>
  /** Brings a removed one back, disabled. @throws ConfigurationError when it is forgotten already, or its slug is taken */
  restore(slug: string, how?: How): Promise<void>
  /** What was removed and can be restored. */
  removed(portal?: string): Promise<{ slug: string; displayName: string; removedAt: string }[]>
}

export function createRetirement(_parts: object): Retirement {
  const missing = () => Promise.reject(new Error('under construction'))
  return { whoDependsOn: missing, retire: missing, keep: missing, restore: missing, removed: missing }
}
