import { type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/events.ts'
import type { CameBy, PortalSessions } from '../sessions/portal-session.ts'
import type { Addresses } from '../web/addresses.ts'
import { handle } from '../web/handle.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'
import type { RoundTrips } from '../web/round-trips.ts'
import { type FindProviderLogout, logoutRequest } from './provider-logout.ts'

export interface LogoutParts {
  addresses: Addresses
  events: EventLog
  findProviderLogout: FindProviderLogout
  homePath: string
  /** takes away a registration that waits in this browser, so that the next person does not find it */
  forgetRegistration: (res: Response) => void
  pages: Pages
  portalOf: PortalOf
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  returns: RoundTrips
  sessions: PortalSessions
}

/**
 * `POST /logout` ends the portal session, then sends the person on to the provider's; `GET /logout` asks first, so that a
 * mere link signs nobody out.
 */
export function createLogoutRoutes(parts: LogoutParts): Router {
  const { addresses, events, findProviderLogout, forgetRegistration } = parts
  const { homePath, pages, portalOf, posted, returns, sessions } = parts
  const done = addresses.path('/logout/done')

  const ask = handle(async (req, res) => {
    if (!req.user) return res.redirect(303, done)
    const cameBy = sessions.cameBy(req)
    const there = cameBy && (await findProviderLogout(portalOf(req), cameBy))
    await pages.show(
      req,
      res,
      'sign-out',
      { action: addresses.path('/logout'), cancelHref: homePath, provider: there?.provider.displayName },
      200,
      there ? [there.endpoint.origin] : [],
    )
  })

  const end = handle(async (req, res) => {
    forgetRegistration(res)
    // First, whatever becomes of the provider's.
    const ended = await sessions.end(req)
    if (!ended) return res.redirect(303, done)
    const { userId, cameBy } = ended
    const portal = portalOf(req)
    await events.record({
      kind: 'signed-out',
      portal,
      userId,
      provider: cameBy?.provider,
      clientAddress: req.ip,
    })
    const { here } = (req.body ?? {}) as { here?: unknown }
    res.redirect(303, (here === undefined && cameBy && (await toProvider(res, portal, cameBy))) || done)
  })

  async function toProvider(res: Response, portal: string, cameBy: CameBy): Promise<string | undefined> {
    const there = await findProviderLogout(portal, cameBy)
    if (!there) return undefined
    const state = await returns.begin(res, there.provider.displayName)
    return logoutRequest(there, {
      logoutHint: cameBy.logoutHint,
      returnUri: addresses.loggedOut(portal),
      state,
    })
  }

  const tell = handle(async (req, res) => {
    if (req.user) return res.redirect(303, homePath)
    const provider = await returns.end(req, res, req.query.state)
    await pages.show(req, res, 'signed-out', { loginHref: addresses.path('/login'), provider })
  })

  const router = Router()
  router.get('/logout', ask)
  router.post('/logout', ...posted, end)
  router.get('/logout/done', tell)
  return router
}
