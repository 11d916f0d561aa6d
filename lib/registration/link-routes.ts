import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/events.ts'
import type { Provider } from '../providers/provider.ts'
import { link } from '../sign-in/link.ts'
import type { LookUp } from '../sign-in/look-up.ts'
import type { TellMethods } from '../sign-in/tell-methods.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { User } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Pages } from '../web/pages.ts'
import { accountOf, type PendingRegistration, type PendingRegistrations } from './pending-registration.ts'
import type { WithPending } from './with-pending.ts'

export interface LinkRoutesParts {
  addresses: Addresses
  events: EventLog
  homePath: string
  identities: IdentitiesTable
  lookUp: LookUp
  pages: Pages
  pendings: PendingRegistrations
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  tellMethods: TellMethods
  withPending: WithPending
}

/**
 * `GET|POST /register/link`: who proved to be a user by signing in the usual way says whether the waiting identity is theirs.
 *
 * Asked, never assumed: on a shared machine the waiting identity may be somebody else's, who left the proof page open for the
 * next person to sign in on, and would from then on come in as that person.
 */
export function createLinkRoutes(parts: LinkRoutesParts): Router {
  const { addresses, events, homePath, identities, lookUp, pages, pendings, posted } = parts
  const { tellMethods, withPending } = parts

  async function ask(req: Request, res: Response, pending: PendingRegistration, provider: Provider) {
    await pages.show(req, res, 'link', {
      action: addresses.path('/register/link'),
      user: req.user as User,
      provider: { displayName: provider.displayName },
      account: accountOf(pending),
      registration: pending.id,
      asked: pending.asked === true,
    })
  }

  async function answer(req: Request, res: Response, pending: PendingRegistration, provider: Provider) {
    const { asked, id, identity, portal, returnTo } = pending
    const { answer: said, registration = id } = (req.body ?? {}) as Record<string, unknown>
    // Of two tabs both show what waited when they were opened: a yes is for what its page named, which may wait no more.
    if (registration !== id) return res.redirect(303, addresses.path('/register/link'))
    pendings.clear(res)
    // Anything but a clear yes is a no.
    if (said === 'link') {
      const user = req.user as User
      const userId = String(user.id)
      const { gone } = await lookUp(identity, portal)
      if (await link(identities, { provider, identity, userId }, gone)) {
        await events.record({
          kind: 'linked',
          portal,
          userId,
          provider: provider.slug,
          clientAddress: req.ip,
        })
        tellMethods(req, { user, provider, what: 'linked' })
      }
      if (asked) return res.redirect(303, addresses.path('/account/security', { said: 'linked' }))
    }
    res.redirect(303, returnTo ?? homePath)
  }

  const forItsUser = (act: typeof answer) =>
    withPending(async (req, res, pending, provider) => {
      if (!req.user)
        return res.redirect(303, addresses.path(pending.asked ? '/account/security' : '/register'))
      await act(req, res, pending, provider)
    }, isProvenBy)

  const router = Router()
  router.get('/register/link', forItsUser(ask))
  router.post('/register/link', ...posted, forItsUser(answer))
  return router
}

function isProvenBy(user: Express.User, { provenBy }: PendingRegistration): boolean {
  return provenBy === String((user as User).id)
}
