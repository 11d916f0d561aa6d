import type { Request, Response } from 'express'
import type { RefusalLog } from '../events/refusal-log.ts'
import { BrowserReportedError } from '../oidc/authorization-response.ts'
import { presetOf } from '../providers/presets/presets.ts'
import { type Provider, providerName } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { describeError, PortalSsoError, type ProblemCode, toProblem } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import type { ConsentRequest, NextStep, Pages } from '../web/pages.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { ReauthenticationRequirement } from './attempts.ts'
import { reauthenticationQuery } from './reauthentication.ts'

export interface RefusalContext {
  portal: string
  /** left out if trying the same provider again cannot succeed; only its slug if the row is gone */
  provider?:
    | (Pick<Provider, 'slug'> & Partial<Pick<Provider, 'clientId' | 'displayName' | 'labels' | 'preset'>>)
    | undefined
  returnTo?: string | undefined
  /** applies to the next attempt, too */
  reauthentication?: ReauthenticationRequirement | undefined
  /** signs the user out at the provider and leads back to a sign-in */
  signOutHref?: string | undefined
  /** the only next step, for an attempt that would not have started a session: a retry from here would be a sign-in */
  backHref?: string | undefined
}

// The provider would send the same user straight back: only another account helps.
export const accountProblems: ReadonlySet<ProblemCode> = new Set<ProblemCode>([
  'organization_not_admitted',
  'account_not_assigned',
  'email_unverified',
  'user_inactive',
  'registration_closed',
  'method_removed',
])

// Only another setting at the provider helps, so it would respond in the same way.
const permanentProblems = new Set<ProblemCode>([
  'authentication_unproven',
  'provider_error',
  'subject_constant',
])

/** Ends a sign-in with a page. The operator finds the exact cause in the log under the page's reference. */
export class Refusals {
  readonly #core: Core
  readonly #pages: Pages
  readonly #providersTable: ProvidersTable
  readonly #refusalLog: RefusalLog

  constructor(core: Core, pages: Pages, refusalLog: RefusalLog, providersTable: ProvidersTable) {
    this.#providersTable = providersTable
    this.#core = core
    this.#pages = pages
    this.#refusalLog = refusalLog
  }

  /** Logs a callback that started no session and was not refused, so that no sign-in disappears without a trace. */
  async recordContinuation(req: Request, provider: Provider, outcome: string): Promise<void> {
    const fields = { portal: provider.portal, provider: provider.slug, outcome }
    await this.#refusalLog.write(req, { level: 'info', message: 'a callback started no session', fields })
  }

  async refuse(req: Request, res: Response, error: unknown, context: RefusalContext): Promise<void> {
    const { homePath, urls } = this.#core
    const { portal, provider, reauthentication, backHref } = context
    const problem = toProblem(error)
    const { code } = problem
    const reason = describeError(error)
    const where = { portal, provider: provider?.slug }
    const reference = await this.#refusalLog.write(req, {
      level: problem.status >= 500 ? 'error' : 'warn',
      message: 'a sign-in was refused',
      code,
      cause: error,
      fields: where,
      event: {
        kind: 'sign-in-failed',
        ...where,
        detail: { code, reason, ...(error instanceof BrowserReportedError && { reportedBy: 'browser' }) },
      },
    })

    // A user who only had to authenticate again is still signed in.
    const staysSignedIn = reauthentication && backHref === undefined && req.user
    await this.#pages.problem(req, res, problem, {
      reference,
      nextSteps: [
        ...nextStepsFor(urls, code, context),
        ...(staysSignedIn ? [{ label: 'home', href: homePath } as const] : []),
      ],
      placeholders: { provider: providerName(provider ?? {}, this.#pages.locale(req)) },
      consent: code === 'consent_missing' ? this.#consentRequest(context) : undefined,
    })
  }

  /** Attacker: a hostile provider, whose words an administrator would read. The request holds only what the portal knows itself. */
  #consentRequest({ portal, provider }: RefusalContext): ConsentRequest | undefined {
    const { urls } = this.#core
    if (!provider?.clientId) return undefined
    const asks = provider.preset && presetOf(provider.preset)?.adminConsent
    const link = asks && urls.origin(portal) + urls.path(`/login/${provider.slug}/admin-consent`)
    return { address: urls.base(portal), clientId: provider.clientId, ...(link && { link }) }
  }

  /**
   * Shown before the redirect to a provider that is down, where the user would only see an error page of the browser. Not a refusal,
   * so nothing is recorded: the outage has its event. The first link is the one that most likely works.
   */
  async warnOfOutage(
    req: Request,
    res: Response,
    { portal, provider, returnTo, reauthentication }: RefusalContext & { provider: Provider },
  ): Promise<void> {
    const { homePath, urls } = this.#core
    const given = Object.entries(req.query).filter(([, value]) => typeof value === 'string')
    const same = Object.fromEntries(given) as Record<string, string>
    const query = { returnTo, ...reauthenticationQuery(reauthentication) }
    const start = `/login/${provider.slug}`
    const retry: NextStep = { label: 'tryAgain', href: urls.path(start, same) }
    const onward: NextStep = { label: 'continueAnyway', href: urls.path(start, { ...same, anyway: '1' }) }
    const another: NextStep = { label: 'anotherWay', href: urls.path('/login', query) }
    const enabled = await this.#providersTable.listEnabled(portal, { limit: 9 })
    const others = enabled.filter(({ id }) => id !== provider.id)
    const works = others.some(({ health, showOnPicker }) => showOnPicker && !health)
    const steps = works ? [another, onward] : [retry, onward, ...(others.length > 0 ? [another] : [])]
    const problem = new PortalSsoError('provider_unavailable', 'the last probe found a fault')
    await this.#pages.problem(req, res, problem, {
      reference: undefined,
      nextSteps: [...steps, ...(req.user ? [{ label: 'home', href: homePath } as const] : [])],
      placeholders: { provider: providerName(provider, this.#pages.locale(req)) },
    })
  }
}

function nextStepsFor(
  urls: PortalUrls,
  code: ProblemCode,
  { provider, returnTo, reauthentication, signOutHref, backHref }: RefusalContext,
): NextStep[] {
  if (backHref !== undefined) return [{ label: 'goBack', href: backHref }]
  const query = { returnTo, ...reauthenticationQuery(reauthentication) }
  const choose: NextStep = { label: 'chooseProvider', href: urls.path('/login', query) }
  if (provider === undefined) return [choose]
  const start = `/login/${provider.slug}`
  // `max_age` and `prompt=login` were sent already: only a user without a session at the provider is asked.
  if (signOutHref !== undefined && !accountProblems.has(code))
    return [{ label: 'signOutFirst', href: signOutHref }, choose]
  if (permanentProblems.has(code)) return [choose]
  const administrators: NextStep[] =
    provider.preset && presetOf(provider.preset)?.adminConsent
      ? [{ label: 'adminConsent', href: urls.path(`${start}/admin-consent`) }]
      : []
  if (code === 'consent_refused') return [...administrators, choose]
  if (accountProblems.has(code)) {
    const href = signOutHref ?? urls.path(start, { ...query, account: 'other' })
    return [{ label: 'otherAccount', href }, choose]
  }
  const retry: NextStep = { label: 'tryAgain', href: urls.path(start, query) }
  // A user who is no administrator tries again after one has consented.
  return code === 'consent_missing' ? [retry, ...administrators, choose] : [retry, choose]
}
