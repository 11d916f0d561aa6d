import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { CameBy } from '../sessions/session-data.ts'
import type { PortalSessions } from '../sessions/sessions.ts'
import type { SignedOutHere } from '../sign-in/browser-hints.ts'
import { handle } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import { leadOn } from '../web/redirect-page.ts'
import { type PortalOf, wantsPage } from '../web/request.ts'
import type { RoundTrips } from '../web/sealed-cookie.ts'
import type { Addresses } from '../web/urls.ts'
import { type FindProviderLogout, logoutRequest, type ProviderLogout } from './rp-initiated-logout.ts'

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
  signedOutHere: SignedOutHere
}

/**
 * `POST /logout` ends the portal session, then sends the person on to the provider's; `GET /logout` asks first, so that a
 * mere link signs nobody out.
 */
export function createLogoutRoutes(parts: LogoutParts): Router {
  const { addresses, events, findProviderLogout, forgetRegistration } = parts
  const { homePath, pages, portalOf, posted, returns, sessions, signedOutHere } = parts
  const done = addresses.path('/logout/done')

  const ask = handle(async (req, res) => {
    if (!req.user) {
      signedOutHere.set(res)
      return res.redirect(303, done)
    }
    const cameBy = sessions.cameBy(req)
    const there = cameBy && (await findProviderLogout(portalOf(req), cameBy))
    await pages.show(req, res, 'sign-out', {
      action: addresses.path('/logout'),
      cancelHref: homePath,
      provider: there?.provider.displayName,
      chooses: there?.provider.logout === 'ask',
    })
  })

  const end = handle(async (req, res) => {
    forgetRegistration(res)
    // Also of who finds the session over already: the provider knows them all the same.
    signedOutHere.set(res)
    // First, whatever becomes of the provider's.
    const ended = await sessions.end(req)
    if (!ended) return res.redirect(303, done)
    const { portal, userId, cameBy } = ended
    await events.record({
      kind: 'signed-out',
      portal,
      userId,
      provider: cameBy?.provider,
      clientAddress: req.ip,
    })
    const { where } = (req.body ?? {}) as { where?: unknown }
    const there = where !== 'here' && cameBy ? await findProviderLogout(portal, cameBy) : undefined
    if (!there || !cameBy) return res.redirect(303, done)
    const href = await wayThere(res, there, cameBy)
    const { logout, displayName: name } = there.provider
    if (logout === 'ask' && where !== 'there') return await offer(req, res, { name, href })
    // A script follows to where it is led, and comes no further than the portal's own pages let it.
    if (wantsPage(req)) await leadOn(pages, req, res, { href, name })
    else res.status(303).set('location', href).end()
  })

  async function wayThere(res: Response, there: ProviderLogout, { logoutHint }: CameBy): Promise<string> {
    const { displayName, portal } = there.provider
    const state = await returns.begin(res, displayName)
    return logoutRequest(there, { logoutHint, returnUri: addresses.loggedOut(portal), state })
  }

  /** To whoever signed out by a button that did not say where. */
  async function offer(req: Request, res: Response, { name, href }: { name: string; href: string }) {
    await pages.show(req, res, 'signed-out', {
      loginHref: addresses.path('/login'),
      offer: { name, href, declineHref: done },
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
