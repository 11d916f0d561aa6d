import type { EventKind } from '../events/event.ts'
import type { EventFilter } from '../events/history.ts'
import { type Entries, type EntryErrors, entriesOf } from './entries.ts'

const names = ['kind', 'provider', 'user', 'reference', 'from', 'to', 'before'] as const

const patterns: Partial<Record<(typeof names)[number], [pattern: RegExp, wrong: string]>> = {
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
    names.map((name) => ({ name })),
  )
  const errors: EntryErrors = {}
  for (const name of names) {
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
