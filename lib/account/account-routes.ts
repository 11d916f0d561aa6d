import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { type Provider, slugSchema } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { sessionDigest, sessionDigestPattern } from '../sessions/sessions-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { ProviderStrategies } from '../sign-in/connected-providers.ts'
import type { NotifySignInMethodChange } from '../sign-in/notify-sign-in-method.ts'
import type { RequireReauthentication } from '../sign-in/reauthentication.ts'
import type { User } from '../users/user-directory.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import { sendRedirectPage } from '../web/redirect-page.ts'
import type { PortalResolver } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import { type Notice, noticeOf, type ShowAccountPage } from './account-page.ts'
import type { SignInMethods } from './sign-in-methods.ts'

export interface AccountParts {
  urls: PortalUrls
  requireReauthentication: RequireReauthentication
  events: EventLog
  /** lets signed-in users pass */
  guard: RequestHandler
  methods: SignInMethods
  pages: Pages
  portalOf: PortalResolver
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  sessions: Sessions
  showAccountPage: ShowAccountPage
  strategies: ProviderStrategies
  table: ProvidersTable
  notifySignInMethodChange: NotifySignInMethodChange
}

/** seconds: who took over a session must not make it last for ever by a way in of their own, nor take away the person's */
const freshEnough = 15 * 60

/** `/account/security`: how somebody signs in, and where they are signed in. */
export function createAccountRoutes(parts: AccountParts): Router {
  const { urls, requireReauthentication, events, guard, methods, sessions } = parts
  const { pages, portalOf, posted, showAccountPage, strategies, table, notifySignInMethodChange } = parts
  const page = '/account/security'

  const show = asyncHandler(async (req, res) => await showAccountPage(req, res, noticeOf(req.query.said)))

  const back = (res: Response, notice: Notice) => res.redirect(303, urls.path(page, { said: notice }))

  /** Who has to show who they are comes back to the page, and clicks once more. */
  async function meetsRequirement(req: Request, res: Response): Promise<boolean> {
    return await requireReauthentication(req, res, {
      maxAge: freshEnough,
      returnTo: urls.path(page, { said: 'confirmed' }),
    })
  }

  const link = asyncHandler(async (req, res) => {
    const provider = await enabledOf(req)
    if (!(await meetsRequirement(req, res))) return
    const { userId } = whoOf(req)
    const href = await strategies.begin(req, res, provider, {
      returnTo: undefined,
      // Whom the provider knows in this browser may be somebody else.
      otherAccount: true,
      proving: undefined,
      linking: userId,
    })
    await sendRedirectPage(pages, req, res, { href, name: provider.displayName })
  })

  async function enabledOf(req: Request): Promise<Provider> {
    const slug = slugSchema.safeParse(fieldOf(req, 'provider')).data
    const provider = slug === undefined ? undefined : await table.find(portalOf(req), slug)
    if (!provider?.enabled)
      throw new PortalSsoError('provider_unknown', 'no enabled provider of such a name is to be linked')
    return provider
  }

  const unlink = asyncHandler(async (req, res) => {
    if (!(await meetsRequirement(req, res))) return
    const { portal, user, userId } = whoOf(req)
    const unlinked = await methods.unlink(portal, userId, fieldOf(req, 'method'))
    if (typeof unlinked === 'string') return back(res, unlinked)
    const { issuer, subjects, provider } = unlinked
    await events.record({ kind: 'unlinked', portal, userId, provider: provider?.slug, clientAddress: req.ip })
    // Every session that was started with it ends, except the one that sends this request.
    for (const subject of subjects)
      await sessions.endAll({ portal, issuer, subject, except: sessionDigest(req.sessionID) })
    const displayName = provider?.displayName ?? new URL(issuer).host
    notifySignInMethodChange(req, { user, provider: { displayName, portal }, what: 'unlinked' })
    back(res, 'unlinked')
  })

  const endOne = asyncHandler(async (req, res) => {
    const { portal, userId } = whoOf(req)
    const id = fieldOf(req, 'session')
    // Never anybody else's: the id alone names no session.
    if (sessionDigestPattern.test(id)) await noteEnded(req, await sessions.endAll({ portal, id, userId }))
    back(res, 'ended')
  })

  const endOthers = asyncHandler(async (req, res) => {
    const { portal, userId } = whoOf(req)
    await noteEnded(req, await sessions.endAll({ portal, userId, except: sessionDigest(req.sessionID) }))
    back(res, 'ended')
  })

  async function noteEnded(req: Request, ended: ReadonlyMap<string, number>): Promise<void> {
    const { portal, userId } = whoOf(req)
    const count = ended.get(userId)
    if (count === undefined) return
    const clientAddress = req.ip
    await events.record({
      kind: 'sessions-ended',
      portal,
      userId,
      actor: userId,
      clientAddress,
      detail: { sessions: count },
    })
  }

  function whoOf(req: Request): { portal: string; user: User; userId: string } {
    const user = req.user as User
    return { portal: portalOf(req), user, userId: String(user.id) }
  }

  const router = Router()
  router.get(page, guard, show)
  router.post(`${page}/link`, ...posted, guard, link)
  router.post(`${page}/unlink`, ...posted, guard, unlink)
  router.post(`${page}/end`, ...posted, guard, endOne)
  router.post(`${page}/end-others`, ...posted, guard, endOthers)
  return router
}

function fieldOf(req: Request, name: string): string {
  const value = ((req.body ?? {}) as Record<string, unknown>)[name]
  return typeof value === 'string' && value.length <= 100 ? value : ''
}
