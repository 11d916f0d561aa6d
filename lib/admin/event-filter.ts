import type { EventFilter } from '../events/event-history.ts'
import type { EventKind } from '../events/event-types.ts'
import { enteredValues, type FieldErrors, type FormValues } from './form.ts'

const kindLabels: Record<EventKind, string> = {
  'signed-in': 'Signed in',
  'signed-out': 'Signed out',
  'sessions-ended': 'Sessions ended',
  'sign-in-failed': 'Sign-in failed',
  linked: 'Account linked',
  unlinked: 'Account unlinked',
  registered: 'Registered',
  'email-code-sent': 'Code sent',
  'email-verified': 'Address confirmed',
  'email-code-failed': 'Code rejected',
  'rate-limited': 'Too many requests',
  'provider-connected': 'Provider connected',
  'provider-changed': 'Provider changed',
  'provider-removed': 'Provider removed',
  'provider-purged': 'Provider deleted',
  'provider-sign-in-tested': 'Sign-in tested',
  'provider-retiring': 'Provider retiring',
  'provider-retired': 'Provider retired',
  'client-secret-expiring': 'Client secret expiring',
  'secrets-rotated': 'Secrets rotated',
  'admin-consent': 'Admin consent',
  'identity-relinked': 'Account relinked',
  'break-glass': 'Break-glass access',
}

export const eventKinds: readonly { value: string; label: string }[] = Object.entries(kindLabels).map(
  ([value, label]) => ({ value, label }),
)

/** Falls back to the kind itself for events that another version has recorded. */
export function kindLabel(kind: string): string {
  return Object.hasOwn(kindLabels, kind) ? kindLabels[kind as EventKind] : kind
}

const filterNames = ['kind', 'provider', 'user', 'reference', 'from', 'to', 'before'] as const

const patterns: Partial<Record<(typeof filterNames)[number], [pattern: RegExp, message: string]>> = {
  kind: [/^[a-z-]{1,40}$/, 'Choose a value from the list.'],
  provider: [/^[a-z0-9-]{1,40}$/, 'Enter the provider’s name in URLs, such as acme.'],
  user: [/^[^\p{Cc}]{1,255}$/u, 'Enter a user ID.'],
  reference: [/^[A-Za-z0-9]{1,20}$/, 'Enter the 8 characters shown on the page.'],
  from: [/^\d{4}-\d{2}-\d{2}$/, 'Enter a date such as 2026-11-25.'],
  to: [/^\d{4}-\d{2}-\d{2}$/, 'Enter a date such as 2026-11-25.'],
  before: [/^[^\p{Cc}]{1,200}$/u, 'Start again from the first page.'],
}

interface ParsedFilter {
  /** as entered, to fill in the form again */
  entries: FormValues
  errors: FieldErrors
  filter: EventFilter
}

/** @param query `from` and `to` are days in UTC, both inclusive */
export function parseFilter(query: unknown): ParsedFilter {
  const entries = enteredValues(
    query,
    filterNames.map((name) => ({ name })),
  )
  const errors: FieldErrors = {}
  for (const name of filterNames) {
    const [pattern, message] = patterns[name] ?? []
    const entry = entries[name] ?? ''
    const isDay = name === 'from' || name === 'to'
    if (entry !== '' && message && (!pattern?.test(entry) || (isDay && startOfDay(entry) === undefined)))
      errors[name] = message
  }
  const valid = (name: string) => (errors[name] ? undefined : entries[name] || undefined)
  return {
    entries,
    errors,
    filter: {
      kind: valid('kind') as EventKind | undefined,
      provider: valid('provider'),
      userId: valid('user'),
      reference: valid('reference')?.toUpperCase(),
      from: startOfDay(valid('from')),
      to: startOfDay(valid('to'), 1),
      before: valid('before'),
    },
  }
}

/** @returns the first instant in UTC of the day that is `daysLater` after `date` */
function startOfDay(date: string | undefined, daysLater = 0): string | undefined {
  if (date === undefined) return undefined
  const at = new Date(`${date}T00:00:00.000Z`)
  // `Date` reads 30 February as 2 March.
  if (Number.isNaN(at.getTime()) || !at.toISOString().startsWith(date)) return undefined
  at.setUTCDate(at.getUTCDate() + daysLater)
  return at.toISOString()
}
