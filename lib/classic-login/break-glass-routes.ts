import { type RequestHandler, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import { openMinutes } from './break-glass.ts'
import type { ClassicLogin } from './classic-login.ts'

const path = '/login/break-glass'

/**
 * `GET|POST /login/break-glass`: the page of a link from `breakGlass.link()`. Opening it changes nothing, because mail and chat
 * programs open links too. Its button uses the link up.
 */
export function breakGlassRoutes(
  core: Core,
  modules: {
    classicLogin: ClassicLogin
    events: EventLog
    oneTimeLinks: OneTimeLinks
    pages: Pages
    /** parses posts, after refusing those from other sites */
    posted: RequestHandler[]
  },
): Router {
  const { logger, portalOf, urls } = core
  const { classicLogin, events, oneTimeLinks, pages, posted } = modules
  const expired = () => new PortalSsoError('link_expired', 'the link to the classic login is not valid')

  const ask = asyncHandler(async (req, res) => {
    const { token } = req.query
    if (!(await oneTimeLinks.find(portalOf(req), 'break-glass', token))) throw expired()
    await pages.show(req, res, 'break-glass', {
      action: urls.path(path),
      cancelHref: urls.path('/login'),
      minutes: openMinutes,
      token,
    })
  })

  const open = asyncHandler(async (req, res) => {
    const portal = portalOf(req)
    const { token } = (req.body ?? {}) as { token?: unknown }
    const link = await oneTimeLinks.take(portal, 'break-glass', token)
    if (!link) throw expired()
    const by = { portal, actor: link.detail.actor, clientAddress: req.ip }
    logger.warn(by, 'the classic login was opened to one browser')
    await events.record({ kind: 'break-glass', ...by, detail: { step: 'used' } })
    classicLogin.breakGlass.open(req, res, link.detail.actor)
    res.redirect(303, urls.path('/login'))
  })

  const router = Router()
  router.get(path, ask)
  router.post(path, ...posted, open)
  return router
}
