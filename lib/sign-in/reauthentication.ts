import type { Request, Response } from 'express'
import type { Identity } from '../oidc/identity.ts'
import { clockTolerance } from '../oidc/provider-client.ts'
import { isIssuerOf } from '../providers/issuer.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Authentication, PortalSessions } from '../sessions/sessions.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { User } from '../users/user-directory.ts'
import { keepPrivate } from '../web/handler.ts'
import { newReference, type Pages } from '../web/pages.ts'
import { leadOn } from '../web/redirect-page.ts'
import { isRepeatable, type PortalOf, wantsPage } from '../web/request.ts'
import type { Addresses } from '../web/urls.ts'
import type { Freshness } from './attempts.ts'

/** seconds: a year */
export const longestAge = 366 * 24 * 3600
/**
 * What a list of authentication context class references may be, as text: it travels in the cookie of an attempt, beside a deep
 * link, and all of those have 3 KB (`attempts.ts`). Browsers drop a cookie of more than 4 KB.
 */
const references = /^(?=.{1,200}$)[\u0021-\u007e]+(?: [\u0021-\u007e]+)*$/

/** Whether a page that starts a sign-in would demand these as they are. */
export function isDemandable(acr: readonly unknown[]): boolean {
  return (
    acr.every((each) => typeof each === 'string' && !each.includes(' ')) && references.test(acr.join(' '))
  )
}

/**
 * `?max_age=900&acr_values=…` of the page that starts a sign-in. Anybody can write there what they like, and gains nothing by it:
 * whoever demands it looks at the session once more.
 */
export function readFreshness(query: Readonly<Record<string, unknown>>): Freshness | undefined {
  const { max_age, acr_values } = query
  const maxAge = typeof max_age === 'string' && /^\d{1,8}$/.test(max_age) ? Number(max_age) : undefined
  const acr =
    typeof acr_values === 'string' && references.test(acr_values) ? acr_values.split(' ') : undefined
  if (maxAge === undefined && acr === undefined) return undefined
  return { maxAge: maxAge === undefined ? undefined : Math.min(maxAge, longestAge), acr }
}

/** The same as parameters of a link. */
export function freshnessQuery(fresh: Freshness | undefined): Record<string, string | undefined> {
  return { max_age: fresh?.maxAge?.toString(), acr_values: fresh?.acr?.join(' ') }
}

/** Whether the person of a session has shown who they are as is demanded. The provider's clock may differ by the tolerance. */
export function isFresh({ at, acr }: Authentication, demanded: Freshness): boolean {
  return isRecent(at, demanded.maxAge) && isOneOf(acr, demanded.acr)
}

/**
 * Judges what came back (OpenID Connect Core 3.1.2.1 and 3.1.3.7, 12 and 13). The demand went through the browser, so whoever sits
 * there can have taken `prompt=login` and `max_age` out of it: only the signed claims prove that it was met.
 *
 * @throws PortalSsoError when it was not, so that nobody is sent round in circles between the portal and the provider
 */
export function assertFresh(
  { authenticatedAt, acr }: Pick<Identity, 'authenticatedAt' | 'acr'>,
  demanded: Freshness | undefined,
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
  return maxAge === undefined || (at !== undefined && Date.now() - at <= (maxAge + clockTolerance) * 1000)
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
export type DemandFresh = (
  req: Request,
  res: Response,
  demand: Freshness & { returnTo: string | undefined },
) => Promise<boolean>

export interface DemandFreshParts {
  addresses: Addresses
  identities: Pick<IdentitiesTable, 'findUserId'>
  pages: Pages
  portalOf: PortalOf
  sessions: PortalSessions
  table: ProvidersTable
}

export function createDemandFresh(parts: DemandFreshParts): DemandFresh {
  const { addresses, identities, pages, portalOf, sessions, table } = parts

  /**
   * The one that the person came by; otherwise the picker shows: where that is gone, where the host signed the person in itself, or
   * where they have taken this way to sign in away meanwhile, which would be added again, or lead to a registration.
   */
  async function providerOf(req: Request): Promise<Provider | undefined> {
    const cameBy = sessions.cameBy(req)
    if (!cameBy) return undefined
    const portal = portalOf(req)
    const provider = await table.find(portal, cameBy.provider)
    if (!provider?.enabled || !isIssuerOf(provider, cameBy.issuer)) return undefined
    const userId = await identities.findUserId(portal, cameBy)
    return userId === String((req.user as User).id) ? provider : undefined
  }

  return async (req, res, { returnTo, ...demanded }) => {
    const authentication = sessions.authentication(req)
    if (authentication && isFresh(authentication, demanded)) return true
    const provider = await providerOf(req)
    const page = provider ? `/login/${provider.slug}` : '/login'
    keepPrivate(res)
    if (wantsPage(req)) {
      const repeatable = isRepeatable(req)
      const href = addresses.path(page, { returnTo, ...freshnessQuery(demanded) })
      // What leads on to another site must be no redirect after a post.
      if (provider && !repeatable) await leadOn(pages, req, res, { href, name: provider.displayName })
      else res.redirect(repeatable ? 302 : 303, href)
      return false
    }
    const problem = new PortalSsoError('reauthentication_required', 'the sign-in is too old or too weak')
    const login = addresses.path(page, freshnessQuery(demanded))
    await pages.problem(req, res, problem, { reference: newReference(), ways: [], login })
    return false
  }
}
