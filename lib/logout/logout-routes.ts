import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { SignedInVia } from '../sessions/session-data.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { SignedOutMarker } from '../sign-in/browser-hints.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import { sendRedirectPage } from '../web/redirect-page.ts'
import { acceptsHtml, type PortalResolver } from '../web/request.ts'
import type { StateCookie } from '../web/sealed-cookie.ts'
import type { PortalUrls } from '../web/urls.ts'
import { type FindProviderLogout, logoutRequest, type ProviderLogout } from './rp-initiated-logout.ts'

export interface LogoutParts {
  urls: PortalUrls
  events: EventLog
  findProviderLogout: FindProviderLogout
  homePath: string
  /** takes away a registration that waits in this browser, so that the next person does not find it */
  clearPendingRegistration: (res: Response) => void
  pages: Pages
  portalOf: PortalResolver
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  returns: StateCookie
  sessions: Sessions
  signedOutMarker: SignedOutMarker
}

/**
 * `POST /logout` ends the portal session, then sends the person on to the provider's; `GET /logout` asks first, so that a
 * mere link signs nobody out.
 */
export function createLogoutRoutes(parts: LogoutParts): Router {
  const { urls, events, findProviderLogout, clearPendingRegistration } = parts
  const { homePath, pages, portalOf, posted, returns, sessions, signedOutMarker } = parts
  const done = urls.path('/logout/done')

  const ask = asyncHandler(async (req, res) => {
    if (!req.user) {
      signedOutMarker.set(res)
      return res.redirect(303, done)
    }
    const signedInVia = sessions.signedInVia(req)
    const there = signedInVia && (await findProviderLogout(portalOf(req), signedInVia))
    await pages.show(req, res, 'sign-out', {
      action: urls.path('/logout'),
      cancelHref: homePath,
      provider: there?.provider.displayName,
      chooses: there?.provider.logout === 'ask',
    })
  })

  const end = asyncHandler(async (req, res) => {
    clearPendingRegistration(res)
    // Also of who finds the session over already: the provider knows them all the same.
    signedOutMarker.set(res)
    // First, whatever becomes of the provider's.
    const ended = await sessions.end(req)
    if (!ended) return res.redirect(303, done)
    const { portal, userId, signedInVia } = ended
    await events.record({
      kind: 'signed-out',
      portal,
      userId,
      provider: signedInVia?.provider,
      clientAddress: req.ip,
    })
    const { where } = (req.body ?? {}) as { where?: unknown }
    const there = where !== 'here' && signedInVia ? await findProviderLogout(portal, signedInVia) : undefined
    if (!there || !signedInVia) return res.redirect(303, done)
    const href = await wayThere(res, there, signedInVia)
    const { logout, displayName: name } = there.provider
    if (logout === 'ask' && where !== 'there') return await offer(req, res, { name, href })
    // A script follows to where it is led, and comes no further than the portal's own pages let it.
    if (acceptsHtml(req)) await sendRedirectPage(pages, req, res, { href, name })
    else res.status(303).set('location', href).end()
  })

  async function wayThere(
    res: Response,
    there: ProviderLogout,
    { logoutHint }: SignedInVia,
  ): Promise<string> {
    const { displayName, portal } = there.provider
    const state = await returns.begin(res, displayName)
    return logoutRequest(there, { logoutHint, returnUri: urls.loggedOut(portal), state })
  }

  /** To whoever signed out by a button that did not say where. */
  async function offer(req: Request, res: Response, { name, href }: { name: string; href: string }) {
    await pages.show(req, res, 'signed-out', {
      loginHref: urls.path('/login'),
      offer: { name, href, declineHref: done },
    })
  }

  const tell = asyncHandler(async (req, res) => {
    if (req.user) return res.redirect(303, homePath)
    const provider = await returns.end(req, res, req.query.state)
    await pages.show(req, res, 'signed-out', { loginHref: urls.path('/login'), provider })
  })

  const router = Router()
  router.get('/logout', ask)
  router.post('/logout', ...posted, end)
  router.get('/logout/done', tell)
  return router
}
