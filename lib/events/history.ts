import type { EventKind } from './event.ts'

/** An event as it was written down. */
export interface StoredEvent {
  id: string
  at: string
  kind: EventKind
  portal: string
  userId: string | undefined
  provider: string | undefined
  reference: string | undefined
  by: string | undefined
  clientAddress: string | undefined
  detail: Readonly<Record<string, unknown>>
}

export interface EventFilter {
  kind?: EventKind | undefined
  provider?: string | undefined
  userId?: string | undefined
  reference?: string | undefined
  /** moments, ISO 8601; `from` included, `to` not */
  from?: string | undefined
  to?: string | undefined
  /** what `next` of the page before said */
  before?: string | undefined
  /** default 50, at most 1000 */
  most?: number | undefined
}

export interface Activity {
  lastSignInAt: string | undefined
  /** in the last 30 days */
  signIns: number
  /** newest refusal since then for which an administrator has to consent at the provider first */
  consentMissingAt: string | undefined
}

export interface History {
  /** newest first */
  list(filter?: EventFilter, portal?: string): Promise<{ events: StoredEvent[]; next: string | undefined }>
  /** of each provider, by slug */
  activity(portal?: string): Promise<Map<string, Activity>>
}

export function createHistory(_parts: object): History {
  const missing = () => Promise.reject(new Error('under construction'))
  return { list: missing, activity: missing }
}
