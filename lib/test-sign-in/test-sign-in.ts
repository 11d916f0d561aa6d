import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { type ActOptions, type ResolvedActOptions, resolveActOptions } from '../shared/act-options.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { CompletedAttempt, TestPurpose } from '../sign-in/attempts.ts'
import type { ProviderConnection } from '../sign-in/connected-providers.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'
import { sendRedirectPage } from '../web/redirect-page.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { createTestRecorder } from './recorder.ts'
import { TestReports } from './report.ts'

export interface TestSignInRequest {
  provider: Provider
  /** for the event log */
  actor: string
  /** the page that the report links back to */
  returnTo?: string | undefined
  /** set if a terminal waits for the outcome */
  oneTimeLinkId?: string | undefined
}

interface TestSignInModules {
  readonly events: EventLog
  readonly oneTimeLinks: OneTimeLinks
  readonly pages: Pages
  readonly signIn: SignIn
  readonly providersTable: ProvidersTable
}

/** A link that starts a test sign-in. */
export interface TestSignInLink {
  /** For the administrator's browser. */
  url: string
  /** Identifies it to `outcome`. */
  token: string
  /** 15 minutes after it was created. */
  expiresAt: Date
}

/** Real sign-ins that end in a report: they start no session, create no user and link nothing. */
export class TestSignIns {
  readonly #core: Core
  readonly #modules: TestSignInModules
  readonly #reports: TestReports

  constructor(core: Core, modules: TestSignInModules) {
    this.#core = core
    this.#modules = modules
    this.#reports = new TestReports(core, modules)
  }

  /**
   * Sends the browser to the provider in response to a posted form. It renders a page that navigates, because a form's
   * Content-Security-Policy would block a redirect to another site.
   */
  async begin(req: Request, res: Response, request: TestSignInRequest): Promise<void> {
    const { pages, signIn } = this.#modules
    const { provider, actor, oneTimeLinkId } = request
    const purpose: TestPurpose = { kind: 'test', actor, oneTimeLinkId }
    const returnTo = safeReturnTo(request.returnTo)
    try {
      const connection = signIn.connectedProviders.connect(provider)
      const href = await connection.begin(req, res, { purpose, returnTo, otherAccount: false })
      const locals = pages.locale()
      await sendRedirectPage(pages, req, res, { href, name: provider.displayName, locals })
    } catch (error) {
      // An unavailable provider is a result, too.
      if (!(error instanceof PortalSsoError) || error.code !== 'provider_unavailable') throw error
      const recorder = createTestRecorder()
      await this.#reports.show(req, res, { provider, purpose, returnTo, recorder, outcome: { error } })
    }
  }

  /** Runs the same checks as every sign-in, with a recorder, and reports the result. */
  async finish(
    req: Request,
    res: Response,
    connection: ProviderConnection,
    received: { response: AuthorizationResponse; attempt: CompletedAttempt; purpose: TestPurpose },
  ): Promise<void> {
    const { response, attempt, purpose } = received
    const { provider } = connection
    const { id, portal, version } = provider
    // The administrator may only enable the settings that were tested.
    if (attempt.portal !== portal || attempt.providerId !== id || attempt.version !== version)
      throw new PortalSsoError('provider_changed', 'the test sign-in was started with other settings')
    const recorder = createTestRecorder()
    const { trace } = recorder
    const outcome = await connection.authenticate(req, res, { response, attempt, trace }).then(
      (identity) => ({ identity }),
      (error: unknown) => {
        // Any other error is our own failure and says nothing about the provider.
        if (error instanceof PortalSsoError) return { error }
        throw error
      },
    )
    const { returnTo } = attempt
    await this.#reports.show(req, res, { provider, purpose, returnTo, response, recorder, outcome })
  }

  /** Creates a single-use URL for a terminal. It expires after 15 minutes; an administrator opens it in a browser. */
  async link(slug: string, { portal, actor }: ResolvedActOptions): Promise<TestSignInLink> {
    const { oneTimeLinks, providersTable } = this.#modules
    const { urls } = this.#core
    await providersTable.get(portal, slug)
    const detail = { actor, provider: slug }
    const { token, expiresAt } = await oneTimeLinks.create(portal, 'test-sign-in', detail)
    const path = urls.path(`/login/${slug}/test-sign-in`, { token })
    return { url: urls.origin(portal) + path, token, expiresAt }
  }

  /** The outcome of the test sign-in that was started with this token. */
  async outcome(token: string): Promise<'waiting' | 'passed' | 'failed' | 'expired'> {
    return await this.#modules.oneTimeLinks.outcome(token)
  }
}

/** Test sign-ins, for code and the command line. */
export class TestSignInsApi {
  readonly #testSignIns: TestSignIns
  readonly #portal: string

  /** @internal */
  constructor(testSignIns: TestSignIns, portal = 'default') {
    this.#testSignIns = testSignIns
    this.#portal = portal
  }

  /**
   * A URL for an administrator's browser that starts a test sign-in. It works once and expires after 15 minutes.
   *
   * @throws ManagementError `not_found`
   */
  async link(slug: string, options: ActOptions = {}): Promise<TestSignInLink> {
    return await this.#testSignIns.link(slug, resolveActOptions(options, this.#portal))
  }

  /** Returns the outcome of a test sign-in. @param token of the link */
  async outcome(token: string): Promise<'waiting' | 'passed' | 'failed' | 'expired'> {
    return await this.#testSignIns.outcome(token)
  }
}
