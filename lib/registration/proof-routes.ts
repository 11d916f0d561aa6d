import { type Request, type RequestHandler, type Response, Router } from 'express'
import { PortalSsoError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { Logger } from '../logger.ts'
import type { SendCodeMail } from '../mail/code-mail.ts'
import { MailFailed } from '../mail/send-mail.ts'
import type { Admit } from '../sign-in/admit.ts'
import type { LookUp } from '../sign-in/look-up.ts'
import type { Addresses } from '../web/addresses.ts'
import type { Pages } from '../web/pages.ts'
import { type AddressProofs, goodFor, provableEmail, readCode, type SentCode } from './address-proof.ts'
import { addressOf, type PendingRegistration, type PendingRegistrations } from './pending-registration.ts'
import type { ProofMistake, ProofStep, ShowProof } from './show-proof.ts'
import type { StartAgain } from './start-again.ts'
import type { WithPending } from './with-pending.ts'

export interface ProofRoutesParts {
  addresses: Addresses
  admit: Admit
  events: EventLog
  logger: Logger
  lookUp: LookUp
  pages: Pages
  pendings: PendingRegistrations
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  proofs: AddressProofs
  sendCodeMail: SendCodeMail
  showProof: ShowProof
  startAgain: StartAgain
  withPending: WithPending
}

/**
 * `POST /register/code` sends a code, `POST /register/verify` takes it. Only a post from our own page sends: nobody fills a
 * mailbox by a link or an image.
 */
export function createProofRoutes(parts: ProofRoutesParts): Router {
  const { addresses, admit, events, logger, lookUp, pages, pendings, posted } = parts
  const { proofs, sendCodeMail, showProof, startAgain, withPending } = parts

  type Noted = 'address-proof-sent' | 'address-proven'
  const noted = (kind: Noted, req: Request, { portal, provider }: PendingRegistration) =>
    events.record({ kind, portal, provider, clientAddress: req.ip })
  const failed = (reason: string, req: Request, { portal, provider }: PendingRegistration) =>
    events.record({
      kind: 'address-proof-failed',
      portal,
      provider,
      clientAddress: req.ip,
      detail: { reason },
    })

  function toDueStep(res: Response, parameters?: Record<string, string>): void {
    res.redirect(303, addresses.path('/register', parameters))
  }

  async function send(req: Request, res: Response, step: ProofStep): Promise<void> {
    const { pending } = step
    if (addressOf(pending) !== undefined) return toDueStep(res)
    const typed = textOf(req, 'email')
    const refused = (mistake: ProofMistake) => showProof.address(req, res, step, typed, mistake)
    const email = provableEmail(typed)
    if (email === undefined) return await refused({ sentence: 'emailInvalid', status: 422 })
    const sent = await sendCode(req, step, email)
    if (sent === 'too-many') return await refuseMore(req, res, step, refused)
    if (sent === 'mail-failed') return await refused({ sentence: 'mailFailed', status: 502 })
    await pendings.keep(res, { ...pending, sent })
    toDueStep(res, pending.sent && { sent: 'again' })
  }

  /** The last code stays good: its page, where there was one. */
  async function refuseMore(
    req: Request,
    res: Response,
    step: ProofStep,
    orElse: (mistake: ProofMistake) => Promise<void>,
  ): Promise<void> {
    const mistake: ProofMistake = { sentence: 'tooMany', status: 429 }
    const { sent } = step.pending
    await (sent ? showProof.code(req, res, step, { email: sent.email }, mistake) : orElse(mistake))
  }

  async function sendCode(
    req: Request,
    { pending, provider }: ProofStep,
    email: string,
  ): Promise<SentCode | 'too-many' | 'mail-failed'> {
    const deliver = (code: string) =>
      sendCodeMail(pages.locale(req), { to: email, code, provider: provider.displayName, minutes: goodFor })
    try {
      const sent = await proofs.send(contextOf(pending), email, deliver)
      await (sent ? noted('address-proof-sent', req, pending) : failed('too-many', req, pending))
      return sent ?? 'too-many'
    } catch (error) {
      if (!(error instanceof MailFailed)) throw error
      logger.error(
        { portal: pending.portal, provider: provider.slug, cause: error.message },
        'no code was sent',
      )
      await failed('mail-failed', req, pending)
      return 'mail-failed'
    }
  }

  async function verify(req: Request, res: Response, step: ProofStep): Promise<void> {
    const { pending } = step
    const { sent } = pending
    if (!sent) return toDueStep(res)
    const typed = textOf(req, 'code')
    const refused = (mistake: Omit<ProofMistake, 'status'>) =>
      showProof.code(req, res, step, { email: sent.email, typed }, { ...mistake, status: 422 })
    const code = readCode(typed)
    if (code === undefined) return await refused({ sentence: 'codeMalformed' })
    const verdict = await proofs.verify(contextOf(pending), sent, code)
    if (verdict.result === 'proven') {
      await noted('address-proven', req, pending)
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
    { pending, provider }: ProofStep,
    proven: string,
  ): Promise<void> {
    const { identity, portal, returnTo } = pending
    const { turn, gone } = await lookUp(identity, portal, proven)
    switch (turn.turn) {
      case 'link':
        return await admit(req, res, { provider, identity, user: turn.user, how: 'linked', gone, returnTo })
      case 'register':
        await pendings.keep(res, { ...pending, sent: undefined, proven })
        return toDueStep(res)
      case 'known':
        return startAgain(res, pending)
      case 'refuse':
        pendings.clear(res)
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
