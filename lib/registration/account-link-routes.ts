import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { Provider } from '../providers/provider.ts'
import { accountLabel, type PendingRegistration } from '../sign-in/pending-registration.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'
import type { Registrations } from './registrations.ts'

/**
 * `GET|POST /register/link`: a user who proved their account says whether the pending identity is theirs. On a shared machine
 * another user may have left it there, and could sign in to this account from then on.
 */
// Long: one small handler for each route.
export function accountLinkRoutes(
  core: Core,
  modules: {
    pages: Pages
    /** parses posts, after refusing those from other sites */
    posted: RequestHandler[]
    registration: Registrations
    signIn: SignIn
  },
): Router {
  const { homePath, urls } = core
  const { pages, posted, registration, signIn } = modules

  async function ask(req: Request, res: Response, pending: PendingRegistration, provider: Provider) {
    await pages.show(req, res, 'link', {
      action: urls.path('/register/link'),
      user: req.user as User,
      provider: { displayName: provider.displayName },
      account: accountLabel(pending),
      registration: pending.id,
      asked: pending.requestedByUser === true,
    })
  }

  async function answer(req: Request, res: Response, pending: PendingRegistration, provider: Provider) {
    const { requestedByUser, id, identity, portal, returnTo } = pending
    const { answer, registration: confirmedId = id } = (req.body ?? {}) as Record<string, unknown>
    // With two tabs, a page may name a registration that has been replaced: the consent is only for that one.
    if (confirmedId !== id) return res.redirect(303, urls.path('/register/link'))
    signIn.pendingRegistrations.clear(res)
    // Anything but an explicit yes is a no.
    if (answer === 'link') {
      const user = req.user as User
      const { staleUserId } = await signIn.resolver.resolve(identity, portal)
      await signIn.completion.link(req, { provider, identity, user, outcome: 'linked', staleUserId })
      if (requestedByUser) return res.redirect(303, urls.path('/account/security', { notice: 'linked' }))
    }
    res.redirect(303, returnTo ?? homePath)
  }

  const forProvedUser = (act: typeof answer) =>
    registration.step(async (req, res, pending, provider) => {
      if (!req.user)
        return res.redirect(303, urls.path(pending.requestedByUser ? '/account/security' : '/register'))
      await act(req, res, pending, provider)
    }, isProvedBy)

  const router = Router()
  router.get('/register/link', forProvedUser(ask))
  router.post('/register/link', ...posted, forProvedUser(answer))
  return router
}

function isProvedBy(user: Express.User, { provedUserId }: PendingRegistration): boolean {
  return provedUserId === String((user as User).id)
}
