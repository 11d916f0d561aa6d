import type { Request, Response } from 'express'
import { explain, PortalSsoError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import type { Logger } from '../logger.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Answer } from '../sign-in/answer.ts'
import type { Rehearsing } from '../sign-in/attempts.ts'
import type { Identity } from '../sign-in/identity.ts'
import type { LookUp } from '../sign-in/look-up.ts'
import type { User } from '../users/user-directory.ts'
import type { Pages } from '../web/pages.ts'
import { claimsShown } from './claims-shown.ts'
import { diagnose } from './diagnose.ts'
import { addressLines, protocolLines } from './lines.ts'
import { type Outlook, outlookOf } from './outlook.ts'
import { titles } from './steps.ts'
import type { Tickets } from './tickets.ts'
import type { Witness } from './witness.ts'

export interface ReportParts {
  events: EventLog
  logger: Logger
  lookUp: LookUp
  pages: Pages
  provesAddresses: boolean
  table: ProvidersTable
  tickets: Tickets
}

export interface Ended {
  provider: Provider
  rehearsal: Rehearsing
  returnTo: string | undefined
  answer?: Answer | undefined
  witness: Witness
  /** who came back, or why nobody did */
  outcome: { identity: Identity } | { error: PortalSsoError }
}

/** Writes down what became of a rehearsal, and shows it. */
export type Report = (req: Request, res: Response, ended: Ended) => Promise<void>

export function createReport(parts: ReportParts): Report {
  const { events, logger, lookUp, pages, provesAddresses, table, tickets } = parts

  /** Asks what would happen, and does nothing of it. */
  async function lookAhead(identity: Identity, { portal, rebindingSince }: Provider): Promise<Outlook> {
    const { turn } = await lookUp(identity, portal, undefined, rebindingSince)
    return outlookOf(turn, identity, provesAddresses)
  }

  async function writeDown(
    req: Request,
    { provider, rehearsal, outcome, witness }: Ended,
    reason: PortalSsoError['code'] | undefined,
  ): Promise<void> {
    const { portal, slug } = provider
    const { by, ticket } = rehearsal
    const became = reason === undefined ? 'passed' : 'failed'
    if (reason !== undefined) {
      const cause = 'error' in outcome ? explain(outcome.error) : 'the portal does not let this person in'
      logger.warn({ portal, provider: slug, by, code: reason, cause }, 'a rehearsal failed')
    }
    if (ticket !== undefined) await tickets.note(ticket, became)
    await events.record({
      kind: 'provider-rehearsed',
      portal,
      provider: slug,
      by,
      clientAddress: req.ip,
      detail: {
        outcome: became,
        reason,
        ...(reason === undefined &&
          witness.encoding !== provider.secretEncoding && { secretEncoding: witness.encoding }),
      },
    })
  }

  return async (req, res, ended) => {
    const { provider, returnTo, answer, witness, outcome } = ended
    const identity = 'identity' in outcome ? outcome.identity : undefined
    const error = 'error' in outcome ? outcome.error : undefined
    const outlook = identity && (await lookAhead(identity, provider))
    const reason = error?.code ?? outlook?.refused
    // What passed with settings that are others by now has not passed.
    if (
      reason === undefined &&
      !(await table.noteRehearsal(provider, {
        userId: outlook?.user && String(outlook.user.id),
        secretEncoding: witness.encoding,
      }))
    )
      throw new PortalSsoError('provider_changed', 'the provider was changed during the rehearsal')
    await writeDown(req, ended, reason)

    const failed = error && diagnose(error, provider, witness)
    await pages.show(req, res, 'rehearsal', {
      ...pages.locale(),
      provider: { displayName: provider.displayName, enabled: provider.enabled },
      passed: reason === undefined,
      wrong: failed && { title: titles[failed.step], finding: failed.finding, remedy: failed.remedy },
      lines: [...protocolLines(provider, answer, witness, failed), ...addressLines(provider, identity)],
      outlook: outlook && { ...outlook, here: here(req, outlook) },
      ...claimsShown(provider, witness.idClaims, witness.userInfo),
      backHref: returnTo,
    })
  }
}

/** Whether the account is that of who is signed in here: an administrator wants to know that he can come back. */
function here(req: Request, { user }: Outlook): string | undefined {
  const now = req.user as User | undefined
  if (!user || !now) return undefined
  return String(user.id) === String(now.id)
    ? 'That is who you are here now.'
    : `That is not who you are here now: you are signed in as ${now.name} (${now.email}).`
}
