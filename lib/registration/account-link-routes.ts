import { type Request, type Response, Router } from 'express'
import { providerName } from '../providers/provider.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { digest } from '../shared/seal.ts'
import type { Proof } from '../sign-in/decide.ts'
import {
  accountLabel,
  type PendingRegistration,
  type RegistrationStep,
} from '../sign-in/pending-registration.ts'
import { addressOf, type User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { RegistrationRouteModules } from './registrations.ts'

/**
 * `GET|POST /register/link`: a user who proved their account says whether the pending identity is theirs. On a shared machine
 * another user may have left it there, and could sign in to this account from then on.
 */
// Long: one small handler for each route.
export function accountLinkRoutes(core: Core, modules: RegistrationRouteModules): Router {
  const { homePath, urls } = core
  const { pages, posted, registration, sessions, signIn, users } = modules

  /**
   * An attacker may have registered the user's address by the classic login before them. A session without a proof of the address
   * must not add a sign-in method, unless the user enters a code that was sent to the address.
   */
  async function proofOf(req: Request, pending: PendingRegistration): Promise<Proof> {
    const { identity, portal, provenEmail } = pending
    const user = req.user as User
    const email = addressOf(user)
    if ([identity.emailTrusted && identity.email, provenEmail].includes(email)) return 'new'
    const via = sessions.signedInVia(req)
    const link = via && (await users.identities.findLink(portal, via))
    const isProven = link?.userId === String(user.id) && link.provenEmails.includes(email)
    return isProven ? 'earlier' : 'none'
  }

  /** A thief of the session may have kept the cookie of a method that the user has removed in the meantime. */
  async function assertNotRemovedSince(user: User, { identity, portal }: PendingRegistration): Promise<void> {
    const { id } = user
    const removed = (await users.blocked.find(portal, identity)).some(
      ({ blockedAt, reason, userId }) =>
        reason === 'removed' && userId === String(id) && Date.parse(blockedAt) > identity.askedAt,
    )
    if (removed)
      throw new PortalSsoError('method_removed', 'the method was removed after this attempt had started')
  }

  async function askForCode(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const verification = registration.emailVerification?.pages
    if (!verification)
      throw new PortalSsoError(
        'email_unverified',
        'the session has no proof of the address, and there is no mailer',
      )
    const email = step.pending.sent?.email
    await verification.show(req, res, step, { view: email === undefined ? 'address' : 'verify', email })
  }

  async function ask(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { pending, provider } = step
    if ((await proofOf(req, pending)) === 'none') return await askForCode(req, res, step)
    await pages.show(req, res, 'link', {
      action: urls.path('/register/link'),
      user: req.user as User,
      provider: { displayName: providerName(provider, pages.locale(req)) },
      account: accountLabel(pending),
      registration: pending.id,
      asked: pending.requestedByUser === true,
    })
  }

  async function answer(req: Request, res: Response, { pending, provider }: RegistrationStep): Promise<void> {
    const { requestedByUser, id, identity, returnTo } = pending
    const { answer, registration: confirmedId = id } = (req.body ?? {}) as Record<string, unknown>
    // With two tabs, a page may name a registration that has been replaced: the consent is only for that one.
    if (confirmedId !== id) return res.redirect(303, urls.path('/register/link'))
    const proof = await proofOf(req, pending)
    if (proof === 'none') return res.redirect(303, urls.path('/register/link'))
    signIn.pendingRegistrations.clear(res)
    // Anything but an explicit yes is a no.
    if (answer === 'link') {
      const user = req.user as User
      await assertNotRemovedSince(user, pending)
      const { staleUserId } = await signIn.resolver.resolve(identity, provider)
      const keptSession = digest(req.sessionID)
      const link = { provider, identity, user, outcome: 'linked', proof, staleUserId, keptSession } as const
      await signIn.completion.link(req, link)
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
    return registration.step(actOrLeave, isProvedBy)
  }

  const router = Router()
  router.get('/register/link', forProvedUser(ask))
  router.post('/register/link', ...posted, forProvedUser(answer))
  return router
}

export function isProvedBy({ id }: User, { provedUserId }: PendingRegistration): boolean {
  return provedUserId === String(id)
}
