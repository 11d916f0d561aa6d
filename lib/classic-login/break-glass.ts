import type { How } from '../providers/how.ts'

/** The way in when every provider fails: opens the classic login to one browser, once, for a while, and loudly. */
export interface BreakGlass {
  /** An address that is good once and for 15 minutes. */
  link(how?: How): Promise<{ url: string; expiresAt: Date }>
}

export function createBreakGlass(_parts: object): BreakGlass {
  return { link: () => Promise.reject(new Error('under construction')) }
}
