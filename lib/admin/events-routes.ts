import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { EventFilter, StoredEvent } from '../events/event-history.ts'
import { providersPerPage } from '../providers/providers-table.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
import type { User } from '../users/user-directory.ts'
import { type AdminRequest, type AdminRoutes, pageUnknown, showPage } from './admin-request.ts'
import { chartOf } from './chart.ts'
import { eventKinds, kindLabel, parseFilter } from './event-filter.ts'
import { describeEvent } from './event-words.ts'

/** `GET /events`: the event log, newest first. `GET /events.csv`: the same as a download. */
export const eventsRoutes: AdminRoutes = { 'GET /events': showEvents, 'GET /events.csv': sendCsv }

async function showEvents(page: AdminRequest): Promise<void> {
  const { options, providers, req } = page
  const { values, errors, filter } = parseFilter(req.query, page.say)
  const isInvalid = Object.keys(errors).length > 0
  const [{ events, next }, choices] = await Promise.all([
    isInvalid ? { events: [], next: undefined } : listEvents(page, filter),
    providers.list({ ...options, most: providersPerPage + 1 }),
  ])
  const slugs = [...new Set(events.flatMap(({ provider }) => provider ?? []))]
  const [connected, people, counts] = await Promise.all([
    slugs.length > 0 ? providers.list({ ...options, slugs }) : [],
    page.users.findAll(peopleIn(events), options.portal),
    page.history.countsByDay(options.portal, filter.provider === undefined ? undefined : [filter.provider]),
  ])
  const href = (path: string, more: Record<string, string> = {}) => {
    const query = Object.entries({ ...values, before: '', ...more }).filter(([, value]) => value !== '')
    return `${req.baseUrl}${path}?${new URLSearchParams(query)}`
  }
  const locals = {
    entries: values,
    errors,
    chart: chartOf([...counts.values()][0] ?? []),
    events: events.map((event) => {
      const provider = connected.find(({ slug }) => slug === event.provider)
      return {
        ...event,
        kindName: page.say(kindLabel(event.kind)),
        tone: toneOf(event),
        providerName: provider?.displayName,
        user: people.get(event.userId ?? ''),
        by: actorOf(event, people),
        ...describeEvent(event, page.locale, provider?.preset),
      }
    }),
    kinds: eventKinds.map(({ value, label }) => ({ value, label: page.say(label) })),
    slugs: choices.map(({ slug }) => slug),
    hasMore: choices.length > providersPerPage,
    nextHref: next && href('/events', { before: next }),
    firstHref: values.before ? href('/events') : undefined,
    csvHref: href('/events.csv'),
  }
  await showPage(page, 'events', locals, isInvalid ? 422 : 200)
}

/** The users of these events, and the actors that may be users. */
function peopleIn(events: readonly StoredEvent[]): string[] {
  return events.flatMap(({ actor, userId }) => [
    ...(userId === undefined ? [] : [userId]),
    ...(actor === undefined || Object.hasOwn(programs, actor) || actor.startsWith('cli:') ? [] : [actor]),
  ])
}

const programs: Readonly<Record<string, string>> = {
  admin: phrase('An administrator'),
  cli: phrase('Command line'),
  code: phrase('The application’s code'),
  test: phrase('A connection test'),
  maintenance: phrase('The portal itself'),
}

/** Attacker: a user who registers with the name of a program. So a user always has a link or an id, a program never has. */
function actorOf({ actor }: StoredEvent, people: ReadonlyMap<string, User>) {
  if (actor === undefined) return undefined
  if (Object.hasOwn(programs, actor)) return { program: programs[actor] }
  if (actor.startsWith('cli:'))
    return { program: phrase('Command line ({{account}})', { account: actor.slice(4) }) }
  return { id: actor, user: people.get(actor) }
}

const badKinds: readonly string[] = [
  'sign-in-failed',
  'email-code-failed',
  'provider-unavailable',
  'break-glass',
]
const noticeKinds: readonly string[] = [
  'rate-limited',
  'client-secret-expiring',
  'identity-blocked',
  'account-reclaimed',
]

function toneOf({ kind, detail }: StoredEvent): 'bad' | 'notice' | 'quiet' {
  if (badKinds.includes(kind) || detail.outcome === 'failed' || detail.outcome === 'refused') return 'bad'
  return noticeKinds.includes(kind) ? 'notice' : 'quiet'
}

/** Shows the first page if `before` is not one of our page marks. */
async function listEvents({ history, options }: AdminRequest, filter: EventFilter) {
  try {
    return await history.list(filter, options)
  } catch (error) {
    if (!(error instanceof ConfigurationError) || filter.before === undefined) throw error
    return await history.list({ ...filter, before: undefined }, options)
  }
}

async function sendCsv({ history, options, req, res }: AdminRequest): Promise<void> {
  const { errors, filter } = parseFilter(req.query)
  if (Object.keys(errors).length > 0) throw pageUnknown()
  const chunks = csvChunks(history.pages(filter, options))
  // Read the first chunk before the headers are sent, so that a failure can still show an error page.
  const first = await chunks.next()
  res.status(200).type('text/csv')
  res.set('content-disposition', 'attachment; filename="sso-events.csv"')
  res.write(csvLine(eventColumns) + (first.value ?? ''))
  try {
    await pipeline(Readable.from(chunks), res)
  } catch (error) {
    // The browser cancelled the download.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  }
}

async function* csvChunks(pages: AsyncIterable<StoredEvent[]>): AsyncGenerator<string> {
  for await (const events of pages) yield events.map((event) => csvLine(eventCells(event))).join('')
}

/**
 * One line of CSV (RFC 4180). Strangers write to the log, and a spreadsheet runs a cell such as `=HYPERLINK(…)`, which can
 * send neighbouring cells away. An apostrophe makes it text, also after `;`, which separates cells in many locales.
 */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(cell).join(',')}\r\n`
}

function cell(text: string): string {
  const escaped = text.replace(/(^|;)(?=[\s"]*[=+\-@＝＋－＠]|[\t\r\n])/g, "$1'")
  return /[",\r\n]/.test(escaped) ? `"${escaped.replaceAll('"', '""')}"` : escaped
}

/** Header of the download and of the command's output, so that one script can read both. */
export const eventColumns = [
  'at',
  'kind',
  'provider',
  'userId',
  'actor',
  'reference',
  'clientAddress',
  'detail',
] as const

export function eventCells(event: StoredEvent): string[] {
  return eventColumns.map((name) => (name === 'detail' ? JSON.stringify(event.detail) : (event[name] ?? '')))
}
