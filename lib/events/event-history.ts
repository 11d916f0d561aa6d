import type { Knex } from 'knex'
import { isPostgres } from '../database/connect.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { DAY } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { countsByDay, type DayCount } from './event-counts.ts'
import type { EventKind } from './event-types.ts'

/** An event as stored. A field that its kind does not have is `undefined`. */
export interface StoredEvent {
  /** UUID of the row. */
  id: string
  /** When it happened. ISO 8601, with milliseconds. */
  at: string
  /** Kind of the event. */
  kind: EventKind
  /** Name of the portal. */
  portal: string
  /** Id of the user. */
  userId: string | undefined
  /** Slug of the provider. */
  provider: string | undefined
  /** The reference on the user's page and in the log. */
  reference: string | undefined
  /** Id of the user who did it, or `cli:<system user>`, `code`, `test` or `maintenance`. */
  actor: string | undefined
  /** The client's address, as far as the option `events.clientAddress` keeps it. */
  clientAddress: string | undefined
  /** The event's `detail`, at most 1,000 characters per text. */
  detail: Readonly<Record<string, unknown>>
}

/** Selects events. Omitted: all events, or the newest page of them. */
export interface EventFilter {
  /** Only events of this kind. */
  kind?: EventKind | undefined
  /** Slug of the provider. */
  provider?: string | undefined
  /** Id of the user. */
  userId?: string | undefined
  /** The reference that a user reads on the page of a problem. */
  reference?: string | undefined
  /** The earliest time, inclusive. ISO 8601. */
  from?: string | undefined
  /** The latest time, exclusive. ISO 8601. */
  to?: string | undefined
  /** The previous page's `next`. */
  before?: string | undefined
  /** Events per page: 1 to 1000, default 50. */
  most?: number | undefined
}

/** How a provider is used, from its events. */
export interface Activity {
  /** ISO 8601. `undefined`: no user has signed in yet. */
  lastSignInAt: string | undefined
  /** Number of sign-ins in the last 30 days, counted up to 1,000. */
  signIns: number
  /**
   * When the newest sign-in failed because an administrator has to consent, as the provider's token endpoint said (ISO 8601).
   * `undefined` if one has passed since, or a test sign-in. Only the last thousand failures count.
   */
  consentMissingAt: string | undefined
  /** The same, as a browser reported it: anybody can send such a report. */
  consentReportedAt: string | undefined
  /**
   * Number of sign-ins since the last successful one that failed because of the provider or its settings, up to 1,000. Anybody can
   * add to it by sending invalid codes.
   */
  failuresSince: number
  /** The newest refused sign-in of any kind, as it is stored. */
  lastFailure: StoredEvent | undefined
}

/** Logout tokens that were refused for one reason. */
export interface RefusedLogoutTokens {
  /** The failed check, as in the log. */
  reason: string
  /** Number among the last thousand failures of the provider in the last 30 days. */
  count: number
  /** ISO 8601. */
  lastAt: string
}

type OptionalField = 'userId' | 'provider' | 'reference' | 'actor' | 'clientAddress'
type Row = Omit<StoredEvent, OptionalField | 'detail'> &
  Record<OptionalField, string | null> & { detail: string }

const defaultPageSize = 50
const maxPageSize = 1000
const activityDays = 30
/** Later than the time of any event. */
const lastDate = '9999-12-31T23:59:59.999Z'
/** Limits the search for one detail among the newest events of a provider. */
const maxSearchedEvents = 1000

/** Limit of one export: a spreadsheet holds a million rows, but no one reads that many. */
export const maxExportedEvents = 100_000

/** The stored events of a portal. */
// An index serves every query: there may be millions of rows.
export class HistoryApi {
  readonly #knex: Knex
  readonly #portal: string

  /** @internal */
  constructor({ knex }: Pick<Core, 'knex'>, portal = 'default') {
    this.#knex = knex
    this.#portal = portal
  }

