import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type NextFunction, type Request, type Response, Router } from 'express'
import type { EventFilter, EventHistory, StoredEvent } from '../events/event-history.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, showAdminPage } from './context.ts'
import { eventKinds, kindLabel, parseFilter } from './event-filter.ts'

/** `GET /events`: the event log, newest first. `GET /events.csv`: the same as a download. */
export function eventsRoutes(context: AdminContext): Router {
  const router = Router()
  router.get(
    '/events',
    asyncHandler((req, res) => showEvents(context, req, res)),
  )
  router.get(
    '/events.csv',
    asyncHandler((req, res, next) => sendCsv(context, req, res, next)),
  )
  return router
}

async function showEvents(context: AdminContext, req: Request, res: Response): Promise<void> {
  const { history, portalOf, providers } = context
  const { entries, errors, filter } = parseFilter(req.query)
  const portal = portalOf(req)
  const isInvalid = Object.keys(errors).length > 0
  const [page, all] = await Promise.all([
    isInvalid ? { events: [], next: undefined } : listEvents(history, filter, portal),
    providers.list({ portal }),
  ])
  const href = (path: string, more: Record<string, string> = {}) => {
    const query = Object.entries({ ...entries, before: '', ...more }).filter(([, value]) => value !== '')
    return `${req.baseUrl}${path}?${new URLSearchParams(query)}`
  }
  const locals = {
    entries,
    errors,
    events: page.events.map((event) => ({
      ...event,
      kindName: kindLabel(event.kind),
      detail: detailRows(event),
    })),
    kinds: eventKinds,
    slugs: all.map(({ slug }) => slug),
    nextHref: page.next && href('/events', { before: page.next }),
    firstHref: entries.before ? href('/events') : undefined,
    csvHref: href('/events.csv'),
  }
  await showAdminPage(context, req, res, { view: 'events', locals, status: isInvalid ? 422 : 200 })
}

async function sendCsv(
  { history, portalOf }: AdminContext,
  req: Request,
  res: Response,
  next: NextFunction,
): Promise<void> {
  const { errors, filter } = parseFilter(req.query)
  if (Object.keys(errors).length > 0) return next()
  const chunks = csvChunks(history, filter, portalOf(req))
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

/** Shows the first page if `before` is not one of our page marks. */
async function listEvents(history: EventHistory, filter: EventFilter, portal: string) {
  try {
    return await history.list(filter, portal)
  } catch (error) {
    if (!(error instanceof ConfigurationError) || filter.before === undefined) throw error
    return await history.list({ ...filter, before: undefined }, portal)
  }
}

async function* csvChunks(
  history: EventHistory,
  filter: EventFilter,
  portal: string,
): AsyncGenerator<string> {
  for await (const events of history.pages(filter, portal))
    yield events.map((event) => csvLine(eventCells(event))).join('')
}

function detailRows({ detail }: StoredEvent): { name: string; value: string }[] {
  return Object.entries(detail).map(([name, value]) => ({
    name,
    value: typeof value === 'string' ? value : JSON.stringify(value),
  }))
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
