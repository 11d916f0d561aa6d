import { type Request, type Response, Router } from 'express'
import type { CodeFailure } from '../events/event-types.ts'
import { MailError } from '../mail/mail.ts'
import { sendCodeMail } from '../mail/mails.ts'
import { providerName } from '../providers/provider.ts'
import { PortalSsoError } from '../shared/errors.ts'
import {
  type PendingRegistration,
  type RegistrationStep,
  registrationEmail,
  type VerificationCode,
} from '../sign-in/pending-registration.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { isProvedBy } from './account-link-routes.ts'
import { codeMinutes, provableEmail, readCode } from './email-verification.ts'
import { codeError, type FormError } from './email-verification-pages.ts'
import type { EmailVerification, RegistrationRouteModules } from './registrations.ts'

/**
 * `POST /register/code` sends a code, `POST /register/verify` checks it. Only a post from our own page sends a mail, so that an
 * attacker cannot fill a mailbox with a link or an image.
 */
// Long: one small handler for each route.
export function emailVerificationRoutes(
  core: Core,
  modules: RegistrationRouteModules & { emailVerification: EmailVerification },
): Router {
  const { urls } = core
  const { emailVerification, events, pages, posted, refusalLog, registration, signIn } = modules
  const { pendingRegistrations } = signIn

  /** @returns false if the records of this client are used up */
  async function record(req: Request, pending: PendingRegistration, outcome: Outcome): Promise<boolean> {
    const { portal, provider } = pending
    if (!refusalLog.admits(req, portal)) return false
    await events.record({ ...outcome, portal, provider, clientAddress: req.ip })
    return true
  }

  function toNextStep(req: Request, res: Response, parameters?: Record<string, string>): void {
    res.redirect(303, urls.path(req.user ? '/register/link' : '/register', parameters))
  }

  async function send(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { pending } = step
    const user = req.user as User | undefined
    if (!user && registrationEmail(pending) !== undefined) return toNextStep(req, res)
    // A signed-in user proves the address of their account, never another one.
    const typed = user ? user.email : readField(req, 'email')
    const showError = (error: FormError) =>
      emailVerification.pages.show(req, res, step, { view: 'address', typed, error })
    const email = provableEmail(typed)
    const draft = registration.readDraft(req, pending)
    if (email === undefined) {
      pendingRegistrations.save(res, { ...pending, draft })
      return await showError({ sentence: 'emailInvalid', status: 422 })
    }
    const sent = await sendCode(req, step, email)
    if (sent === 'mail-failed') return await showError({ sentence: 'mailFailed', status: 502 })
    if (sent === 'too-many') {
      const error: FormError = { sentence: 'tooMany', status: 429 }
      // The last code stays valid, so its page shows.
      if (!pending.sent) return await showError(error)
      const { email } = pending.sent
      return await emailVerification.pages.show(req, res, step, { view: 'verify', email, error })
    }
    pendingRegistrations.save(res, { ...pending, draft, sent })
    const isNew = sent.id !== pending.sent?.id
    toNextStep(req, res, pending.sent && isNew ? { sent: 'again' } : undefined)
  }

  async function sendCode(
    req: Request,
    { pending, provider }: RegistrationStep,
    email: string,
  ): Promise<VerificationCode | 'too-many' | 'mail-failed'> {
    const deliver = async (code: string) => {
      const locale = pages.locale(req)
      const mail = { to: email, code, provider: providerName(provider, locale), minutes: codeMinutes }
      await sendCodeMail(emailVerification.mail, locale, mail)
      await record(req, pending, { kind: 'email-code-sent' })
    }
    try {
      const sent = await emailVerification.codes.send(pending, email, deliver)
      if (!sent) await record(req, pending, failure('too-many'))
      return sent ?? 'too-many'
    } catch (error) {
      if (!(error instanceof MailError)) throw error
      const entry = { portal: pending.portal, provider: provider.slug, cause: error.message }
      if (await record(req, pending, failure('mail-failed'))) core.logger.error(entry, 'no code was sent')
      return 'mail-failed'
    }
  }

  async function verify(req: Request, res: Response, step: RegistrationStep): Promise<void> {
    const { pending } = step
    const { sent } = pending
    if (!sent) return toNextStep(req, res)
    const typed = readField(req, 'code')
    const { email } = sent
    const showError = (error: FormError) =>
      emailVerification.pages.show(req, res, step, { view: 'verify', email, typed, error })
    const code = readCode(typed)
    if (code === undefined) return await showError({ sentence: 'codeMalformed', status: 422 })
    const verdict = await emailVerification.codes.verify(pending, sent, code)
    if (verdict.result === 'proven') {
      await record(req, pending, { kind: 'email-verified' })
      if (!req.user) return await applyDecision(req, res, step, email)
      pendingRegistrations.save(res, { ...pending, sent: undefined, provenEmail: email })
      return toNextStep(req, res)
    }
    await record(req, pending, failure(verdict.result))
    const error = codeError(verdict)
    // A new code can be sent at once.
    if (error.sentence === 'codeOver') {
      pending.sent = { ...sent, at: 0 }
      pendingRegistrations.save(res, pending)
    }
    await showError(error)
  }

  /** Only here can a pending registration sign in an existing user: with a code that was entered in this request. */
  async function applyDecision(
    req: Request,
    res: Response,
    { pending, provider }: RegistrationStep,
    provenEmail: string,
  ): Promise<void> {
    const { identity, returnTo } = pending
    const { decision, staleUserId } = await signIn.resolver.resolve(identity, provider, { provenEmail })
    switch (decision.kind) {
      case 'link': {
        const { relinked, user, proof } = decision
        // The code proves an address, not the Entra account in a cookie that may be 30 minutes old.
        if (relinked) return await registration.restart(req, res, pending)
        const result = { provider, identity, user, proof, outcome: 'linked', staleUserId, returnTo } as const
        return await signIn.completion.completeSignIn(req, res, result)
      }
      case 'prove-account':
        await signIn.completion.recordWaiting(req, provider, identity, String(decision.user.id))
        pendingRegistrations.save(res, { ...pending, sent: undefined, mustProveAccount: true })
        return toNextStep(req, res)
      case 'register':
        pendingRegistrations.save(res, { ...pending, sent: undefined, provenEmail })
        return toNextStep(req, res)
      case 'sign-in':
        return await registration.restart(req, res, pending)
      case 'refuse':
        pendingRegistrations.clear(res)
        throw new PortalSsoError(decision.reason, 'the portal does not admit this user')
      case 'verify-email':
        throw new PortalSsoError('email_unverified', 'the verified address was not accepted')
    }
  }

  /** For a new user, or for a signed-in user who adds a sign-in method and has to prove their own address first. */
  const step = (act: typeof send) =>
    registration.step(async (req, res, pending) => {
      if (pending.pending.requestedByUser && !req.user)
        throw new PortalSsoError('registration_expired', 'the user has signed out since')
      await act(req, res, pending)
    }, isProvedBy)

  const router = Router()
  router.post('/register/code', ...posted, step(send))
  router.post('/register/verify', ...posted, step(verify))
  return router
}

type Outcome =
  | { kind: 'email-code-sent' | 'email-verified' }
  | { kind: 'email-code-failed'; detail: { reason: CodeFailure } }

function failure(reason: CodeFailure): Outcome {
  return { kind: 'email-code-failed', detail: { reason } }
}

export function readField(req: Request, field: string): string {
  const value = (req.body as Record<string, unknown> | undefined)?.[field]
  return typeof value === 'string' ? value : ''
}
