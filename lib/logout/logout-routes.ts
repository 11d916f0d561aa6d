import { type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/events.ts'
import type { PortalSessions } from '../sessions/portal-session.ts'
import type { Addresses } from '../web/addresses.ts'
import { handle } from '../web/handle.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'

export interface LogoutParts {
  addresses: Addresses
  events: EventLog
  homePath: string
  /** takes away a registration that waits in this browser, so that the next person does not find it */
  forgetNewcomer: (res: Response) => void
  pages: Pages
  portalOf: PortalOf
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  sessions: PortalSessions
}

/** `POST /logout` ends the portal session; `GET /logout` asks first, so that a mere link signs nobody out. */
export function createLogoutRoutes(parts: LogoutParts): Router {
  const { addresses, events, forgetNewcomer, homePath, pages, portalOf, posted, sessions } = parts
  const done = addresses.path('/logout/done')

  const router = Router()
  router.get(
    '/logout',
    handle(async (req, res) => {
      if (!req.user) return res.redirect(303, done)
      await pages.show(req, res, 'sign-out', { action: addresses.path('/logout'), cancelHref: homePath })
    }),
  )
  router.post(
    '/logout',
    ...posted,
    handle(async (req, res) => {
      forgetNewcomer(res)
      const ended = await sessions.end(req)
      const about = { portal: portalOf(req), clientAddress: req.ip }
      if (ended) await events.record({ kind: 'signed-out', ...about, ...ended })
      res.redirect(303, done)
    }),
  )
  router.get(
    '/logout/done',
    handle(async (req, res) => {
      if (req.user) return res.redirect(303, homePath)
      await pages.show(req, res, 'signed-out', { loginHref: addresses.path('/login') })
    }),
  )
  return router
}
