import { type RequestHandler, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { Tickets } from '../one-time-links/one-time-links.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { handle } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/request.ts'
import type { Addresses } from '../web/urls.ts'
import { type BrokenGlass, openFor } from './break-glass.ts'

export interface BreakGlassRoutesParts {
  addresses: Addresses
  brokenGlass: BrokenGlass
  events: EventLog
  logger: Logger
  pages: Pages
  portalOf: PortalOf
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  tickets: Tickets
}

/**
 * `GET|POST /login/break-glass`: where a link of `breakGlass.link()` leads. The page changes nothing, for it may be opened by
 * whatever looks into mails and chats; its button uses the link up and opens the classic login to this browser.
 */
export function createBreakGlassRoutes(parts: BreakGlassRoutesParts): Router {
  const { addresses, brokenGlass, events, logger, pages, portalOf, posted, tickets } = parts
  const gone = () => new PortalSsoError('ticket_gone', 'no such link to the classic login is good (any more)')

  const ask = handle(async (req, res) => {
    const { ticket } = req.query
    if (!(await tickets.find(portalOf(req), 'break-glass', ticket))) throw gone()
    await pages.show(req, res, 'break-glass', {
      action: addresses.path('/login/break-glass'),
      cancelHref: addresses.path('/login'),
      minutes: openFor,
      ticket,
    })
  })

  const open = handle(async (req, res) => {
    const portal = portalOf(req)
    const { ticket: given } = (req.body ?? {}) as { ticket?: unknown }
    const ticket = await tickets.take(portal, 'break-glass', given)
    if (!ticket) throw gone()
    const { by } = ticket.detail
    logger.warn({ portal, by, clientAddress: req.ip }, 'the classic login was opened to one browser')
    await events.record({
      kind: 'break-glass',
      portal,
      by,
      clientAddress: req.ip,
      detail: { step: 'used' },
    })
    await brokenGlass.open(req, res)
    res.redirect(303, addresses.path('/login'))
  })

  const router = Router()
  router.get('/login/break-glass', ask)
  router.post('/login/break-glass', ...posted, open)
  return router
}
