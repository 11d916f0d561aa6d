import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { findObstacle } from '../management/provider-lifecycle.ts'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { Identity } from '../oidc/identity.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { describeError, PortalSsoError, type ProblemCode } from '../shared/errors.ts'
import { sanitizeText, sentence } from '../shared/sanitize-text.ts'
import type { CompletedAttempt, TestPurpose } from '../sign-in/attempts.ts'
import type { ProviderConnection } from '../sign-in/connected-providers.ts'
import { canRetry } from '../sign-in/reauthentication.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { type Pages, sendRedirectPage } from '../web/pages.ts'
import { safeReturnTo } from '../web/return-to.ts'
import { claimsTable } from './claims-table.ts'
import { compareWithCurrentUser, predictOutcome, reachedUserId } from './predicted-outcome.ts'
import { addressLines, protocolLines, reauthenticationLine, reauthenticationOf } from './report-lines.ts'
import { type Seen, steps, TestRecorder } from './steps.ts'

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

/** Short, so that users who have just authenticated must do so again. A provider may read 0 as "no limit". */
const testMaxAgeSeconds = 10

interface TestResult extends Seen {
  purpose: TestPurpose
  returnTo: string | undefined
  reauthentication?: NonNullable<Provider['reauthentication']> | undefined
  outcome: { identity: Identity; error?: undefined } | { identity?: undefined; error: PortalSsoError }
}

/** Real sign-ins that end in a report: they start no session, create no user and link nothing. */
export class TestSignIns {
  readonly #core: Core
  readonly #modules: TestSignInModules

  constructor(core: Core, modules: TestSignInModules) {
    this.#core = core
    this.#modules = modules
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
      const reauthentication = { maxAge: testMaxAgeSeconds }
      const attempt = { purpose, returnTo, otherAccount: false, reauthentication }
      const href = await connection.begin(req, res, attempt)
      const locals = pages.locales.resolveForAdmin(req)
      await sendRedirectPage(pages, req, res, { href, name: provider.displayName, locals })
    } catch (error) {
      // A provider that is unavailable or refuses a pushed request is a result, too.
      if (!(error instanceof PortalSsoError) || !/^provider_(?:unavailable|error)$/.test(error.code))
        throw error
      const seen = { provider, response: undefined, recorder: new TestRecorder() }
      await this.#report(req, res, { ...seen, purpose, returnTo, outcome: { error } })
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
    const recorder = new TestRecorder()
    const { trace } = recorder
    // Completed even if the identity is linked, so that the report covers UserInfo.
    const complete = async () =>
      await (await connection.authenticate(req, res, { response, attempt, trace })).complete()
    const outcome: TestResult['outcome'] = await complete().then(
      (identity) => ({ identity }),
      (error: unknown) => {
        // Any other error is our own failure and says nothing about the provider.
        if (error instanceof PortalSsoError) return { error }
        throw error
      },
    )
    const { pages } = this.#modules
    const { code, error } = (recorder.failure?.error ?? {}) as { code?: unknown; error?: unknown }
    // openid-client's code of an error in the authorization response.
    const refusesMaxAge = code === 'OAUTH_AUTHORIZATION_RESPONSE_ERROR' && error === 'invalid_request'
    // As a sign-in would. A test that has passed is never repeated.
    if (!purpose.passed && !attempt.retried && (refusesMaxAge || canRetry(outcome.error, attempt)))
      return await connection.retry(req, res, attempt, pages)
    const { returnTo } = attempt
    const { identity } = outcome
    const reauthentication = identity && reauthenticationOf(identity, recorder, attempt)
    const result = { provider, response, recorder, purpose, returnTo, outcome, reauthentication }
    await this.#report(req, res, result, attempt)
  }

