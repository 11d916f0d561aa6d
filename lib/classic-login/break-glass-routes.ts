import { type RequestHandler, Router } from 'express'
import { PortalSsoError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { Logger } from '../logger.ts'
import type { Tickets } from '../rehearsal/tickets.ts'
import type { Addresses } from '../web/addresses.ts'
import { handle } from '../web/handle.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { type BrokenGlass, openFor } from './broken-glass.ts'

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
