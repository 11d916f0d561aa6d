import { type Request, type Response, Router } from 'express'
import { accountLabel, type RegistrationStep } from '../sign-in/pending-registration.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { RegistrationRouteModules } from './registrations.ts'

/**
 * `GET|POST /register/link`: a user who proved their account says whether the pending identity is theirs. On a shared machine
 * another user may have left it there, and could sign in to this account from then on.
 */
export function accountLinkRoutes(core: Core, modules: RegistrationRouteModules): Router {
  const { homePath, urls } = core
  const { pages, posted, registration, signIn } = modules

  async function ask(req: Request, res: Response, { pending, provider }: RegistrationStep): Promise<void> {
    await pages.show(req, res, 'link', {
      action: urls.path('/register/link'),
      user: req.user as User,
      provider: { displayName: provider.displayName },
      account: accountLabel(pending),
      registration: pending.id,
      asked: pending.requestedByUser === true,
    })
  }

  async function answer(req: Request, res: Response, { pending, provider }: RegistrationStep): Promise<void> {
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

  const forProvedUser = (act: typeof answer) => {
    const actOrLeave: typeof answer = async (req, res, step) => {
      const page = step.pending.requestedByUser ? '/account/security' : '/register'
      if (req.user) await act(req, res, step)
      else res.redirect(303, urls.path(page))
    }
    return registration.step(actOrLeave, (user, { provedUserId }) => provedUserId === String(user.id))
  }

  const router = Router()
  router.get('/register/link', forProvedUser(ask))
  router.post('/register/link', ...posted, forProvedUser(answer))
  return router
}
