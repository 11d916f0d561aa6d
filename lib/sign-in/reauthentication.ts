import type { Request, Response } from 'express'
import type { Identity } from '../oidc/identity.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import { type Provider, providerName } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { maxAgeLimitSeconds } from '../providers/setting-values.ts'
import type { Authentication, Sessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { newReference } from '../shared/random-code.ts'
import { clockToleranceSeconds } from '../shared/time.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { User } from '../users/user-directory.ts'
import type { Core } from '../web/core.ts'
import { setPrivateHeaders } from '../web/handler.ts'
import { type Pages, sendRedirectPage } from '../web/pages.ts'
import { acceptsHtml, isSafeMethod } from '../web/request.ts'
import type { Attempt, ReauthenticationRequirement, UsedAttempt } from './attempts.ts'

// The list travels in the cookie of an attempt, which must stay below the 4 KB of browsers and our own limit (attempts.ts).
const acrListPattern = /^(?=.{1,200}$)[\u0021-\u007e]+(?: [\u0021-\u007e]+)*$/

/** Whether the page that starts a sign-in would accept these values unchanged. */
export function isValidAcrList(acr: readonly unknown[]): boolean {
  return (
    acr.every((each) => typeof each === 'string' && !each.includes(' ')) && acrListPattern.test(acr.join(' '))
  )
}

/**
 * Reads `?max_age=900&acr_values=…`. An attacker can change both and gains nothing: the page that demands them checks the
 * session again.
 */
export function readReauthentication(
  query: Readonly<Record<string, unknown>>,
): ReauthenticationRequirement | undefined {
  const { max_age, acr_values } = query
  const maxAge = typeof max_age === 'string' && /^\d{1,8}$/.test(max_age) ? Number(max_age) : undefined
  const acr =
    typeof acr_values === 'string' && acrListPattern.test(acr_values) ? acr_values.split(' ') : undefined
  if (maxAge === undefined && acr === undefined) return undefined
  return { maxAge: maxAge === undefined ? undefined : Math.min(maxAge, maxAgeLimitSeconds), acr }
}

/** The requirement as parameters of a link. */
export function reauthenticationQuery(
  requirement: ReauthenticationRequirement | undefined,
): Record<string, string | undefined> {
  return { max_age: requirement?.maxAge?.toString(), acr_values: requirement?.acr?.join(' ') }
}

/** A used attempt as parameters of a link that starts it again. */
export function restartQuery(used: UsedAttempt): Record<string, string | undefined> {
  const { purpose, reauthentication, returnTo } = used
  const proving = purpose.kind === 'prove-account' ? '1' : undefined
  return { returnTo, ...reauthenticationQuery(reauthentication), proving }
}

/** Whether a session's authentication is recent and strong enough. The provider's clock may differ by the tolerance. */
export function satisfies(
  { at, acr }: Authentication,
  requirement: ReauthenticationRequirement,
  now: number,
): boolean {
  return isRecent(at, requirement.maxAge, now) && isOneOf(acr, requirement.acr)
}

/**
 * OpenID Connect Core 3.1.2.1 and 3.1.3.7, 12 and 13. The user can remove `prompt=login` and `max_age` from the request, so only
 * the signed claims prove that it was satisfied.
 *
 * @throws PortalSsoError if it was not: a new request would send the user round in circles
 */
export function assertReauthenticated(
  { authenticatedAt, acr }: Pick<Identity, 'authenticatedAt' | 'acr'>,
  { maxAge, acr: accepted }: ReauthenticationRequirement,
): void {
  if (maxAge !== undefined && authenticatedAt === undefined)
    throw new PortalSsoError(
      'authentication_unproven',
      'max_age was sent, and the ID token has no valid auth_time',
    )
  if (!isRecent(authenticatedAt && authenticatedAt * 1000, maxAge))
    throw new PortalSsoError('authentication_stale', 'the auth_time of the ID token is older than max_age')
  if (!isOneOf(acr, accepted))
    throw new PortalSsoError(
      'authentication_too_weak',
      acr === undefined ? 'the ID token has no acr' : 'the acr of the ID token is none of acr_values',
    )
}

/**
 * True if `max_age` or `prompt=login`, whichever was not sent yet, may still prove the re-authentication. The sealed attempt says
 * what was sent, so that no provider and no browser can cause a second retry: that would be a redirect loop.
 */
export function canRetry(error: unknown, { retried }: Attempt): boolean {
  return !retried && isReauthenticationProblem(error)
}

/** True if the ID token does not show that the user authenticated recently. */
export function isReauthenticationProblem(error: unknown): boolean {
  const code = error instanceof PortalSsoError ? error.code : undefined
  return code === 'authentication_unproven' || code === 'authentication_stale'
}

/** @param at milliseconds since 1970 */
function isRecent(at: number | undefined, maxAge: number | undefined, now = Date.now()): boolean {
  return maxAge === undefined || (at !== undefined && now - at <= (maxAge + clockToleranceSeconds) * 1000)
}

function isOneOf(acr: string | undefined, accepted: readonly string[] | undefined): boolean {
  return accepted === undefined || (acr !== undefined && accepted.includes(acr))
}

interface ReauthenticationModules {
  readonly identities: Pick<IdentitiesTable, 'findUserId'>
  readonly pages: Pages
  readonly sessions: Sessions
  readonly providersTable: ProvidersTable
}

/** Makes a signed-in user authenticate again, unless they did recently. */
export class Reauthentication {
  readonly #core: Core
  readonly #modules: ReauthenticationModules

  constructor(core: Core, modules: ReauthenticationModules) {
    this.#core = core
    this.#modules = modules
  }

  /**
   * Redirects a page to the provider of the session. Other clients get 401 and the URL of the sign-in.
   *
   * @returns true if the requirement is satisfied; otherwise the request has been answered
   */
  async require(
    req: Request,
    res: Response,
    { returnTo, ...requirement }: ReauthenticationRequirement & { returnTo: string | undefined },
  ): Promise<boolean> {
    const { pages, sessions } = this.#modules
    const { urls } = this.#core
    sessions.assertFresh(req)
    const authentication = sessions.authentication(req)
    if (authentication && satisfies(authentication, requirement, this.#core.clock.now())) return true
    const provider = await this.sessionProvider(req)
    const page = provider ? `/login/${provider.slug}` : '/login'
    const query = reauthenticationQuery(requirement)
    setPrivateHeaders(res)
    if (!acceptsHtml(req)) {
      const problem = new PortalSsoError('reauthentication_required', 'the sign-in is too old or too weak')
      const login = urls.path(page, query)
      await pages.problem(req, res, problem, { reference: newReference(), nextSteps: [], login })
      return false
    }
    const href = urls.path(page, { returnTo, ...query })
    const isSafe = isSafeMethod(req)
    // Chrome would apply the form's `form-action` to a redirect to another site.
    if (provider && !isSafe)
      await sendRedirectPage(pages, req, res, { href, name: providerName(provider, pages.locale(req)) })
    else res.redirect(isSafe ? 302 : 303, href)
    return false
  }

  /**
   * `undefined` leads to the picker: the provider is gone, or the host signed the user in, or the user has unlinked it, so that
   * a sign-in there would link it again or lead to a registration.
   */
  async sessionProvider(req: Request): Promise<Provider | undefined> {
    const { identities, sessions, providersTable } = this.#modules
    const signedInVia = sessions.signedInVia(req)
    if (!signedInVia) return undefined
    const portal = this.#core.portalOf(req)
    const provider = await providersTable.find(portal, signedInVia.provider)
    if (!provider?.enabled || !isIssuerOf(provider, signedInVia.issuer)) return undefined
    const userId = await identities.findUserId(portal, signedInVia)
    return userId === String((req.user as User).id) ? provider : undefined
  }
}
