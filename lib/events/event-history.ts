import type { Knex } from 'knex'
import { ConfigurationError } from '../shared/errors.ts'
import type { EventKind } from './event-types.ts'

/** An event as it was written down. */
export interface StoredEvent {
  id: string
  at: string
  kind: EventKind
  portal: string
  userId: string | undefined
  provider: string | undefined
  reference: string | undefined
  actor: string | undefined
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
  /**
   * newest refusal, since then and since an administrator consented last, for which one has to consent at the provider first;
   * looked for in the last thousand refusals
   */
  consentMissingAt: string | undefined
}

export interface History {
  /** newest first, and a stable order: an event is on one page only. @throws ConfigurationError for a moment that is none */
  list(filter?: EventFilter, portal?: string): Promise<{ events: StoredEvent[]; next: string | undefined }>
  /** of each provider that is connected, by slug; what another one of that slug did before it does not count */
  activity(portal?: string): Promise<Map<string, Activity>>
}

interface Row {
  id: string
  at: string
  kind: EventKind
  portal: string
  user_id: string | null
  provider: string | null
  reference: string | null
  actor: string | null
  client_address: string | null
  detail: string
}

const columns: (keyof Row)[] = [
  'id',
  'at',
  'kind',
  'portal',
  'user_id',
  'provider',
  'reference',
  'actor',
  'client_address',
  'detail',
]

const day = 24 * 3_600_000
const mostRows = 1000

/** Reads what `createEventLog` wrote. Every question is answered by an index: there may be millions of rows. */
export function createHistory({ knex }: { knex: Knex }): History {
  return {
    async list(filter = {}, portal = 'default') {
      const most = Math.min(Math.max(Math.trunc(filter.most ?? 50) || 1, 1), mostRows)
      const asked = {
        kind: filter.kind,
        provider: filter.provider,
        user_id: filter.userId,
        reference: filter.reference,
      }
      const where = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined))
      // They come from the address of a page, and PostgreSQL refuses a text with a NUL. No row has one.
      if (Object.values(where).some((value) => String(value).includes('\0')))
        return { events: [], next: undefined }
      const query = knex('sso_events')
        .select(columns)
        .where({ ...where, portal })
        .orderBy([
          { column: 'at', order: 'desc' },
          { column: 'id', order: 'desc' },
        ])
        .limit(most + 1)
      if (filter.from !== undefined) query.where('at', '>=', moment('from', filter.from))
      if (filter.to !== undefined) query.where('at', '<', moment('to', filter.to))
      if (filter.before !== undefined) goOnBefore(query, filter.before)
      const rows: Row[] = await query
      const events = rows.slice(0, most).map(fromRow)
      return { events, next: rows.length > most ? locationOf(events.at(-1)) : undefined }
    },

    async activity(portal = 'default') {
      const monthAgo = new Date(Date.now() - 30 * day).toISOString()
      // Asked once for each provider's place in the index, not grouped over all events. What another provider of the same
      // slug did before is not this one's.
      const rows: ActivityRow[] = await knex
        .with(
          'seen',
          knex.raw(
            `select p.slug, p.created_at as since,
               (select max(at) from sso_events where ${ofProvider('signed-in')}) as last_sign_in,
               (select count(*) from sso_events where ${ofProvider('signed-in')} and at >= ?) as sign_ins,
               (select max(at) from (${newest('provider-rehearsed')}) as rehearsals
                 where detail like '%"outcome":"passed"%') as test_sign_in_at
             from sso_providers p where p.portal = ? and p.removed_at is null`,
            [monthAgo, portal],
          ),
        )
        .from('seen')
        .select('slug', 'last_sign_in', 'sign_ins')
        .select(
          // Texts inside of the detail have their quotes escaped: nobody outside can write this into it.
          knex.raw(
            `(select max(at) from (
               select at, detail from sso_events
               where portal = ? and provider = seen.slug and kind = 'refused' and at >= seen.since
                 and at > coalesce(last_sign_in, '') and at > coalesce(test_sign_in_at, '')
               order by at desc limit ${mostRows}) as refusals
             where detail like '%"code":"consent_missing"%') as consent_missing_at`,
            [portal],
          ),
        )
      return new Map(rows.map((row) => [row.slug, activityOf(row)]))
    },
  }
}

interface ActivityRow {
  slug: string
  last_sign_in: string | null
  /** PostgreSQL counts in text */
  sign_ins: number | string
  consent_missing_at: string | null
}

/** Events of the provider `p` of the statement around; index `sso_events_provider`. */
function ofProvider(kind: string): string {
  return `portal = p.portal and provider = p.slug and kind = '${kind}' and at >= p.created_at`
}

function newest(kind: string): string {
  return `select at, detail from sso_events where ${ofProvider(kind)} order by at desc limit ${mostRows}`
}

function activityOf({ last_sign_in, sign_ins, consent_missing_at }: ActivityRow): Activity {
  return {
    lastSignInAt: last_sign_in ?? undefined,
    signIns: Number(sign_ins),
    consentMissingAt: consent_missing_at ?? undefined,
  }
}

function fromRow(row: Row): StoredEvent {
  return {
    id: row.id,
    at: row.at,
    kind: row.kind,
    portal: row.portal,
    userId: row.user_id ?? undefined,
    provider: row.provider ?? undefined,
    reference: row.reference ?? undefined,
    actor: row.actor ?? undefined,
    clientAddress: row.client_address ?? undefined,
    detail: JSON.parse(row.detail) as Record<string, unknown>,
  }
}

/** Where a page ends. The moment alone would not do: many events share a millisecond, and some would be on no page. */
function locationOf(event: StoredEvent | undefined): string | undefined {
  return event && `${event.at}_${event.id}`
}

function goOnBefore(query: Knex.QueryBuilder, location: string): void {
  const [at = '', id = ''] = location.split('_')
  if (!/^[\da-f-]{36}$/.test(id)) throw new ConfigurationError('before: give what `next` said')
  const end = moment('before', at)
  // Said so that the index is read from there on.
  query.where('at', '<=', end).where((rest) => rest.where('at', '<', end).orWhere('id', '<', id))
}

function moment(name: string, text: string): string {
  const at = new Date(text)
  if (Number.isNaN(at.getTime()))
    throw new ConfigurationError(`${name}: write a moment such as \`2027-01-31T12:00:00Z\``)
  return at.toISOString()
}

/** Events of one export at most: a spreadsheet takes a million, but nobody reads them. */
export const mostExported = 100_000

/** Page after page, as fast as they are read: however many there are, a few are in memory. */
export async function* pagesOf(
  history: History,
  filter: EventFilter,
  portal: string,
  most = mostExported,
): AsyncGenerator<StoredEvent[]> {
  let before: string | undefined
  let left = most
  do {
    const { events, next } = await history.list({ ...filter, before, most: Math.min(left, 1000) }, portal)
    yield events
    left -= events.length
    before = next
  } while (before !== undefined && left > 0)
}
