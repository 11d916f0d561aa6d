import type { Request, Response } from 'express'
import { PortalSsoError } from '../errors.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { isIssuerOf } from '../providers/templated-issuer.ts'
import type { PortalSessions } from '../sessions/portal-session.ts'
import type { Addresses } from '../web/addresses.ts'
import { keepPrivate } from '../web/keep-private.ts'
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
  pages: Pages
  portalOf: PortalOf
  sessions: PortalSessions
  table: ProvidersTable
}

export function createDemandFresh(parts: DemandFreshParts): DemandFresh {
  const { addresses, pages, portalOf, sessions, table } = parts

  /** The provider that the person came by, or the picker: where that is gone, or where the host signed the person in itself. */
  async function pageFor(req: Request): Promise<string> {
    const cameBy = sessions.cameBy(req)
    const provider = cameBy && (await table.find(portalOf(req), cameBy.provider))
    const isThere = provider?.enabled && isIssuerOf(provider, cameBy?.issuer ?? '')
    return isThere ? `/login/${provider.slug}` : '/login'
  }

  return async (req, res, { returnTo, ...demanded }) => {
    const authentication = sessions.authentication(req)
    if (authentication && isFresh(authentication, demanded)) return true
    const page = await pageFor(req)
    keepPrivate(res)
    if (wantsPage(req)) {
      const repeatable = req.method === 'GET' || req.method === 'HEAD'
      const there = addresses.path(page, { returnTo, ...freshnessQuery(demanded) })
      res.redirect(repeatable ? 302 : 303, there)
      return false
    }
    const problem = new PortalSsoError('reauthentication_required', 'the sign-in is too old or too weak')
    const login = addresses.path(page, freshnessQuery(demanded))
    await pages.problem(req, res, problem, { reference: newReference(), ways: [], login })
    return false
  }
}
