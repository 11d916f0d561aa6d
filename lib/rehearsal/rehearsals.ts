import type { Request, Response } from 'express'
import type { How } from '../providers/how.ts'
import type { Provider } from '../providers/provider.ts'

/** A sign-in for real that ends in a report: no session, no account. */
export interface Rehearsals {
  /** For a page: sends this browser to the provider. */
  begin(req: Request, res: Response, rehearsal: { provider: Provider; by: string }): Promise<void>
  /** For a terminal: an address, good once and for 15 minutes, that an administrator opens in a browser. */
  link(slug: string, how?: How): Promise<{ url: string; ticket: string; expiresAt: Date }>
  /** What has become of it. */
  outcome(ticket: string): Promise<'waiting' | 'passed' | 'failed' | 'expired'>
}

export function createRehearsals(_parts: object): Rehearsals {
  const missing = () => Promise.reject(new Error('under construction'))
  return { begin: missing, link: missing, outcome: missing }
}
