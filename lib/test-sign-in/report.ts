import type { Request, Response } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { AuthorizationResponse } from '../oidc/authorization-response.ts'
import type { Identity } from '../oidc/identity.ts'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { describeError, PortalSsoError, type ProblemCode } from '../shared/errors.ts'
import type { TestPurpose } from '../sign-in/attempts.ts'
import type { Decision } from '../sign-in/decide.ts'
import type { SignIn } from '../sign-in/sign-in.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import type { Pages } from '../web/pages.ts'
import { claimsTable } from './claims-table.ts'
import { diagnose } from './failure.ts'
import { stepTitles, type TestRecorder } from './recorder.ts'
import { addressLines, protocolLines } from './report-lines.ts'

/** The outcome that a real sign-in would have had. */
export interface PredictedOutcome {
  sentence: string
  /** the user who would have been signed in */
  user?: User | undefined
  /** why it would have been refused */
  refused?: ProblemCode | undefined
}

/** @param canVerifyEmail whether the portal can send codes */
export function predictOutcome(
  decision: Decision,
  { email }: Identity,
  canVerifyEmail: boolean,
): PredictedOutcome {
  switch (decision.kind) {
    case 'sign-in':
      return { sentence: 'This account is linked. It would be signed in as', user: decision.user }
    case 'link':
      return {
        sentence: decision.relinked
          ? 'This Entra account is linked under another subject. Its new subject would be linked and signed in as'
          : `${email} belongs to a user. This account would be linked and signed in as`,
        user: decision.user,
      }
    case 'register':
      return { sentence: `${decision.email} is new here. The registration form would be shown.` }
    case 'verify-email':
      return canVerifyEmail
        ? {
            sentence: `The provider did not verify ${email ?? 'an e-mail address'}. The user would have to confirm it with a code first.`,
          }
        : {
            sentence:
              'The sign-in would be refused. The provider did not verify the address, and the portal has no mailer to send a code.',
            refused: 'email_unverified',
          }
    case 'refuse':
      return {
        sentence:
          decision.reason === 'user_inactive'
            ? 'The sign-in would be refused. The user is deactivated.'
            : `The sign-in would be refused. ${email} is new here, and the portal does not let it register.`,
        refused: decision.reason,
      }
  }
}

export interface TestResult {
  provider: Provider
  purpose: TestPurpose
  returnTo: string | undefined
  response?: AuthorizationResponse | undefined
  recorder: TestRecorder
  outcome: { identity: Identity } | { error: PortalSsoError }
}

interface ReportModules {
  readonly events: EventLog
  readonly oneTimeLinks: OneTimeLinks
  readonly pages: Pages
  readonly signIn: SignIn
  readonly providersTable: ProvidersTable
}

/** Records the result of a test sign-in, and shows it. */
export class TestReports {
  readonly #core: Core
  readonly #modules: ReportModules

  constructor(core: Core, modules: ReportModules) {
    this.#core = core
    this.#modules = modules
  }

  async show(req: Request, res: Response, result: TestResult): Promise<void> {
    const { pages, providersTable } = this.#modules
    const { provider, returnTo, response, recorder, outcome } = result
    const identity = 'identity' in outcome ? outcome.identity : undefined
    const error = 'error' in outcome ? outcome.error : undefined
    const predicted = identity && (await this.#predict(identity, provider))
    const reason = error?.code ?? predicted?.refused
    const passed = reason === undefined
    const userId = predicted?.user && String(predicted.user.id)
    // A test of settings that have changed since has not passed.
    if (
      passed &&
      !(await providersTable.recordTestSignIn(provider, { userId, secretEncoding: recorder.encoding }))
    )
      throw new PortalSsoError('provider_changed', 'the provider was changed during the test sign-in')
    await this.#record(req, result, reason)

    const failure = error && diagnose(error, provider, recorder)
    await pages.show(req, res, 'test-sign-in', {
      ...pages.locale(),
      provider: { displayName: provider.displayName, enabled: provider.enabled },
      passed,
      wrong: failure && {
        title: stepTitles[failure.step],
        finding: failure.finding,
        remedy: failure.remedy,
      },
      lines: [...protocolLines(provider, response, recorder, failure), ...addressLines(provider, identity)],
      outlook: predicted && { ...predicted, here: compareWithCurrentUser(req, predicted) },
      ...claimsTable(provider, recorder.idClaims, recorder.userInfo),
      backHref: returnTo,
    })
  }

  /** Decides as a real sign-in would, and applies nothing. */
  async #predict(identity: Identity, { portal }: Provider): Promise<PredictedOutcome> {
    const { signIn } = this.#modules
    const { decision } = await signIn.resolver.resolve(identity, portal)
    return predictOutcome(decision, identity, signIn.canVerifyEmail)
  }

  async #record(
    req: Request,
    { provider, purpose, outcome, recorder }: TestResult,
    reason: PortalSsoError['code'] | undefined,
  ): Promise<void> {
    const { events, oneTimeLinks } = this.#modules
    const { portal, slug } = provider
    const { actor, oneTimeLinkId } = purpose
    const verdict = reason === undefined ? 'passed' : 'failed'
    if (reason !== undefined) {
      const cause = 'error' in outcome ? describeError(outcome.error) : 'the portal does not admit this user'
      const entry = { portal, provider: slug, actor, code: reason, cause }
      this.#core.logger.warn(entry, 'a test sign-in failed')
    }
    if (oneTimeLinkId !== undefined) await oneTimeLinks.setOutcome(oneTimeLinkId, verdict)
    const hasNewEncoding = reason === undefined && recorder.encoding !== provider.secretEncoding
    await events.record({
      kind: 'provider-sign-in-tested',
      portal,
      provider: slug,
      actor,
      clientAddress: req.ip,
      detail: {
        outcome: verdict,
        reason,
        ...(hasNewEncoding && { secretEncoding: recorder.encoding }),
      },
    })
  }
}

/** Tells administrators whether they could sign in again as themselves. */
function compareWithCurrentUser(req: Request, { user }: PredictedOutcome): string | undefined {
  const current = req.user as User | undefined
  if (!user || !current) return undefined
  return String(user.id) === String(current.id)
    ? 'You are signed in as this user now.'
    : `This is a different user. You are signed in as ${current.name} (${current.email}).`
}
