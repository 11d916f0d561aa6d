import type { RequestHandler } from 'express'
import { PortalSsoError } from '../shared/errors.ts'

/**
 * Refuses posts that another site made this browser send (CSRF): to sign somebody out, or to finish a registration for
 * them. Browsers say where a post comes from in `Sec-Fetch-Site` (Fetch Metadata), older ones in `Origin`; a post that
 * says neither is refused.
 *
 * @param originOf the public origin of the request's portal
 */
export function refuseCrossSitePosts(
  originOf: (req: Parameters<RequestHandler>[0]) => string,
): RequestHandler {
  return (req, _res, next) => {
    const site = req.get('sec-fetch-site')
    const same = site === undefined ? req.get('origin') === originOf(req) : site === 'same-origin'
    next(
      same
        ? undefined
        : new PortalSsoError('cross_site_request', `a post from ${describe(site, req.get('origin'))}`),
    )
  }
}

function describe(site: string | undefined, origin: string | undefined): string {
  return JSON.stringify({ site: site?.slice(0, 40), origin: origin?.slice(0, 200) })
}
