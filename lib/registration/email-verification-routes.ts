import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { type Mail, MailError } from '../mail/mail.ts'
import { sendCodeMail } from '../mail/verification-code-mail.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { CompleteSignIn } from '../sign-in/complete-sign-in.ts'
import type { ResolveIdentity } from '../sign-in/decide.ts'
import {
  accountLabel,
  addressOf,
  type PendingRegistration,
  type PendingRegistrations,
  type RestartSignIn,
  type VerificationCode,
  type WithPending,
} from '../sign-in/pending-registration.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalUrls } from '../web/urls.ts'
import { codeMinutes, type EmailVerifications, provableEmail, readCode } from './email-verification.ts'

export interface EmailVerificationPagesParts {
  urls: PortalUrls
  pages: Pages
  table: ProvidersTable
}

/** What is wrong with an entry, or with what came of it: key of a sentence under `proof.errors`, and the status to say it with. */
export interface FormError {
  sentence: 'emailInvalid' | 'tooMany' | 'mailFailed' | 'codeMalformed' | 'codeWrong' | 'codeOver'
  status: 422 | 429 | 502
  /** tries that are left */
  left?: number
}

/** The two pages on which a person proves an address. They never know whether the portal has a user with it. */
export interface EmailVerificationPages {
  address(
    req: Request,
    res: Response,
    step: EmailVerificationStep,
    typed: string,
    mistake?: FormError,
  ): Promise<void>
  /** @param again a code had been sent before */
  code(
    req: Request,
    res: Response,
    step: EmailVerificationStep,
    entered: { email: string; typed?: string; again?: boolean },
    mistake?: FormError,
  ): Promise<void>
}

export interface EmailVerificationStep {
  pending: PendingRegistration
  provider: Provider
}

export function createEmailVerificationPages({
  urls,
  pages,
  table,
}: EmailVerificationPagesParts): EmailVerificationPages {
  /** The other proof: signing in the way one usually does. Offered to all, as this knows nobody yet. */
  async function otherWays({
    pending: { portal, returnTo },
    provider,
  }: EmailVerificationStep): Promise<object[]> {
    const all = await table.listEnabled(portal)
    const others = all.filter(({ id }) => id !== provider.id)
    return [...others, provider].map(({ id, slug, displayName }) => {
      const sameProvider = id === provider.id
      const account = sameProvider ? 'other' : undefined
      return {
        displayName,
        sameProvider,
        href: urls.path(`/login/${slug}`, { account, returnTo, proving: '1' }),
      }
    })
  }

  async function show(
    req: Request,
    res: Response,
    view: string,
    step: EmailVerificationStep,
    locals: object,
    mistake: FormError | undefined,
  ): Promise<void> {
    const { t } = pages.locale(req)
    const sentence = mistake && t(`proof.errors.${mistake.sentence}`, { count: mistake.left ?? 0 })
    const entry = mistake?.status === 422 ? sentence : undefined
    const { returnTo } = step.pending
    res.status(mistake?.status ?? 200)
    await pages.show(req, res, view, {
      ...locals,
      error: { sentence, entry },
      account: accountLabel(step.pending),
      provider: { displayName: step.provider.displayName },
      sendAction: urls.path('/register/code'),
      cancelHref: urls.path('/login', { returnTo, cancelled: 'registration' }),
      otherWays: await otherWays(step),
    })
  }

  return {
    address: (req, res, step, typed, mistake) =>
      show(req, res, 'address', step, { typed: typed.slice(0, 254) }, mistake),
    code: (req, res, step, { email, typed = '', again = false }, mistake) =>
      show(
        req,
        res,
        'verify',
        step,
        {
          email,
          again,
          minutes: codeMinutes,
          typed: typed.slice(0, 40),
          action: urls.path('/register/verify'),
          addressHref: urls.path('/register', { address: 'other' }),
        },
        mistake,
      ),
  }
}

export interface EmailVerificationRoutesParts {
  urls: PortalUrls
  completeSignIn: CompleteSignIn
  events: EventLog
  logger: Logger
  resolveIdentity: ResolveIdentity
  pages: Pages
  pendingRegistrations: PendingRegistrations
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  emailVerifications: EmailVerifications
  mail: Mail
  emailVerificationPages: EmailVerificationPages
  restartSignIn: RestartSignIn
  withPending: WithPending
}

/**
 * `POST /register/code` sends a code, `POST /register/verify` takes it. Only a post from our own page sends: nobody fills a
 * mailbox by a link or an image.
 */
