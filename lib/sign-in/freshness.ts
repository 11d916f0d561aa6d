import { PortalSsoError } from '../errors.ts'
import { clockTolerance } from '../providers/provider-client.ts'
import type { Authentication } from '../sessions/portal-session.ts'
import type { Freshness } from './attempts.ts'
import type { Identity } from './identity.ts'

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
