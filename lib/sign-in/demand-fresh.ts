import type { Request, Response } from 'express'
import { PortalSsoError } from '../errors.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { isIssuerOf } from '../providers/templated-issuer.ts'
import type { PortalSessions } from '../sessions/portal-session.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { User } from '../users/user-directory.ts'
import type { Addresses } from '../web/addresses.ts'
import { isRepeatable } from '../web/is-repeatable.ts'
import { keepPrivate } from '../web/keep-private.ts'
import { leadOn } from '../web/lead-on.ts'
import { newReference, type Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'
import { wantsPage } from '../web/wants-page.ts'
import type { Freshness } from './attempts.ts'
import { freshnessQuery, isFresh } from './freshness.ts'

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
