import type { EventFilter } from '../events/event-history.ts'
import type { EventKind } from '../events/event-types.ts'
import { type Entries, type EntryErrors, entriesOf } from './form.ts'

/** As a person says it. */
const kindLabels: Record<EventKind, string> = {
  'signed-in': 'Signed in',
  'signed-out': 'Signed out',
  'sessions-ended': 'Sessions ended',
  'sign-in-failed': 'Sign-in failed',
  linked: 'Account linked',
  unlinked: 'Account unlinked',
  registered: 'Registered',
  'email-code-sent': 'Code sent',
  'email-verified': 'E-mail verified',
  'email-code-failed': 'Code rejected',
  'rate-limited': 'Too many requests',
  'provider-connected': 'Provider connected',
  'provider-changed': 'Provider changed',
  'provider-removed': 'Provider removed',
  'provider-purged': 'Provider purged',
  'provider-sign-in-tested': 'Test sign-in',
  'provider-retiring': 'Provider retiring',
  'provider-retired': 'Provider retired',
  'provider-rebinding': 'Finding people again',
  'provider-exported': 'Provider exported',
  'client-secret-expiring': 'Client secret expiring',
  'secrets-rotated': 'Secrets rotated',
  'admin-consent': 'Administrator’s consent',
  'identity-relinked': 'Account relinked',
  'break-glass': 'Break-glass link',
}

export const eventKinds: readonly { value: string; label: string }[] = Object.entries(kindLabels).map(
  ([value, label]) => ({ value, label }),
)

/** What an older version wrote, and this one does not know, is called by its own name. */
export function kindName(kind: string): string {
  return Object.hasOwn(kindLabels, kind) ? kindLabels[kind as EventKind] : kind
}

const filterNames = ['kind', 'provider', 'user', 'reference', 'from', 'to', 'before'] as const

const patterns: Partial<Record<(typeof filterNames)[number], [pattern: RegExp, wrong: string]>> = {
  kind: [/^[a-z-]{1,40}$/, 'Choose one of the list.'],
  provider: [/^[a-z0-9-]{1,40}$/, 'Write the name in addresses, such as acme.'],
  user: [/^[^\p{Cc}]{1,255}$/u, 'Write the id of a user.'],
  reference: [/^[A-Za-z0-9]{1,20}$/, 'Write the eight characters of the page.'],
  from: [/^\d{4}-\d{2}-\d{2}$/, 'Write a day such as 2026-11-25.'],
  to: [/^\d{4}-\d{2}-\d{2}$/, 'Write a day such as 2026-11-25.'],
  before: [/^[^\p{Cc}]{1,200}$/u, 'Begin with the first page again.'],
}

export interface ReadFilter {
  entries: Entries
  errors: EntryErrors
  filter: EventFilter
}

/** @param query `from` and `to` are days in UTC, both included */
export function readFilter(query: unknown): ReadFilter {
  const entries = entriesOf(
    query,
    filterNames.map((name) => ({ name })),
  )
  const errors: EntryErrors = {}
  for (const name of filterNames) {
    const [pattern, wrong] = patterns[name] ?? []
    const entry = entries[name] ?? ''
    const isDay = name === 'from' || name === 'to'
    if (entry !== '' && wrong && (!pattern?.test(entry) || (isDay && dayAfter(entry, 0) === undefined)))
      errors[name] = wrong
  }
  const given = (name: string) => (errors[name] ? undefined : entries[name] || undefined)
  return {
    entries,
    errors,
    filter: {
      kind: given('kind') as EventKind | undefined,
      provider: given('provider'),
      userId: given('user'),
      reference: given('reference')?.toUpperCase(),
      from: dayAfter(given('from'), 0),
      to: dayAfter(given('to'), 1),
      before: given('before'),
    },
  }
}

function dayAfter(date: string | undefined, days: number): string | undefined {
  if (date === undefined) return undefined
  const at = new Date(`${date}T00:00:00.000Z`)
  // `Date` takes 30 February for 2 March.
  if (Number.isNaN(at.getTime()) || !at.toISOString().startsWith(date)) return undefined
  at.setUTCDate(at.getUTCDate() + days)
  return at.toISOString()
}
