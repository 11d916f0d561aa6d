import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { Identity } from '../oidc/identity.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { describeError, PortalSsoError, type ProblemCode } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { TestAttempt } from '../sign-in/attempts.ts'
import type { Decision, ResolveIdentity } from '../sign-in/decide.ts'
import type { User } from '../users/user-directory.ts'
import type { Pages } from '../web/pages.ts'
import { claimsTable } from './claims-table.ts'
import { diagnose } from './failure.ts'
import { stepTitles, type TestRecorder } from './recorder.ts'
import { addressLines, protocolLines } from './report-lines.ts'

/** What would have come of a sign-in. */
export interface PredictedOutcome {
  sentence: string
  /** whose account it would have been */
  user?: User | undefined
  /** why it would have been refused */
  refused?: ProblemCode | undefined
}

/** @param provesAddresses whether codes can be sent */
export function predictOutcome(
  turn: Decision,
  { email }: Identity,
  canVerifyEmail: boolean,
): PredictedOutcome {
  switch (turn.turn) {
    case 'known':
      return { sentence: 'This account is linked. It would be signed in as', user: turn.user }
    case 'link':
      return {
        sentence: turn.relinked
          ? 'This Entra account is linked under another subject. Its new subject would be linked and signed in as'
          : `${email} belongs to a user. This account would be linked and signed in as`,
        user: turn.user,
      }
    case 'register':
      return { sentence: `${turn.email} is new here. The registration form would be shown.` }
    case 'prove':
      return canVerifyEmail
        ? {
            sentence: `The provider did not verify ${email ?? 'an e-mail address'}. The user would have to confirm it with a code first.`,
          }
        : {
            sentence:
              'The sign-in would be refused. The provider did not verify the address, and the portal has no mailer to send a code.',
            refused: 'address_unproven',
          }
    case 'refuse':
      return {
        sentence:
          turn.reason === 'user_inactive'
            ? 'The sign-in would be refused. The user is deactivated.'
            : `The sign-in would be refused. ${email} is new here, and the portal does not let it register.`,
        refused: turn.reason,
      }
  }
}

export interface ReportParts {
  events: EventLog
  logger: Logger
  resolveIdentity: ResolveIdentity
  pages: Pages
  canVerifyEmail: boolean
  table: ProvidersTable
  oneTimeLinks: OneTimeLinks
}

export interface Ended {
  provider: Provider
  rehearsal: TestAttempt
  returnTo: string | undefined
  answer?: AuthorizationResponse | undefined
  recorder: TestRecorder
  /** who came back, or why nobody did */
  outcome: { identity: Identity } | { error: PortalSsoError }
}

/** Writes down what became of a rehearsal, and shows it. */
export type Report = (req: Request, res: Response, ended: Ended) => Promise<void>

export function createReport(parts: ReportParts): Report {
  const { events, logger, resolveIdentity, pages, canVerifyEmail, table, oneTimeLinks } = parts

  /** Asks what would happen, and does nothing of it. */
  async function lookAhead(identity: Identity, { portal }: Provider): Promise<PredictedOutcome> {
    const { turn } = await resolveIdentity(identity, portal)
    return predictOutcome(turn, identity, canVerifyEmail)
  }

  async function writeDown(
    req: Request,
    { provider, rehearsal, outcome, recorder }: Ended,
    reason: PortalSsoError['code'] | undefined,
  ): Promise<void> {
    const { portal, slug } = provider
    const { actor, ticket } = rehearsal
    const became = reason === undefined ? 'passed' : 'failed'
    if (reason !== undefined) {
      const cause =
        'error' in outcome ? describeError(outcome.error) : 'the portal does not let this person in'
      logger.warn({ portal, provider: slug, actor, code: reason, cause }, 'a rehearsal failed')
    }
    if (ticket !== undefined) await oneTimeLinks.setOutcome(ticket, became)
    await events.record({
      kind: 'provider-sign-in-tested',
      portal,
      provider: slug,
      actor,
      clientAddress: req.ip,
      detail: {
        outcome: became,
        reason,
        ...(reason === undefined &&
          recorder.encoding !== provider.secretEncoding && { secretEncoding: recorder.encoding }),
      },
    })
  }

  return async (req, res, ended) => {
    const { provider, returnTo, answer, recorder, outcome } = ended
    const identity = 'identity' in outcome ? outcome.identity : undefined
    const error = 'error' in outcome ? outcome.error : undefined
    const outlook = identity && (await lookAhead(identity, provider))
    const reason = error?.code ?? outlook?.refused
    // What passed with settings that are others by now has not passed.
    if (
      reason === undefined &&
      !(await table.recordTestSignIn(provider, {
        userId: outlook?.user && String(outlook.user.id),
        secretEncoding: recorder.encoding,
      }))
    )
      throw new PortalSsoError('provider_changed', 'the provider was changed during the rehearsal')
    await writeDown(req, ended, reason)

    const failed = error && diagnose(error, provider, recorder)
    await pages.show(req, res, 'rehearsal', {
      ...pages.locale(),
      provider: { displayName: provider.displayName, enabled: provider.enabled },
      passed: reason === undefined,
      wrong: failed && { title: stepTitles[failed.step], finding: failed.finding, remedy: failed.remedy },
      lines: [...protocolLines(provider, answer, recorder, failed), ...addressLines(provider, identity)],
      outlook: outlook && { ...outlook, here: here(req, outlook) },
      ...claimsTable(provider, recorder.idClaims, recorder.userInfo),
      backHref: returnTo,
    })
  }
}

/** Whether the account is that of who is signed in here: an administrator wants to know that he can come back. */
function here(req: Request, { user }: PredictedOutcome): string | undefined {
  const now = req.user as User | undefined
  if (!user || !now) return undefined
  return String(user.id) === String(now.id)
    ? 'You are signed in as this user now.'
    : `This is a different user. You are signed in as ${now.name} (${now.email}).`
}
