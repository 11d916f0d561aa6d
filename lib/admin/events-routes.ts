import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Request, type Response, Router } from 'express'
import type { EventFilter, EventHistory, StoredEvent } from '../events/event-history.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, createShowAdmin } from './context.ts'
import { eventKinds, kindName, readFilter } from './event-filter.ts'
import { csvLine, eventCells, eventColumns } from './events-csv.ts'

/** `GET /events`: what has happened, newest first. `GET /events.csv`: the same as a table. */
export function createEventRoutes(parts: AdminContext): Router {
  const { history, portalOf, providers } = parts
  const show = createShowAdmin(parts)

  async function showEvents(req: Request, res: Response): Promise<void> {
    const { entries, errors, filter } = readFilter(req.query)
    const portal = portalOf(req)
    const wrong = Object.keys(errors).length > 0
    const [page, all] = await Promise.all([
      wrong ? { events: [], next: undefined } : listed(history, filter, portal),
      providers.list(portal),
    ])
    const address = (path: string, more: Record<string, string> = {}) => {
      const given = Object.entries({ ...entries, before: '', ...more }).filter(([, value]) => value !== '')
      return `${req.baseUrl}${path}?${new URLSearchParams(given)}`
    }
    const locals = {
      entries,
      errors,
      events: page.events.map((event) => ({ ...event, kindName: kindName(event.kind), detail: told(event) })),
      kinds: eventKinds,
      slugs: all.map(({ slug }) => slug),
      nextHref: page.next && address('/events', { before: page.next }),
      firstHref: entries.before ? address('/events') : undefined,
      csvHref: address('/events.csv'),
    }
    await show(req, res, 'events', locals, wrong ? 422 : 200)
  }

  async function sendCsv(req: Request, res: Response, next: () => void): Promise<void> {
    const { errors, filter } = readFilter(req.query)
    if (Object.keys(errors).length > 0) return next()
    const lines = linesOf(history.pages(filter, portalOf(req)))
    // The first page comes before the head, so that a failure still has a page of its own.
    const first = await lines.next()
    res.status(200).type('text/csv')
    res.set('content-disposition', 'attachment; filename="sso-events.csv"')
    res.write(csvLine(eventColumns) + (first.value ?? ''))
    try {
      await pipeline(Readable.from(lines), res)
    } catch (error) {
      // Who hangs up has got what he wanted.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
    }
  }

  const router = Router()
  router.get('/events', asyncHandler(showEvents))
  router.get('/events.csv', asyncHandler(sendCsv))
  return router
}

/** A page that was asked for with a mark of nobody's is the first one. */
async function listed(history: EventHistory, filter: EventFilter, portal: string) {
  try {
    return await history.list(filter, portal)
  } catch (error) {
    if (!(error instanceof ConfigurationError) || filter.before === undefined) throw error
    return await history.list({ ...filter, before: undefined }, portal)
  }
}

async function* linesOf(pages: AsyncGenerator<StoredEvent[]>): AsyncGenerator<string> {
  for await (const events of pages) yield events.map((event) => csvLine(eventCells(event))).join('')
}

function told({ detail }: StoredEvent): { name: string; value: string }[] {
  return Object.entries(detail).map(([name, value]) => ({
    name,
    value: typeof value === 'string' ? value : JSON.stringify(value),
  }))
}