  async #report(req: Request, res: Response, result: TestResult, attempt?: CompletedAttempt): Promise<void> {
    const { pages, providersTable } = this.#modules
    const { provider, returnTo, recorder, outcome, purpose, reauthentication } = result
    const { identity, error } = outcome
    const current = req.user as User | undefined
    const predicted = identity && (await this.#predict(identity, provider))
    const reason = purpose.passed ? undefined : (error?.code ?? predicted?.refused)
    const passed = reason === undefined
    if (purpose.passed) {
      if (reauthentication) await providersTable.recordReauthentication(provider, reauthentication)
      if (error) return await this.#reportRefusedRetry(req, res, result)
    } else {
      if (passed) {
        const userId = predicted && reachedUserId(predicted, current)
        const passedTest = { userId, method: recorder.method, reauthentication }
        // A test of settings that have changed since has not passed.
        if (!(await providersTable.recordTestSignIn(provider, passedTest)))
          throw new PortalSsoError('provider_changed', 'the provider was changed during the test sign-in')
      }
      await this.#record(req, result, reason)
      const isOpen = reauthentication === undefined || reauthentication === 'ignored'
      if (passed && attempt && !attempt.retried && isOpen)
        return await this.#retry(req, res, provider, attempt)
    }
    const { diagnose } = await import('./failure.ts')
    const failure = error && diagnose(error, provider, recorder)
    const here = predicted && compareWithCurrentUser(predicted, current)
    await pages.show(req, res, 'test-sign-in', {
      ...pages.locales.resolveForAdmin(req),
      sentence,
      provider: { displayName: provider.displayName, enabled: provider.enabled },
      passed,
      wrong: failure && { title: steps[failure.step].title, ...failure },
      lines: [
        ...protocolLines(result, failure),
        reauthenticationLine(reauthentication),
        ...addressLines(result, identity),
      ],
      outlook: predicted && { ...predicted, here },
      ...claimsTable(provider, recorder.idClaims, recorder.userInfo),
      ...(await this.#nextStep(provider, returnTo, reason)),
      pinnable: passed && !provider.signingAlgorithm ? recorder.algorithm : undefined,
    })
  }

  /** Decides as a real sign-in would, and applies nothing. */
  async #predict(identity: Identity, provider: Provider) {
    const { canVerifyEmail, resolver } = this.#modules.signIn
    const { decision } = await resolver.resolve(identity, provider)
    const { email: provenEmail } = identity
    const mayProve = decision.kind === 'verify-email' && canVerifyEmail && provenEmail !== undefined
    const proven = mayProve ? await resolver.resolve(identity, provider, { provenEmail }) : undefined
    return predictOutcome(decision, identity, canVerifyEmail, proven?.decision)
  }

  /** The actions that the report offers to an administrator who started the test on a page. @param reason why it failed */
  async #nextStep(
    { id, portal, preset, slug }: Provider,
    returnTo: string | undefined,
    reason?: ProblemCode,
  ) {
    const { providersTable } = this.#modules
    const saved = returnTo === undefined ? undefined : await providersTable.find(portal, slug)
    if (saved?.id !== id || saved.enabled) return { backHref: returnTo, reason }
    const isFirst = !(await providersTable.anyEnabled(portal))
    const consents = reason === 'consent_missing' && presetOf(preset)?.adminConsent !== undefined
    const consentHref = consents ? this.#core.urls.path(`/login/${slug}/admin-consent`) : undefined
    return { backHref: returnTo, reason, isDraft: true, obstacle: findObstacle(saved, isFirst), consentHref }
  }

  /** The test has passed. If the provider responds to the next request with a page of its own, it stays passed. */
  async #retry(req: Request, res: Response, tested: Provider, attempt: CompletedAttempt): Promise<void> {
    const { portal, slug } = tested
    const { pages, providersTable, signIn } = this.#modules
    // The test may have changed a detected setting, and thereby the version.
    const provider = await providersTable.find(portal, slug)
    if (!provider) throw new PortalSsoError('provider_changed', 'the provider was removed during the test')
    const purpose: TestPurpose = { ...(attempt.purpose as TestPurpose), passed: true }
    await signIn.connectedProviders.connect(provider).retry(req, res, { ...attempt, purpose }, pages)
  }

  async #reportRefusedRetry(req: Request, res: Response, result: TestResult): Promise<void> {
    const { provider, outcome, returnTo } = result
    const { pages } = this.#modules
    const { displayName, enabled } = provider
    const cause = outcome.error && sanitizeText(describeError(outcome.error))
    await pages.show(req, res, 'test-sign-in', {
      ...pages.locales.resolveForAdmin(req),
      sentence,
      provider: { displayName, enabled },
      passed: true,
      lines: [reauthenticationLine('ignored', cause)],
      claims: [],
      left: 0,
      ...(await this.#nextStep(provider, returnTo)),
    })
  }

  async #record(req: Request, result: TestResult, reason: ProblemCode | undefined): Promise<void> {
    const { provider, purpose, outcome, recorder } = result
    const { events, oneTimeLinks } = this.#modules
    const { portal, slug } = provider
    const { actor, oneTimeLinkId } = purpose
    const verdict = reason === undefined ? 'passed' : 'failed'
    if (reason !== undefined) {
      const cause = outcome.error ? describeError(outcome.error) : 'the portal does not admit this user'
      const entry = { portal, provider: slug, actor, code: reason, cause }
      this.#core.logger.warn(entry, 'a test sign-in failed')
    }
    if (oneTimeLinkId !== undefined) await oneTimeLinks.setOutcome(oneTimeLinkId, verdict)
    const { clientAuthentication, secretEncoding } = (reason === undefined && recorder.method) || {}
    await events.record({
      kind: 'provider-sign-in-tested',
      portal,
      provider: slug,
      actor,
      clientAddress: req.ip,
      detail: {
        outcome: verdict,
        reason,
        ...(clientAuthentication !== provider.clientAuthentication && { clientAuthentication }),
        ...(secretEncoding !== provider.secretEncoding && { secretEncoding }),
      },
    })
  }
}
