import type { Knex } from 'knex'
import { inTransaction, isUniqueViolation, pauseAfterBatch } from '../database/connect.ts'
import { DAY, HOUR, isoAt, MINUTE, SECOND, timeOrderedUuid } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** Sign-ins and refused sign-ins of one day in UTC. */
export interface DayCount {
  /** such as `2026-11-25` */
  day: string
  signIns: number
  failures: number
}

type Counts = Omit<DayCount, 'day'>
type CountedEvent = { provider: string | null; kind: string; day: string; events: number | string }
type PortalEvent = CountedEvent & { portal: string }

const task = 'count events'
const chartDays = 30
/** By then, every instance has written its events. */
const settleMs = 2 * MINUTE
const maxRunMs = 5 * SECOND
/** A page counts at most this many events that the maintenance has not counted yet. */
const maxUncounted = 1000
const countedKinds = ['signed-in', 'sign-in-failed']
const ofPortal = ''

/**
 * Counts the events since the last run by day, for charts: a page that counted them itself would read millions of rows. Reads the
 * events of at most one hour at once. Of several instances, one counts an hour.
 */
export async function countEvents({ clock, knex }: Pick<Core, 'clock' | 'knex'>): Promise<void> {
  const startedAt = performance.now()
  const now = await clock.measure()
  const end = isoAt(now - settleMs)
  const first = `${firstDay(now)}T00:00:00.000Z`
  await knex('sso_event_counts').where('day', '<', firstDay(now)).delete()
  let from = await countedUntil(knex, first)
  while (from < end && performance.now() - startedAt < maxRunMs) {
    const batchStartedAt = performance.now()
    const next = await knex('sso_events').where('at', '>', from).orderBy('at').first('at')
    const until = next && next.at < end ? isoAt(Math.min(Date.parse(next.at) + HOUR, now - settleMs)) : end
    if (!(await countRange(knex, from, until))) return
    from = until
    await pauseAfterBatch(knex, batchStartedAt)
  }
}

/** @returns when the last counted event happened, at the earliest `first` */
async function countedUntil(knex: Knex, first: string): Promise<string> {
  const row = await knex('sso_tasks').where({ id: task }).first('reached_at')
  if (row) return row.reached_at < first ? await moveOn(knex, row.reached_at, first) : row.reached_at
  const begun = { id: task, total: 0, done: 0, started_at: first, reached_at: first }
  await knex('sso_tasks')
    .insert(begun)
    .catch((error: unknown) => {
      if (!isUniqueViolation(error)) throw error
    })
  return first
}

/** After a long pause. Another instance may be faster: then `countRange` counts nothing. */
async function moveOn(knex: Knex, from: string, to: string): Promise<string> {
  await knex('sso_tasks').where({ id: task, reached_at: from }).update({ reached_at: to })
  return to
}

/** @returns false if another instance has counted these events */
async function countRange(knex: Knex, from: string, until: string): Promise<boolean> {
  return await inTransaction(knex, async (transaction) => {
    const claim = transaction('sso_tasks').where({ id: task, reached_at: from })
    if ((await claim.update({ reached_at: until })) !== 1) return false
    const events: PortalEvent[] = await transaction('sso_events')
      .select('portal', 'provider', 'kind', transaction.raw('substr(at, 1, 10) as day'))
      .count({ events: '*' })
      .where('at', '>', from)
      .where('at', '<=', until)
      .whereIn('kind', countedKinds)
      .groupByRaw('portal, provider, kind, substr(at, 1, 10)')
    const counted = new Map<string, Counts>()
    for (const event of events)
      for (const provider of new Set([ofPortal, event.provider ?? ofPortal]))
        add(counted, JSON.stringify({ portal: event.portal, provider, day: event.day }), event)
    for (const [key, { signIns, failures }] of counted) {
      const row = JSON.parse(key) as Record<'portal' | 'provider' | 'day', string>
      const updated = await transaction('sso_event_counts')
        .where(row)
        .update({
          sign_ins: transaction.raw('sign_ins + ?', [signIns]),
          failures: transaction.raw('failures + ?', [failures]),
        })
      if (updated === 0)
        await transaction('sso_event_counts').insert({
          id: timeOrderedUuid(),
          ...row,
          sign_ins: signIns,
          failures,
        })
    }
    return true
  })
}

function add(counted: Map<string, Counts>, key: string, { kind, events }: CountedEvent): void {
  const { signIns, failures } = counted.get(key) ?? { signIns: 0, failures: 0 }
  const more = Number(events)
  const isSignIn = kind === 'signed-in'
  counted.set(key, {
    signIns: signIns + (isSignIn ? more : 0),
    failures: failures + (isSignIn ? 0 : more),
  })
}

/**
 * The sign-ins and failures of the last 30 days, oldest first, by the slug of the provider. Of the events that are not counted yet,
 * normally those of the last minutes, the newest thousand of the portal are included.
 *
 * @param slugs omitted: of the whole portal, under the empty slug
 */
export async function countsByDay(
  knex: Knex,
  portal: string,
  slugs: readonly string[] = [ofPortal],
): Promise<Map<string, DayCount[]>> {
  const now = Date.now()
  const first = firstDay(now)
  const counting = await knex('sso_tasks').where({ id: task }).first('reached_at')
  const [rows, recent] = await Promise.all([
    knex('sso_event_counts')
      .select('provider', 'day', 'sign_ins', 'failures')
      .where({ portal })
      .whereIn('provider', slugs)
      .where('day', '>=', first),
    knex('sso_events')
      .select('provider', 'kind', 'at')
      .where({ portal })
      .where('at', '>', counting ? String(counting.reached_at) : `${first}T`)
      .orderBy('at', 'desc')
      .limit(maxUncounted),
  ])
  const counted = new Map<string, Counts>()
  for (const { provider, day, sign_ins, failures } of rows)
    counted.set(`${provider} ${day}`, { signIns: Number(sign_ins), failures: Number(failures) })
  for (const { provider, kind, at } of recent as { provider: string | null; kind: string; at: string }[])
    if (countedKinds.includes(kind))
      for (const slug of new Set([ofPortal, provider ?? ofPortal])) {
        const day = at.slice(0, 10)
        add(counted, `${slug} ${day}`, { provider, kind, day, events: 1 })
      }
  const days = Array.from({ length: chartDays }, (_, at) => dayOf(now - (chartDays - 1 - at) * DAY))
  return new Map(
    slugs.map((slug) => [
      slug,
      days.map((day) => ({ day, ...(counted.get(`${slug} ${day}`) ?? { signIns: 0, failures: 0 }) })),
    ]),
  )
}

function firstDay(now: number): string {
  return dayOf(now - (chartDays - 1) * DAY)
}

function dayOf(at: number): string {
  return isoAt(at).slice(0, 10)
}
