import type { EventFilter } from '../events/event-history.ts'
import type { EventKind } from '../events/event-types.ts'
import { phrase } from '../shared/phrase.ts'
import type { Say } from '../web/locale.ts'
import { readFields } from './form.ts'

const kindLabels: Record<EventKind, string> = {
  'signed-in': phrase('Signed in'),
  'signed-out': phrase('Signed out'),
  'sessions-ended': phrase('Sessions ended'),
  'sign-in-failed': phrase('Sign-in failed'),
  linked: phrase('Account linked'),
  unlinked: phrase('Account unlinked'),
  registered: phrase('Registered'),
  'email-code-sent': phrase('Code sent'),
  'email-verified': phrase('Address confirmed'),
  'email-code-failed': phrase('Code rejected'),
  'rate-limited': phrase('Too many requests'),
  'provider-connected': phrase('Provider connected'),
  'provider-changed': phrase('Provider changed'),
  'provider-removed': phrase('Provider removed'),
  'provider-purged': phrase('Provider deleted'),
  'provider-sign-in-tested': phrase('Sign-in tested'),
  'provider-retiring': phrase('Provider retiring'),
  'provider-retired': phrase('Provider retired'),
  'provider-unavailable': phrase('Provider unavailable'),
  'provider-recovered': phrase('Provider available again'),
  'client-secret-expiring': phrase('Client secret expiring'),
  'secrets-rotated': phrase('Secrets rotated'),
  'admin-consent': phrase('Admin consent'),
  'identity-relinked': phrase('Account relinked'),
  'identity-blocked': phrase('Account not linked'),
  'identity-replaced': phrase('Account replaced'),
  'account-reclaimed': phrase('Account reclaimed by its owner'),
  'break-glass': phrase('Break-glass access'),
}

export const eventKinds: readonly { value: string; label: string }[] = Object.entries(kindLabels).map(
  ([value, label]) => ({ value, label }),
)

/** Falls back to the kind itself for events that another version has recorded. */
export function kindLabel(kind: string): string {
  return Object.hasOwn(kindLabels, kind) ? kindLabels[kind as EventKind] : kind
}

const dayPattern = /^\d{4}-\d{2}-\d{2}$/

const filters: Record<string, [pattern: RegExp, wrong: string]> = {
  kind: [/^[a-z-]{1,40}$/, phrase('choose a value from the list')],
  provider: [/^[a-z0-9-]{1,40}$/, phrase('enter the provider’s name in URLs, such as acme')],
  user: [/^[^\p{Cc}]{1,255}$/u, phrase('enter a user ID')],
  reference: [/^[A-Za-z0-9]{1,20}$/, phrase('enter the 8 characters shown on the page')],
  from: [dayPattern, phrase('enter a date such as 2026-11-25')],
  to: [dayPattern, phrase('enter a date such as 2026-11-25')],
  before: [/^[^\p{Cc}]{1,200}$/u, phrase('start again from the first page')],
}

const fields = Object.entries(filters).map(([name, [pattern, wrong]]) => ({
  name,
  read(text: string) {
    const isValid = pattern.test(text) && (pattern !== dayPattern || startOfDay(text) !== undefined)
    return isValid ? { value: text } : { wrong }
  },
}))

/** @param query `from` and `to` are days in UTC, both inclusive */
export function parseFilter(query: unknown, say?: Say) {
  const { values, errors, read } = readFields(query, fields, say)
  const { kind, provider, user, reference, from, to, before } = read as Record<string, string | undefined>
  const filter: EventFilter = {
    kind: kind as EventKind | undefined,
    provider,
    userId: user,
    reference: reference?.toUpperCase(),
    from: startOfDay(from),
    to: startOfDay(to, 1),
    before,
  }
  return { values, errors, filter }
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
