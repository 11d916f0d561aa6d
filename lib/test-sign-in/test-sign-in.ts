import type { Request, Response } from 'express'
import type { Answer } from '../oidc/authorization-response.ts'
import type { Tickets } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { How } from '../shared/act-options.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Rehearsing, TakenAttempt } from '../sign-in/attempts.ts'
import type { ProviderStrategies } from '../sign-in/connected-providers.ts'
import type { Pages } from '../web/pages.ts'
import { leadOn } from '../web/redirect-page.ts'
import { safeReturnTo } from '../web/return-to.ts'
import type { Addresses } from '../web/urls.ts'
import { createWitness } from './recorder.ts'
import type { Report } from './report.ts'

export interface Rehearse {
  provider: Provider
  /** for the event log */
  by: string
  /** the page that the report leads back to; left out: it leads nowhere */
  returnTo?: string | undefined
  /** see `Rehearsing` */
  ticket?: string | undefined
}

/** A sign-in for real that ends in a report: no session, no account. */
export interface Rehearsals {
  /**
   * For the answer to a posted form: sends this browser to the provider. It is a page that leads on by itself, for a form's
   * Content-Security-Policy would stop a redirect to another site.
   */
  begin(req: Request, res: Response, rehearsal: Rehearse): Promise<void>
  /** For a terminal: an address, good once and for 15 minutes, that an administrator opens in a browser. */
  link(slug: string, how?: How): Promise<{ url: string; ticket: string; expiresAt: Date }>
  /** What has become of it. */
  outcome(ticket: string): Promise<'waiting' | 'passed' | 'failed' | 'expired'>
}

export interface RehearsalsParts {
  addresses: Addresses
  pages: Pages
  report: Report
  strategies: ProviderStrategies
  table: ProvidersTable
  tickets: Tickets
}

export function createRehearsals(parts: RehearsalsParts): Rehearsals {
  const { addresses, pages, report, strategies, table, tickets } = parts
  return {
    async begin(req, res, { provider, by, returnTo: given, ticket }) {
      const rehearsal = { by, ticket }
      const returnTo = safeReturnTo(given)
      try {
        const step = { returnTo, otherAccount: false, loginHint: undefined, proving: undefined, rehearsal }
        const address = await strategies.begin(req, res, provider, step)
        await leadOn(pages, req, res, { href: address, name: provider.displayName, locals: pages.locale() })
      } catch (error) {
        // Not even the way there could be found: that is a report, too.
        if (!(error instanceof PortalSsoError) || error.code !== 'provider_unavailable') throw error
        await report(req, res, {
          provider,
          rehearsal,
          returnTo,
          witness: createWitness(),
          outcome: { error },
        })
      }
    },
    async link(slug, { portal = 'default', by = 'code' } = {}) {
      await table.existing(portal, slug)
      const { ticket, expiresAt } = await tickets.make(portal, 'rehearsal', { by, provider: slug })
      const path = addresses.path(`/login/${slug}/rehearsal`, { ticket })
      return { url: addresses.origin(portal) + path, ticket, expiresAt }
    },
    async outcome(ticket) {
      const outcome = await tickets.outcome(ticket)
      return outcome === 'over' ? 'expired' : outcome
    },
  }
}

/** Ends a rehearsal with a report of all that was seen. It signs nobody in, whatever came back. */
export type EndRehearsal = (
  req: Request,
  res: Response,
  came: { provider: Provider; answer: Answer; attempt: TakenAttempt; rehearsal: Rehearsing },
) => Promise<void>

export interface EndRehearsalParts {
  report: Report
  strategies: ProviderStrategies
}

/** The same checks as for everybody, with somebody looking on. */
export function createEndRehearsal({ report, strategies }: EndRehearsalParts): EndRehearsal {
  return async (req, res, { provider, answer, attempt, rehearsal }) => {
    const witness = createWitness()
    const { observe } = witness
    const outcome = await strategies.finish(req, res, provider, { answer, attempt, observe }).then(
      (identity) => ({ identity }),
      (error: unknown) => {
        // Anything else is a failure of ours, and says nothing of the provider.
        if (error instanceof PortalSsoError) return { error }
        throw error
      },
    )
    const { returnTo } = attempt
    await report(req, res, { provider, rehearsal, returnTo, answer, witness, outcome })
  }
}
