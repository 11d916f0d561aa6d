import type { RequestHandler } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from './core.ts'

/**
 * CSRF protection: another site must not sign a user out, or finish a registration for them. Browsers send `Sec-Fetch-Site`
 * (Fetch Metadata), older ones `Origin`. A POST with neither is refused.
 */
export function refuseCrossSitePosts({ urls, portalOf }: Pick<Core, 'urls' | 'portalOf'>): RequestHandler {
  return (req, _res, next) => {
    const site = req.get('sec-fetch-site')
    const origin = req.get('origin')
    const isSameOrigin = site === undefined ? origin === urls.origin(portalOf(req)) : site === 'same-origin'
    if (isSameOrigin) return next()
    const sender = JSON.stringify({ site: site?.slice(0, 40), origin: origin?.slice(0, 200) })
    next(new PortalSsoError('cross_site_request', `a post from ${sender}`))
  }
}
