import { type RequestHandler, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import { type BreakGlassCookie, openFor } from './break-glass.ts'

export interface BreakGlassRoutesParts {
  urls: PortalUrls
  breakGlassCookie: BreakGlassCookie
  events: EventLog
  logger: Logger
  pages: Pages
  portalOf: PortalResolver
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  oneTimeLinks: OneTimeLinks
}

/**
 * `GET|POST /login/break-glass`: where a link of `breakGlass.link()` leads. The page changes nothing, for it may be opened by
 * whatever looks into mails and chats; its button uses the link up and opens the classic login to this browser.
 */
export function createBreakGlassRoutes(parts: BreakGlassRoutesParts): Router {
  const { urls, breakGlassCookie, events, logger, pages, portalOf, posted, oneTimeLinks } = parts
  const gone = () => new PortalSsoError('ticket_gone', 'no such link to the classic login is good (any more)')

  const ask = asyncHandler(async (req, res) => {
    const { ticket } = req.query
    if (!(await oneTimeLinks.find(portalOf(req), 'break-glass', ticket))) throw gone()
    await pages.show(req, res, 'break-glass', {
      action: urls.path('/login/break-glass'),
      cancelHref: urls.path('/login'),
      minutes: openFor,
      ticket,
    })
  })

  const open = asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const { ticket: given } = (req.body ?? {}) as { ticket?: unknown }
    const ticket = await oneTimeLinks.take(portal, 'break-glass', given)
    if (!ticket) throw gone()
    const { actor } = ticket.detail
    logger.warn({ portal, actor, clientAddress: req.ip }, 'the classic login was opened to one browser')
    await events.record({
      kind: 'break-glass',
      portal,
      actor,
      clientAddress: req.ip,
      detail: { step: 'used' },
    })
    await breakGlassCookie.open(req, res)
    res.redirect(303, urls.path('/login'))
  })

  const router = Router()
  router.get('/login/break-glass', ask)
  router.post('/login/break-glass', ...posted, open)
  return router
}
