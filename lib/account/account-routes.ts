import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/events.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { EndSessions } from '../sessions/end-sessions.ts'
import type { PortalSessions } from '../sessions/portal-session.ts'
import { idOf } from '../sessions/session-index.ts'
import type { DemandFresh } from '../sign-in/demand-fresh.ts'
import { isFresh } from '../sign-in/freshness.ts'
import type { ProviderStrategies } from '../sign-in/provider-strategies.ts'
import type { Refuse } from '../sign-in/refuse.ts'
import type { TellOwner } from '../sign-in/tell-owner.ts'
import type { SignInMethods } from '../users/sign-in-methods.ts'
import type { User } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import { handle } from '../web/handle.ts'
import { leadOn } from '../web/lead-on.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { accountPage, type Done } from './done.ts'
import { createShowAccount, type ShowAccountParts } from './show-account.ts'

export interface AccountRoutesParts extends ShowAccountParts {
  addresses: Addresses
  demandFresh: DemandFresh
  endSessions: EndSessions
  events: EventLog
  methods: SignInMethods
  pages: Pages
  portalOf: PortalOf
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  refuse: Refuse
  sessions: PortalSessions
  strategies: ProviderStrategies
  table: ProvidersTable
  tellOwner: TellOwner
}

/** seconds since the person showed who they are: a session that was left open, or stolen, is to change no way in */
const recent = { maxAge: 15 * 60 }

/**
 * Mounted at `/account/security`, behind a guard: my sign-in methods and my sessions. All that is named in a post is looked for
 * among what belongs to the signed-in user.
 */
export function createAccountRoutes(parts: AccountRoutesParts): Router {
  const { addresses, demandFresh, endSessions, events, methods, pages, portalOf, posted } = parts
  const { refuse, sessions, strategies, table, tellOwner } = parts
  const show = createShowAccount(parts)

  const back = (res: Response, done?: Done) => res.redirect(303, accountPage(addresses, done))

  function isRecent(req: Request): boolean {
    const authentication = sessions.authentication(req)
    return authentication !== undefined && isFresh(authentication, recent)
  }

  /** By a link, not within a post: Chrome would stop that on its way to the provider, see lead-on.ts. */
  async function confirm(req: Request, res: Response): Promise<void> {
    const returnTo = accountPage(addresses, 'confirmed')
    if (await demandFresh(req, res, { ...recent, returnTo })) back(res, 'confirmed')
  }

  async function link(req: Request, res: Response): Promise<void> {
    const portal = portalOf(req)
    const provider = await table.find(portal, textOf(req, 'provider'))
    if (!provider?.enabled) return back(res, 'unavailable')
    const { displayName, slug } = provider
    const returnTo = accountPage(addresses)
    try {
      const href = await strategies.begin(req, res, provider, {
        returnTo,
        otherAccount: true,
        proving: undefined,
        linking: userOf(req),
      })
      await leadOn(pages, req, res, { href, name: displayName })
    } catch (error) {
      await refuse(req, res, error, { portal, provider: slug, row: provider, back: returnTo })
    }
  }

  async function unlink(req: Request, res: Response): Promise<void> {
    const portal = portalOf(req)
    const userId = userOf(req)
    const gone = await methods.unlink(portal, userId, textOf(req, 'id'))
    if (gone === 'last') return back(res, 'last')
    // Another tab was faster.
    if (gone === 'unknown') return back(res, 'unlinked')
    const { issuer, subject, provider } = gone
    // Whoever comes in by it just now looks once more whether it is linked, see admit.ts.
    await endSessions({ portal, issuer, subject, except: idOf(req.sessionID) })
    await events.record({
      kind: 'unlinked',
      portal,
      userId,
      provider: provider?.slug,
      clientAddress: req.ip,
    })
    const told = { change: 'unlinked', portal, user: req.user as User } as const
    tellOwner(req, { ...told, provider: provider?.displayName ?? new URL(issuer).host })
    back(res, 'unlinked')
  }

  const endOne = (req: Request, res: Response) =>
    end(req, res, { id: textOf(req, 'id'), userId: userOf(req) }, 'ended')
  const endOthers = (req: Request, res: Response) =>
    end(req, res, { userId: userOf(req), except: idOf(req.sessionID) }, 'others')

  async function end(
    req: Request,
    res: Response,
    which: { id: string; userId: string } | { userId: string; except: string },
    done: Done,
  ): Promise<void> {
    const portal = portalOf(req)
    const { userId } = which
    const ended = [...(await endSessions({ portal, ...which })).values()].reduce((sum, some) => sum + some, 0)
    if (ended > 0)
      await events.record({
        kind: 'sessions-ended',
        portal,
        userId,
        by: userId,
        clientAddress: req.ip,
        detail: { sessions: ended },
      })
    back(res, done)
  }

  const ifRecent = (act: typeof link) =>
    handle(async (req, res) => (isRecent(req) ? await act(req, res) : back(res, 'confirm')))

  const router = Router()
  router.get(
    '/',
    handle((req, res) => show(req, res, isRecent(req))),
  )
  router.get('/confirm', handle(confirm))
  router.post('/link', ...posted, ifRecent(link))
  router.post('/unlink', ...posted, ifRecent(unlink))
  router.post('/end', ...posted, handle(endOne))
  router.post('/end-others', ...posted, handle(endOthers))
  return router
}

function userOf(req: Request): string {
  return String((req.user as User).id)
}

function textOf(req: Request, field: string): string {
  const value = (req.body as Record<string, unknown> | undefined)?.[field]
  return typeof value === 'string' ? value : ''
}
