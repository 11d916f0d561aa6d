import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { providerName } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { FoundAttempt } from '../sign-in/attempts.ts'
import { restartQuery } from '../sign-in/reauthentication.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { type Pages, sendRedirectPage } from '../web/pages.ts'
import { acceptsHtml } from '../web/request.ts'
import type { StateCookie } from '../web/sealed-cookie.ts'
import { type Logout, logoutUrl } from './logout.ts'

/**
 * `POST /logout` ends the portal session, then redirects to the provider's logout. `GET /logout` asks first, so that a link on
 * another site signs nobody out.
 */
// Long: one small handler for each route.
export function logoutRoutes(
  core: Core,
  modules: {
    events: EventLog
    logout: Logout
    logoutState: StateCookie
    pages: Pages
    providersTable: ProvidersTable
    /** parses posts, after refusing those from other sites */
    posted: RequestHandler[]
    sessions: Sessions
    signIn: SignIn
  },
): Router {
  const { homePath, portalOf, urls } = core
  const { events, logout, logoutState, pages, posted, providersTable, sessions, signIn } = modules
  const done = urls.path('/logout/done')
  const loginHref = urls.path('/login')

  const ask = asyncHandler(async (req, res) => {
    if (!req.user) {
      signIn.browserHints.recordSignOut(res)
      return res.redirect(303, done)
    }
    const signedInVia = sessions.signedInVia(req)
    const providerLogout = signedInVia && (await logout.findProviderLogout(portalOf(req), signedInVia))
    await pages.show(req, res, 'sign-out', {
      action: urls.path('/logout'),
      cancelHref: homePath,
      provider: providerLogout && providerName(providerLogout.provider, pages.locale(req)),
      chooses: providerLogout?.provider.logout === 'ask',
    })
  })

  const end = asyncHandler(async (req, res) => {
    signIn.pendingRegistrations.clear(res)
    // Also if the session has expired, because the provider may still know the user.
    signIn.browserHints.recordSignOut(res)
    // The portal's session ends first, whatever happens to the provider's.
    const ended = await sessions.end(req)
    if (!ended) return res.redirect(303, done)
    const { portal, userId, signedInVia } = ended
    const provider = signedInVia?.provider
    await events.record({ kind: 'signed-out', portal, userId, provider, clientAddress: req.ip })
    const { where } = (req.body ?? {}) as { where?: unknown }
    const providerLogout =
      where !== 'here' && signedInVia ? await logout.findProviderLogout(portal, signedInVia) : undefined
    if (!providerLogout || !signedInVia) return res.redirect(303, done)
    const { logout: setting } = providerLogout.provider
    const name = providerName(providerLogout.provider, pages.locale(req))
    const state = logoutState.begin(res, name)
    const { logoutHint } = signedInVia
    const href = await logoutUrl(providerLogout, { logoutHint, returnUri: urls.loggedOut(portal), state })
    if (setting === 'ask' && where !== 'there')
      return await pages.show(req, res, 'signed-out', {
        loginHref,
        offer: { name, href, declineHref: done },
      })
    // A script follows the redirect only as far as the portal's own Content-Security-Policy allows.
    if (acceptsHtml(req)) await sendRedirectPage(pages, req, res, { href, name })
    else res.status(303).set('location', href).end()
  })

  const showDone = asyncHandler(async (req: Request, res: Response) => {
    // The display name of the provider, or the attempt of a user who signed out there to sign in again.
    const provider = logoutState.end(req, res, req.query.state)
    const attempt = provider === undefined ? undefined : signIn.attempts.find(req, provider)
    if (attempt) return await resume(req, res, attempt)
    if (req.user) return res.redirect(303, homePath)
    await pages.show(req, res, 'signed-out', { loginHref, provider })
  })

  /** The path is ours and starts a new attempt: nothing in the provider's response decides where the browser goes. */
  async function resume(req: Request, res: Response, { attempt }: FoundAttempt): Promise<void> {
    const [provider] = await providersTable.listEnabled(portalOf(req), { ids: [attempt.providerId] })
    res.redirect(303, urls.path(provider ? `/login/${provider.slug}` : '/login', restartQuery(attempt)))
  }

  const router = Router()
  router.get('/logout', ask)
  router.post('/logout', ...posted, end)
  router.get('/logout/done', showDone)
  return router
}