  /**
   * The newest events first, in a stable order: each event is on one page only. `next` is the `before` of the next page. For a
   * combination of filters, one page covers at most 1,000 events and may be empty although `next` exists.
   *
   * @throws ConfigurationError for an invalid date or `before`
   */
  async list(
    filter: EventFilter = {},
    { portal = this.#portal }: ActOptions = {},
  ): Promise<{ events: StoredEvent[]; next: string | undefined }> {
    const pageSize = Math.min(Math.max(Math.trunc(filter.most ?? defaultPageSize) || 1, 1), maxPageSize)
    const { indexed, others } = splitFilter(filter)
    // The values come from a query string. PostgreSQL refuses a text with a NUL, and no row has one.
    if (
      [...Object.values(indexed), ...others.map(([, value]) => value)].some((value) => value.includes('\0'))
    )
      return { events: [], next: undefined }
    // No index serves all filters together, so the others apply to a bounded number of events.
    const limit = others.length > 0 ? maxSearchedEvents : pageSize + 1
    const query = this.#events().where({ portal }).limit(limit)
    selectRange(query, isPostgres(this.#knex), indexed, readRange(filter))
    const rows: Row[] = await query
    const found = rows.filter((row) => others.every(([field, value]) => row[field] === value))
    const events = found.slice(0, pageSize).map(fromRow)
    if (found.length > pageSize) return { events, next: cursorOf(events.at(-1)) }
    return { events, next: rows.length === limit ? cursorOf(rows.at(-1)) : undefined }
  }

  /** Page after page, as fast as you read them. `maxEvents`: at most, and by default, 100,000. */
  async *pages(
    filter: EventFilter = {},
    options: ActOptions & { maxEvents?: number | undefined } = {},
  ): AsyncGenerator<StoredEvent[]> {
    let before: string | undefined
    let left = options.maxEvents ?? maxExportedEvents
    do {
      const { events, next } = await this.list(
        { ...filter, before, most: Math.min(left, maxPageSize) },
        options,
      )
      yield events
      left -= events.length
      before = next
    } while (before !== undefined && left > 0)
  }

  /** The refused logout tokens of a connected provider by reason, the newest first. Anybody can send a forged one. @internal */
  async refusedLogoutTokens(portal: string, slug: string): Promise<RefusedLogoutTokens[]> {
    const month = new Date(Date.now() - activityDays * DAY).toISOString()
    // One bound: SQLite uses only one for the index.
    const since = this.#knex('sso_providers')
      .select(this.#knex.raw(laterOf('created_at', '?'), [month, month]))
      .where({ portal, slug })
      .whereNull('removed_at')
    const rows: { at: string; detail: string }[] = await this.#knex('sso_events')
      .select('at', 'detail')
      .where({ portal, provider: slug, kind: 'sign-in-failed' })
      .where('at', '>=', since)
      .orderBy('at', 'desc')
      .limit(maxSearchedEvents)
    const byReason = new Map<string, RefusedLogoutTokens>()
    for (const { at, detail } of rows) {
      const { code, reason } = JSON.parse(detail) as { code?: unknown; reason?: unknown }
      if (code !== 'logout_token_invalid') continue
      const found = byReason.get(String(reason)) ?? { reason: String(reason), count: 0, lastAt: at }
      byReason.set(found.reason, { ...found, count: found.count + 1 })
    }
    return [...byReason.values()]
  }

  /**
   * Sign-ins of the last 30 days and the latest problems of each connected provider, by slug.
   *
   * @param options.slugs only of these; default all
   */
  async activity(
    options: ActOptions & { slugs?: readonly string[] | undefined } = {},
  ): Promise<Map<string, Activity>> {
    const { portal = this.#portal, slugs } = options
    if (slugs?.length === 0) return new Map()
    const month = new Date(Date.now() - activityDays * DAY).toISOString()
    const connected = this.#knex({ p: 'sso_providers' })
      .where({ 'p.portal': portal })
      .whereNull('p.removed_at')
      .select('p.portal', 'p.slug', 'p.created_at')
      .select(this.#knex.raw(`${laterOf('p.created_at', '?')} as month`, [month, month]))
    if (slugs) connected.whereIn('p.slug', slugs)
    // A few index look-ups per provider, instead of grouping all events. Those of an earlier provider with that slug do not count.
    const seen = this.#knex
      .from(connected.as('p'))
      .select('p.*')
      .select(
        this.#knex.raw(`(select max(at) from sso_events where ${ofProvider('signed-in')} and at >= p.created_at) as last_sign_in,
        (select count(*) from sso_events where ${newestOf(ofProvider('signed-in'), 'p.month')}) as sign_ins,
        (select max(at) from sso_events where ${newestOf(ofProvider('provider-sign-in-tested'), 'p.created_at')}
          and detail like '%"outcome":"passed"%') as test_sign_in_at`),
      )
    const since = laterOf(
      'p.created_at',
      laterOf("coalesce(last_sign_in, '')", "coalesce(test_sign_in_at, '')"),
    )
    const bounded = this.#knex
      .from(seen.as('p'))
      .select('p.*')
      .select(this.#knex.raw(`${since} as failures_since`))
    const rows: ActivityRow[] = await this.#knex
      .from(bounded.as('p'))
      .select('slug', 'last_sign_in', 'sign_ins')
      .select(
        this.#knex.raw(`${lastConsentFailure('not like')} as consent_missing_at`),
        this.#knex.raw(`${lastConsentFailure('like')} as consent_reported_at`),
        this.#knex.raw(`${failuresSince} as failures_since_success`),
        this.#knex.raw(`${lastFailureId} as last_failure_id`),
      )
    const failures = await this.#withIds(rows.flatMap(({ last_failure_id }) => last_failure_id ?? []))
    return new Map(rows.map((row) => [row.slug, toActivity(row, failures)]))
  }

  /** The sign-ins and failures of the last 30 days. @param slugs omitted: of the whole portal, under the empty slug. @internal */
  async countsByDay(portal: string, slugs?: readonly string[]): Promise<Map<string, DayCount[]>> {
    return await countsByDay(this.#knex, portal, slugs)
  }

  async #withIds(ids: readonly string[]): Promise<StoredEvent[]> {
    if (ids.length === 0) return []
    const rows: Row[] = await this.#events().whereIn('id', ids)
    return rows.map(fromRow)
  }

  #events(): Knex.QueryBuilder {
    return this.#knex('sso_events')
      .select('id', 'at', 'kind', 'portal', 'provider', 'reference', 'actor', 'detail')
      .select({ userId: 'user_id', clientAddress: 'client_address' })
  }
}

interface ActivityRow {
  slug: string
  last_sign_in: string | null
  /** PostgreSQL returns counts as text */
  sign_ins: number | string
  consent_missing_at: string | null
  consent_reported_at: string | null
  failures_since_success: number | string
  last_failure_id: string | null
}

function toActivity(row: ActivityRow, failures: readonly StoredEvent[]): Activity {
  return {
    lastSignInAt: row.last_sign_in ?? undefined,
    signIns: Number(row.sign_ins),
    consentMissingAt: row.consent_missing_at ?? undefined,
    consentReportedAt: row.consent_reported_at ?? undefined,
    failuresSince: Number(row.failures_since_success),
    lastFailure: failures.find(({ id }) => id === row.last_failure_id),
  }
}

/** Condition for events of the outer statement's provider `p`; index `sso_events_provider`. */
function ofProvider(kind: string): string {
  return `portal = p.portal and provider = p.slug and kind = '${kind}'`
}

/**
 * Since the last sign-in and test sign-in. Quotes inside of the detail's texts are escaped, so that no outsider can write these
 * patterns into it.
 */
function lastConsentFailure(reportedByBrowser: 'like' | 'not like'): string {
  return `(select max(at) from sso_events where ${newestOf(ofProvider('sign-in-failed'), 'p.failures_since')}
    and at > p.failures_since
    and detail like '%"code":"consent_missing"%' and detail ${reportedByBrowser} '%"reportedBy":"browser"%')`
}

/** Failures that are not the user's: the provider, its settings or its responses caused them. */
const failuresSince = `(select count(*) from sso_events where ${newestOf(ofProvider('sign-in-failed'), 'p.failures_since')}
    and at > p.failures_since and detail not like '%"reportedBy":"browser"%'
    and (${['provider_unavailable', 'provider_error', 'response_invalid', 'subject_constant']
      .map((code) => `detail like '%"code":"${code}"%'`)
      .join(' or ')}))`

const lastFailureId = `(select id from sso_events where ${ofProvider('sign-in-failed')} and at >= p.created_at
    order by at desc limit 1)`

/** The last thousand events that meet a condition. One bound of `at`, because SQLite uses only one for the index. */
function newestOf(condition: string, since: string): string {
  const last = `select at from sso_events where ${condition} and at >= ${since} order by at desc limit 1 offset ${maxSearchedEvents - 1}`
  return `${condition} and at >= coalesce((${last}), ${since})`
}

/** Every database has this; `greatest` is not in SQLite. */
function laterOf(one: string, other: string): string {
  return `case when ${one} > ${other} then ${one} else ${other} end`
}

type FilterColumn = 'reference' | 'user_id' | 'provider' | 'kind'

/** Separates the filters that one index serves, with the order by time, from the others. */
function splitFilter({ kind, provider, userId, reference }: EventFilter) {
  const all = { reference, user_id: userId, provider, kind }
  const given = Object.entries(all).filter(
    (filter): filter is [FilterColumn, string] => filter[1] !== undefined,
  )
  // Only provider and kind have an index together. A reference has few events, a user fewer than a provider.
  const count = given[0]?.[0] === 'provider' ? 2 : 1
  const others = given
    .slice(count)
    .map(([column, value]) => [column === 'user_id' ? 'userId' : column, value] as const)
  // In the order of the index.
  return { indexed: Object.fromEntries(given.slice(0, count)), others }
}

function fromRow({ userId, provider, reference, actor, clientAddress, detail, ...row }: Row): StoredEvent {
  return {
    ...row,
    userId: userId ?? undefined,
    provider: provider ?? undefined,
    reference: reference ?? undefined,
    actor: actor ?? undefined,
    clientAddress: clientAddress ?? undefined,
    detail: JSON.parse(detail) as Record<string, unknown>,
  }
}

/** Cursor for the next page. The time alone is ambiguous: several events can share a millisecond. */
function cursorOf(event: Pick<StoredEvent, 'at' | 'id'> | undefined): string | undefined {
  return event && `${event.at}_${event.id}`
}

/** Both ends belong to it. */
interface Range {
  from: string
  to: string
  /** of the last event that was shown at `to` */
  beforeId: string | undefined
}

function readRange({ from, to, before }: EventFilter): Range {
  const start = from === undefined ? '' : isoDate('from', from)
  const end = to === undefined ? lastDate : isoDate('to', to, -1)
  if (before === undefined) return { from: start, to: end, beforeId: undefined }
  const [at = '', id = ''] = before.split('_')
  if (!/^[\da-f-]{36}$/.test(id))
    throw new ConfigurationError('before: use the `next` value of the previous page')
  const cursor = isoDate('before', at)
  return cursor > end
    ? { from: start, to: end, beforeId: undefined }
    : { from: start, to: cursor, beforeId: id }
}

/**
 * Selects the range of the index that begins with the portal and the columns of `indexed`, newest first. PostgreSQL would read the
 * index of the portal instead if it expects many of these events, however old they are. So there, the range is of several
 * columns, with `<=`: for `<`, it would expect none.
 */
function selectRange(
  query: Knex.QueryBuilder,
  byTuple: boolean,
  indexed: Readonly<Record<string, string>>,
  { from, to, beforeId }: Range,
): void {
  const names = byTuple ? Object.keys(indexed) : []
  if (!byTuple) query.where(indexed)
  const columns = [...names, 'at']
  const tuple = `(${columns.join(', ')})`
  const values = `(${columns.map(() => '?').join(', ')})`
  const bound = (at: string) => [...names.map((name) => indexed[name] ?? ''), at]
  query.whereRaw(`${tuple} >= ${values} and ${tuple} <= ${values}`, [...bound(from), ...bound(to)])
  // In this form, the database starts reading the index at the cursor.
  if (beforeId !== undefined) query.where((rest) => rest.where('at', '<', to).orWhere('id', '<', beforeId))
  query.orderBy([...columns, 'id'].map((column) => ({ column, order: 'desc' })))
}

function isoDate(name: string, text: string, addedMs = 0): string {
  const at = new Date(Date.parse(text) + addedMs)
  if (Number.isNaN(at.getTime()))
    throw new ConfigurationError(`${name}: write a date such as \`2027-01-31T12:00:00Z\``)
  return at.toISOString()
}
