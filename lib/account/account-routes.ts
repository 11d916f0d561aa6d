import { type Request, type Response, Router } from 'express'
import { sessionDigest, sessionDigestPattern } from '../sessions/sessions-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { SECOND } from '../shared/time.ts'
import { satisfies } from '../sign-in/reauthentication.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import { sendRedirectPage } from '../web/pages.ts'
import { accountPage, type Notice } from './account-page.ts'
import { type ConfirmationModules, confirmationPage, confirmationRoutes } from './confirmation-routes.ts'

/** An attacker who took over a session must neither add a sign-in method of their own nor remove the user's. */
const maxAgeSeconds = 15 * 60

const page = '/account/security'

/** `/account/security`: the user's sign-in methods and sessions. */
// Long: one small handler for each route.
export function accountRoutes(core: Core, modules: ConfirmationModules): Router {
  const { urls } = core
  const { account, events, guard, pages, posted, sessions, signIn, providersTable } = modules

  function back(res: Response, notice: Notice): void {
    res.redirect(303, urls.path(page, { notice }))
  }

  const requesterOf = (req: Request) => {
    const user = req.user as User
    return { portal: core.portalOf(req), user, userId: String(user.id) }
  }

  /** After a re-authentication, or another proof, the user returns to the page and has to click again. */
  async function isRecentlyAuthenticated(req: Request, res: Response): Promise<boolean> {
    const requirement = { maxAge: maxAgeSeconds }
    const authentication = sessions.authentication(req)
    if (authentication && satisfies(authentication, requirement)) return true
    const provider = await signIn.reauthentication.sessionProvider(req)
    const returnTo = urls.path(page, { notice: 'confirmed' })
    if (provider?.reauthentication !== 'unreported')
      return await signIn.reauthentication.require(req, res, { ...requirement, returnTo })
    const at = sessions.confirmedAt(req)
    const isConfirmed = at !== undefined && Date.now() - at <= maxAgeSeconds * SECOND
    if (!isConfirmed) res.redirect(303, urls.path(confirmationPage))
    return isConfirmed
  }

  const link = asyncHandler(async (req, res) => {
    const { portal, userId } = requesterOf(req)
    const provider = await providersTable.find(portal, readField(req, 'provider'))
    if (!provider?.enabled)
      throw new PortalSsoError('provider_not_found', 'no enabled provider of this name can be linked')
    if (!(await isRecentlyAuthenticated(req, res))) return
    const href = await signIn.connectedProviders.connect(provider).begin(req, res, {
      purpose: { kind: 'link-account', userId },
      returnTo: undefined,
      // The provider may know another user in this browser.
      otherAccount: true,
    })
    await sendRedirectPage(pages, req, res, { href, name: provider.displayName })
  })

  const unlink = asyncHandler(async (req, res) => {
    if (!(await isRecentlyAuthenticated(req, res))) return
    const { portal, user, userId } = requesterOf(req)
    const unlinked = await account.unlinkMethod(portal, userId, readField(req, 'method'))
    if (typeof unlinked === 'string') return back(res, unlinked)
    const { issuer, subjects, provider } = unlinked
    await events.record({ kind: 'unlinked', portal, userId, provider: provider?.slug, clientAddress: req.ip })
    // Every session that was started with it ends, except the one that sends this request.
    for (const subject of subjects)
      await sessions.endAll({ portal, issuer, subject, except: sessionDigest(req.sessionID) })
    const displayName = provider?.displayName ?? new URL(issuer).host
    signIn.notifications.notify(req, { user, provider: { displayName, portal }, change: 'unlinked' })
    back(res, 'unlinked')
  })

  const endOne = asyncHandler(async (req, res) => {
    const { portal, userId } = requesterOf(req)
    const id = readField(req, 'session')
    // The id alone must not end another user's session.
    if (sessionDigestPattern.test(id)) await recordEnded(req, await sessions.endAll({ portal, id, userId }))
    back(res, 'ended')
  })

  const endOthers = asyncHandler(async (req, res) => {
    const { portal, userId } = requesterOf(req)
    await recordEnded(req, await sessions.endAll({ portal, userId, except: sessionDigest(req.sessionID) }))
    back(res, 'ended')
  })

  async function recordEnded(req: Request, ended: ReadonlyMap<string, number>): Promise<void> {
    const { portal, userId } = requesterOf(req)
    const count = ended.get(userId)
    if (count === undefined) return
    const by = { portal, userId, actor: userId, clientAddress: req.ip }
    await events.record({ kind: 'sessions-ended', ...by, detail: { sessions: count } })
  }

  const router = Router()
  router.get(page, guard, accountPage(core, modules))
  router.use(confirmationRoutes(core, { ...modules, maxAgeSeconds }))
  router.post(`${page}/link`, ...posted, guard, link)
  router.post(`${page}/unlink`, ...posted, guard, unlink)
  router.post(`${page}/end`, ...posted, guard, endOne)
  router.post(`${page}/end-others`, ...posted, guard, endOthers)
  return router
}

function readField(req: Request, name: string): string {
  const value = ((req.body ?? {}) as Record<string, unknown>)[name]
  return typeof value === 'string' && value.length <= 100 ? value : ''
}
