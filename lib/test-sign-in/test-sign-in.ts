import type { Request, Response } from 'express'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { CompletedAttempt, TestAttempt } from '../sign-in/attempts.ts'
import type { ProviderStrategies } from '../sign-in/connected-providers.ts'
import type { Pages } from '../web/pages.ts'
import { sendRedirectPage } from '../web/redirect-page.ts'
import { safeReturnTo } from '../web/return-to.ts'
import type { PortalUrls } from '../web/urls.ts'
import { createTestRecorder } from './recorder.ts'
import type { Report } from './report.ts'

export interface TestSignInRequest {
  provider: Provider
  /** for the event log */
  actor: string
  /** the page that the report leads back to; left out: it leads nowhere */
  returnTo?: string | undefined
  /** see `TestAttempt` */
  ticket?: string | undefined
}

/** A sign-in for real that ends in a report: no session, no account. */
/** Test sign-ins from a terminal: an administrator opens a link in a browser, and the terminal waits for the outcome. */
export interface TestSignInLinks {
  /**
   * Creates a link to test the provider `slug`. It works once and expires after 15 minutes.
   *
   * @returns `url` for the administrator's browser, and `ticket` for `outcome`
   * @throws ManagementError `not_found`
   */
  link(slug: string, options?: ActOptions): Promise<{ url: string; ticket: string; expiresAt: Date }>
  /** Returns the outcome of a test sign-in. */
  outcome(ticket: string): Promise<'waiting' | 'passed' | 'failed' | 'expired'>
}

export interface TestSignIns extends TestSignInLinks {
  /**
   * For the answer to a posted form: sends this browser to the provider. It is a page that leads on by itself, for a form's
   * Content-Security-Policy would stop a redirect to another site.
   */
  begin(req: Request, res: Response, rehearsal: TestSignInRequest): Promise<void>
}

export interface TestSignInsParts {
  urls: PortalUrls
  pages: Pages
  report: Report
  strategies: ProviderStrategies
  table: ProvidersTable
  oneTimeLinks: OneTimeLinks
}

export function createTestSignIns(parts: TestSignInsParts): TestSignIns {
  const { urls, pages, report, strategies, table, oneTimeLinks } = parts
  return {
    async begin(req, res, { provider, actor, returnTo: given, ticket }) {
      const rehearsal = { actor, ticket }
      const returnTo = safeReturnTo(given)
      try {
        const step = { returnTo, otherAccount: false, loginHint: undefined, proving: undefined, rehearsal }
        const address = await strategies.begin(req, res, provider, step)
        await sendRedirectPage(pages, req, res, {
          href: address,
          name: provider.displayName,
          locals: pages.locale(),
        })
      } catch (error) {
        // Not even the way there could be found: that is a report, too.
        if (!(error instanceof PortalSsoError) || error.code !== 'provider_unavailable') throw error
        await report(req, res, {
          provider,
          rehearsal,
          returnTo,
          recorder: createTestRecorder(),
          outcome: { error },
        })
      }
    },
    async link(slug, { portal = 'default', actor = 'code' } = {}) {
      await table.get(portal, slug)
      const detail = { actor, provider: slug }
      const { token: ticket, expiresAt } = await oneTimeLinks.create(portal, 'rehearsal', detail)
      const path = urls.path(`/login/${slug}/rehearsal`, { ticket })
      return { url: urls.origin(portal) + path, ticket, expiresAt }
    },
    outcome: (ticket) => oneTimeLinks.outcome(ticket),
  }
}

/** Ends a rehearsal with a report of all that was seen. It signs nobody in, whatever came back. */
export type FinishTestSignIn = (
  req: Request,
  res: Response,
  came: {
    provider: Provider
    answer: AuthorizationResponse
    attempt: CompletedAttempt
    rehearsal: TestAttempt
  },
) => Promise<void>

export interface FinishTestSignInParts {
  report: Report
  strategies: ProviderStrategies
}

/** The same checks as for everybody, with somebody looking on. */
export function createFinishTestSignIn({ report, strategies }: FinishTestSignInParts): FinishTestSignIn {
  return async (req, res, { provider, answer, attempt, rehearsal }) => {
    const recorder = createTestRecorder()
    const { trace } = recorder
    const outcome = await strategies.finish(req, res, provider, { answer, attempt, trace }).then(
      (identity) => ({ identity }),
      (error: unknown) => {
        // Anything else is a failure of ours, and says nothing of the provider.
        if (error instanceof PortalSsoError) return { error }
        throw error
      },
    )
    const { returnTo } = attempt
    await report(req, res, { provider, rehearsal, returnTo, answer, recorder, outcome })
  }
}
