import type { Request, Response } from 'express'
import type { Identity } from '../oidc/identity.ts'
import { clockToleranceSeconds } from '../oidc/provider-client.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Authentication, Sessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { User } from '../users/user-directory.ts'
import { setPrivateHeaders } from '../web/handler.ts'
import { newReference, type Pages } from '../web/pages.ts'
import { sendRedirectPage } from '../web/redirect-page.ts'
import { acceptsHtml, isSafeMethod, type PortalResolver } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { ReauthenticationRequirement } from './attempts.ts'

/** seconds: a year */
export const maxAgeLimitSeconds = 366 * 24 * 3600
/**
 * What a list of authentication context class references may be, as text: it travels in the cookie of an attempt, beside a deep
 * link, and all of those have 3 KB (`attempts.ts`). Browsers drop a cookie of more than 4 KB.
 */
const references = /^(?=.{1,200}$)[\u0021-\u007e]+(?: [\u0021-\u007e]+)*$/

/** Whether a page that starts a sign-in would demand these as they are. */
export function isValidAcrList(acr: readonly unknown[]): boolean {
  return (
    acr.every((each) => typeof each === 'string' && !each.includes(' ')) && references.test(acr.join(' '))
  )
}

/**
 * `?max_age=900&acr_values=…` of the page that starts a sign-in. Anybody can write there what they like, and gains nothing by it:
 * whoever demands it looks at the session once more.
 */
export function readReauthentication(
  query: Readonly<Record<string, unknown>>,
): ReauthenticationRequirement | undefined {
  const { max_age, acr_values } = query
  const maxAge = typeof max_age === 'string' && /^\d{1,8}$/.test(max_age) ? Number(max_age) : undefined
  const acr =
    typeof acr_values === 'string' && references.test(acr_values) ? acr_values.split(' ') : undefined
  if (maxAge === undefined && acr === undefined) return undefined
  return { maxAge: maxAge === undefined ? undefined : Math.min(maxAge, maxAgeLimitSeconds), acr }
}

/** The same as parameters of a link. */
export function reauthenticationQuery(
  fresh: ReauthenticationRequirement | undefined,
): Record<string, string | undefined> {
  return { max_age: fresh?.maxAge?.toString(), acr_values: fresh?.acr?.join(' ') }
}

/** Whether the person of a session has shown who they are as is demanded. The provider's clock may differ by the tolerance. */
export function meetsRequirement(
  { at, acr }: Authentication,
  demanded: ReauthenticationRequirement,
): boolean {
  return isRecent(at, demanded.maxAge) && isOneOf(acr, demanded.acr)
}

/**
 * Judges what came back (OpenID Connect Core 3.1.2.1 and 3.1.3.7, 12 and 13). The demand went through the browser, so whoever sits
 * there can have taken `prompt=login` and `max_age` out of it: only the signed claims prove that it was met.
 *
 * @throws PortalSsoError when it was not, so that nobody is sent round in circles between the portal and the provider
 */
export function assertReauthenticated(
  { authenticatedAt, acr }: Pick<Identity, 'authenticatedAt' | 'acr'>,
  demanded: ReauthenticationRequirement | undefined,
): void {
  const { maxAge, acr: wanted } = demanded ?? {}
  if (maxAge !== undefined && authenticatedAt === undefined)
    throw new PortalSsoError(
      'authentication_unproven',
      'max_age was sent, and the ID token has no auth_time that can be believed',
    )
  if (!isRecent(authenticatedAt && authenticatedAt * 1000, maxAge))
    throw new PortalSsoError('authentication_stale', 'the auth_time of the ID token is older than max_age')
  if (!isOneOf(acr, wanted))
    throw new PortalSsoError(
      'authentication_too_weak',
      acr === undefined ? 'the ID token has no acr' : 'the acr of the ID token is none of acr_values',
    )
}

/** @param at milliseconds since 1970 */
function isRecent(at: number | undefined, maxAge: number | undefined): boolean {
  return (
    maxAge === undefined || (at !== undefined && Date.now() - at <= (maxAge + clockToleranceSeconds) * 1000)
  )
}

function isOneOf(acr: string | undefined, wanted: readonly string[] | undefined): boolean {
  return wanted === undefined || (acr !== undefined && wanted.includes(acr))
}

/**
 * Lets somebody who is signed in show anew who they are, unless they did a moment ago: pages lead to the provider that they came
 * by, other clients get 401 and are told where.
 *
 * @returns whether they did; otherwise the request is answered
 */
export type RequireReauthentication = (
  req: Request,
  res: Response,
  demand: ReauthenticationRequirement & { returnTo: string | undefined },
) => Promise<boolean>

export interface RequireReauthenticationParts {
  urls: PortalUrls
  identities: Pick<IdentitiesTable, 'findUserId'>
  pages: Pages
  portalOf: PortalResolver
  sessions: Sessions
  table: ProvidersTable
}

export function createRequireReauthentication(parts: RequireReauthenticationParts): RequireReauthentication {
  const { urls, identities, pages, portalOf, sessions, table } = parts

  /**
   * The one that the person came by; otherwise the picker shows: where that is gone, where the host signed the person in itself, or
   * where they have taken this way to sign in away meanwhile, which would be added again, or lead to a registration.
   */
  async function providerOf(req: Request): Promise<Provider | undefined> {
    const signedInVia = sessions.signedInVia(req)
    if (!signedInVia) return undefined
    const portal = portalOf(req)
    const provider = await table.find(portal, signedInVia.provider)
    if (!provider?.enabled || !isIssuerOf(provider, signedInVia.issuer)) return undefined
    const userId = await identities.findUserId(portal, signedInVia)
    return userId === String((req.user as User).id) ? provider : undefined
  }

  return async (req, res, { returnTo, ...demanded }) => {
    const authentication = sessions.authentication(req)
    if (authentication && meetsRequirement(authentication, demanded)) return true
    const provider = await providerOf(req)
    const page = provider ? `/login/${provider.slug}` : '/login'
    setPrivateHeaders(res)
    if (acceptsHtml(req)) {
      const repeatable = isSafeMethod(req)
      const href = urls.path(page, { returnTo, ...reauthenticationQuery(demanded) })
      // What leads on to another site must be no redirect after a post.
      if (provider && !repeatable)
        await sendRedirectPage(pages, req, res, { href, name: provider.displayName })
      else res.redirect(repeatable ? 302 : 303, href)
      return false
    }
    const problem = new PortalSsoError('reauthentication_required', 'the sign-in is too old or too weak')
    const login = urls.path(page, reauthenticationQuery(demanded))
    await pages.problem(req, res, problem, { reference: newReference(), nextSteps: [], login })
    return false
  }
}