export function createEmailVerificationRoutes(parts: EmailVerificationRoutesParts): Router {
  const { urls, completeSignIn, events, logger, resolveIdentity, pages, pendingRegistrations, posted } = parts
  const { emailVerifications, mail, emailVerificationPages, restartSignIn, withPending } = parts

  type Noted = 'email-code-sent' | 'email-verified'
  const noted = (kind: Noted, req: Request, { portal, provider }: PendingRegistration) =>
    events.record({ kind, portal, provider, clientAddress: req.ip })
  const failed = (reason: string, req: Request, { portal, provider }: PendingRegistration) =>
    events.record({
      kind: 'email-code-failed',
      portal,
      provider,
      clientAddress: req.ip,
      detail: { reason },
    })

  function toDueStep(res: Response, parameters?: Record<string, string>): void {
    res.redirect(303, urls.path('/register', parameters))
  }

  async function send(req: Request, res: Response, step: EmailVerificationStep): Promise<void> {
    const { pending } = step
    if (addressOf(pending) !== undefined) return toDueStep(res)
    const typed = textOf(req, 'email')
    const refused = (mistake: FormError) => emailVerificationPages.address(req, res, step, typed, mistake)
    const email = provableEmail(typed)
    if (email === undefined) return await refused({ sentence: 'emailInvalid', status: 422 })
    const sent = await sendCode(req, step, email)
    if (sent === 'too-many') return await refuseMore(req, res, step, refused)
    if (sent === 'mail-failed') return await refused({ sentence: 'mailFailed', status: 502 })
    await pendingRegistrations.keep(res, { ...pending, sent })
    toDueStep(res, pending.sent && { sent: 'again' })
  }

  /** The last code stays good: its page, where there was one. */
  async function refuseMore(
    req: Request,
    res: Response,
    step: EmailVerificationStep,
    orElse: (mistake: FormError) => Promise<void>,
  ): Promise<void> {
    const mistake: FormError = { sentence: 'tooMany', status: 429 }
    const { sent } = step.pending
    await (sent
      ? emailVerificationPages.code(req, res, step, { email: sent.email }, mistake)
      : orElse(mistake))
  }

  async function sendCode(
    req: Request,
    { pending, provider }: EmailVerificationStep,
    email: string,
  ): Promise<VerificationCode | 'too-many' | 'mail-failed'> {
    const deliver = (code: string) =>
      sendCodeMail(mail, pages.locale(req), {
        to: email,
        code,
        provider: provider.displayName,
        minutes: codeMinutes,
      })
    try {
      const sent = await emailVerifications.send(contextOf(pending), email, deliver)
      await (sent ? noted('email-code-sent', req, pending) : failed('too-many', req, pending))
      return sent ?? 'too-many'
    } catch (error) {
      if (!(error instanceof MailError)) throw error
      logger.error(
        { portal: pending.portal, provider: provider.slug, cause: error.message },
        'no code was sent',
      )
      await failed('mail-failed', req, pending)
      return 'mail-failed'
    }
  }

  async function verify(req: Request, res: Response, step: EmailVerificationStep): Promise<void> {
    const { pending } = step
    const { sent } = pending
    if (!sent) return toDueStep(res)
    const typed = textOf(req, 'code')
    const refused = (mistake: Omit<FormError, 'status'>) =>
      emailVerificationPages.code(req, res, step, { email: sent.email, typed }, { ...mistake, status: 422 })
    const code = readCode(typed)
    if (code === undefined) return await refused({ sentence: 'codeMalformed' })
    const verdict = await emailVerifications.verify(contextOf(pending), sent, code)
    if (verdict.result === 'proven') {
      await noted('email-verified', req, pending)
      return await goOn(req, res, step, sent.email)
    }
    await failed(verdict.result, req, pending)
    const left = verdict.result === 'wrong' ? verdict.left : 0
    await refused(left > 0 ? { sentence: 'codeWrong', left } : { sentence: 'codeOver' })
  }

  /** The only place where a pending registration signs somebody in as a user who exists: with a code entered just now. */
  async function goOn(
    req: Request,
    res: Response,
    { pending, provider }: EmailVerificationStep,
    proven: string,
  ): Promise<void> {
    const { identity, portal, returnTo } = pending
    const { turn, gone } = await resolveIdentity(identity, portal, proven)
    switch (turn.turn) {
      case 'link':
        // The code proves an address, not the Entra account in a cookie that may be 30 minutes old: sign in again.
        if (turn.relinked) return restartSignIn(res, pending)
        return await completeSignIn(req, res, {
          provider,
          identity,
          user: turn.user,
          how: 'linked',
          gone,
          returnTo,
        })
      case 'register':
        await pendingRegistrations.keep(res, { ...pending, sent: undefined, proven })
        return toDueStep(res)
      case 'known':
        return restartSignIn(res, pending)
      case 'refuse':
        pendingRegistrations.clear(res)
        throw new PortalSsoError(turn.reason, 'the portal does not let this person in')
      case 'prove':
        throw new PortalSsoError('address_unproven', 'the proof did not count')
    }
  }

  const router = Router()
  router.post(
    '/register/code',
    ...posted,
    withPending((req, res, pending, provider) => send(req, res, { pending, provider })),
  )
  router.post(
    '/register/verify',
    ...posted,
    withPending((req, res, pending, provider) => verify(req, res, { pending, provider })),
  )
  return router
}

function contextOf({ id, portal, identity }: PendingRegistration) {
  return { registration: id, portal, identity }
}

function textOf(req: Request, field: string): string {
  const value = (req.body as Record<string, unknown> | undefined)?.[field]
  return typeof value === 'string' ? value : ''
}
