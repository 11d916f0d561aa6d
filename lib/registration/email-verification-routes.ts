import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { MailFailed } from '../mail/send-mail.ts'
import type { SendCodeMail } from '../mail/verification-code-mail.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { Admit } from '../sign-in/complete-sign-in.ts'
import type { LookUp } from '../sign-in/decide.ts'
import {
  accountOf,
  addressOf,
  type PendingRegistration,
  type PendingRegistrations,
  type SentCode,
  type StartAgain,
  type WithPending,
} from '../sign-in/pending-registration.ts'
import type { Pages } from '../web/pages.ts'
import type { Addresses } from '../web/urls.ts'
import { type AddressProofs, goodFor, provableEmail, readCode } from './email-verification.ts'

export interface ShowProofParts {
  addresses: Addresses
  pages: Pages
  table: ProvidersTable
}

/** What is wrong with an entry, or with what came of it: key of a sentence under `proof.errors`, and the status to say it with. */
export interface ProofMistake {
  sentence: 'emailInvalid' | 'tooMany' | 'mailFailed' | 'codeMalformed' | 'codeWrong' | 'codeOver'
  status: 422 | 429 | 502
  /** tries that are left */
  left?: number
}

/** The two pages on which a person proves an address. They never know whether the portal has a user with it. */
export interface ShowProof {
  address(req: Request, res: Response, step: ProofStep, typed: string, mistake?: ProofMistake): Promise<void>
  /** @param again a code had been sent before */
  code(
    req: Request,
    res: Response,
    step: ProofStep,
    entered: { email: string; typed?: string; again?: boolean },
    mistake?: ProofMistake,
  ): Promise<void>
}

export interface ProofStep {
  pending: PendingRegistration
  provider: Provider
}

export function createShowProof({ addresses, pages, table }: ShowProofParts): ShowProof {
  /** The other proof: signing in the way one usually does. Offered to all, as this knows nobody yet. */
  async function otherWays({ pending: { portal, returnTo }, provider }: ProofStep): Promise<object[]> {
    const all = await table.listEnabled(portal)
    const others = all.filter(({ id }) => id !== provider.id)
    return [...others, provider].map(({ id, slug, displayName }) => {
      const sameProvider = id === provider.id
      const account = sameProvider ? 'other' : undefined
      return {
        displayName,
        sameProvider,
        href: addresses.path(`/login/${slug}`, { account, returnTo, proving: '1' }),
      }
    })
  }

  async function show(
    req: Request,
    res: Response,
    view: string,
    step: ProofStep,
    locals: object,
    mistake: ProofMistake | undefined,
  ): Promise<void> {
    const { t } = pages.locale(req)
    const sentence = mistake && t(`proof.errors.${mistake.sentence}`, { count: mistake.left ?? 0 })
    const entry = mistake?.status === 422 ? sentence : undefined
    const { returnTo } = step.pending
    await pages.show(
      req,
      res,
      view,
      {
        ...locals,
        error: { sentence, entry },
        account: accountOf(step.pending),
        provider: { displayName: step.provider.displayName },
        sendAction: addresses.path('/register/code'),
        cancelHref: addresses.path('/login', { returnTo, cancelled: 'registration' }),
        otherWays: await otherWays(step),
      },
      mistake?.status ?? 200,
    )
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
          minutes: goodFor,
          typed: typed.slice(0, 40),
          action: addresses.path('/register/verify'),
          addressHref: addresses.path('/register', { address: 'other' }),
        },
        mistake,
      ),
  }
}

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
