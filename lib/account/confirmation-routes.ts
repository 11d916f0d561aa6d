import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { CodeFailure } from '../events/event-types.ts'
import { MailError } from '../mail/mail.ts'
import { sendCodeMail } from '../mail/mails.ts'
import { type Provider, providerName } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { codeMinutes, provableEmail, readCode } from '../registration/email-verification.ts'
import { codeError, describeFormError, type FormError } from '../registration/email-verification-pages.ts'
import { readField } from '../registration/email-verification-routes.ts'
import type { RegistrationRouteModules } from '../registration/registrations.ts'
import { digest } from '../shared/seal.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Account } from './account.ts'

export interface ConfirmationModules extends RegistrationRouteModules {
  readonly account: Account
  readonly guard: RequestHandler
  readonly providersTable: ProvidersTable
}

const codeId = /^[\w-]{36}$/

export const confirmationPage = '/account/security/confirm'

/**
 * `/account/security/confirm`: other proofs for users whose provider cannot prove a re-authentication. Attacker: with a stolen session,
 * they would choose the weakest proof. So the page serves only those providers, and no guard accepts its proof.
 */
// Long: one small handler for each route.
export function confirmationRoutes(
  core: Core,
  modules: ConfirmationModules & { maxAgeSeconds: number },
): Router {
  const { portalOf, urls } = core
  const { account, events, guard, maxAgeSeconds, pages, posted, providersTable, sessions, signIn } = modules
  const { emailVerification } = modules.registration
  const accountHref = urls.path('/account/security')
  const confirmedHref = urls.path('/account/security', { notice: 'confirmed' })

  interface Step {
    user: User
    provider: Provider
    /** the address that a code can be sent to */
    email: string | undefined
    /** limits and binds the codes; `id` is of this session */
    context: { id: string; portal: string; identity: { issuer: string; subject: string } }
  }

  interface Shown {
    sent?: string
    /** ms */
    sentAt?: number | undefined
    typed?: string
    error?: FormError
  }

  const step = (act: (req: Request, res: Response, step: Step) => Promise<void>) =>
    asyncHandler(async (req, res) => {
      const user = req.user as User
      const provider = await signIn.reauthentication.sessionProvider(req)
      const identity = sessions.signedInVia(req)
      if (provider?.reauthentication !== 'unreported' || !identity) return res.redirect(303, accountHref)
      const email = emailVerification && provableEmail(user.email)
      const id = digest(req.sessionID).slice(0, 36)
      await act(req, res, { user, provider, email, context: { id, portal: portalOf(req), identity } })
    })

  async function show(
    req: Request,
    res: Response,
    { user, provider, email, context }: Step,
    { sent, sentAt, typed = '', error }: Shown = {},
  ): Promise<void> {
    const linked = await account.listMethods(context.portal, String(user.id), pages.locale(req))
    const slugs = linked.flatMap((method) => (method.available ? (method.provider ?? []) : []))
    const others = (await providersTable.listEnabled(context.portal, { slugs })).filter(
      ({ id, reauthentication }) => id !== provider.id && reauthentication !== 'unreported',
    )
    const locale = pages.locale(req)
    res.status(error?.status ?? 200)
    await pages.show(req, res, 'confirm', {
      provider: { displayName: providerName(provider, locale) },
      email,
      sent,
      typed: typed.slice(0, 100),
      sentAt,
      wait: emailVerification?.codes.secondsToWait(sentAt) ?? 0,
      minutes: codeMinutes,
      error: describeFormError(error, locale.t),
      base: urls.path(confirmationPage),
      cancelHref: accountHref,
      others: others.map((each) => {
        const query = { returnTo: confirmedHref, max_age: String(maxAgeSeconds) }
        return { displayName: providerName(each, locale), href: urls.path(`/login/${each.slug}`, query) }
      }),
    })
  }

  const eventFields = (req: Request, { user, provider: { portal, slug } }: Step) => ({
    portal,
    provider: slug,
    userId: String(user.id),
    clientAddress: req.ip,
  })

  const record = (req: Request, current: Step, reason?: CodeFailure) =>
    events.record(
      reason === undefined
        ? { kind: 'email-verified', ...eventFields(req, current) }
        : { kind: 'email-code-failed', ...eventFields(req, current), detail: { reason } },
    )

  async function send(req: Request, res: Response, current: Step): Promise<void> {
    const { email, context } = current
    if (!emailVerification || email === undefined) return await show(req, res, current)
    const deliver = async (code: string) => {
      await sendCodeMail(emailVerification.mail, pages.locale(req), { to: email, code, minutes: codeMinutes })
      await events.record({ kind: 'email-code-sent', ...eventFields(req, current) })
    }
    try {
      const sent = await emailVerification.codes.send(context, email, deliver)
      if (sent) return await show(req, res, current, { sent: sent.id, sentAt: sent.at })
      await record(req, current, 'too-many')
      await show(req, res, current, { error: { sentence: 'tooMany', status: 429 } })
    } catch (error) {
      if (!(error instanceof MailError)) throw error
      core.logger.error({ portal: context.portal, cause: error.message }, 'no code was sent')
      await record(req, current, 'mail-failed')
      await show(req, res, current, { error: { sentence: 'mailFailed', status: 502 } })
    }
  }

  async function verify(req: Request, res: Response, current: Step): Promise<void> {
    const { email, context } = current
    const { code: typed, sent: id } = (req.body ?? {}) as { code?: unknown; sent?: unknown }
    if (!emailVerification || email === undefined || typeof id !== 'string' || !codeId.test(id))
      return await show(req, res, current)
    const code = readCode(typed)
    const sentAt = Number(readField(req, 'at'))
    const shown = { sent: id, sentAt, typed: typeof typed === 'string' ? typed : '' }
    if (code === undefined)
      return await show(req, res, current, { ...shown, error: { sentence: 'codeMalformed', status: 422 } })
    const verdict = await emailVerification.codes.verify(context, { id, email }, code)
    if (verdict.result === 'proven') {
      await sessions.confirm(req)
      await record(req, current)
      return res.redirect(303, confirmedHref)
    }
    await record(req, current, verdict.result)
    const error = codeError(verdict)
    await show(req, res, current, { ...shown, error, ...(error.sentence === 'codeOver' && { sentAt: 0 }) })
  }

  const router = Router()
  router.get(confirmationPage, guard, step(show))
  router.post(`${confirmationPage}/code`, ...posted, guard, step(send))
  router.post(`${confirmationPage}/verify`, ...posted, guard, step(verify))
  return router
}
