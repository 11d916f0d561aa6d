import { type Request, type RequestHandler, Router } from 'express'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from './core.ts'
import { isSafeMethod } from './request.ts'

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

/** Destinations of a page inside another page. Their mode is `navigate`, too. */
const framed = new Set<string | undefined>(['iframe', 'frame', 'embed', 'object', 'fencedframe'])

/**
 * An image tag on any site makes its visitors send requests to us. Without this, those would count against everybody behind the
 * same address. Prefetched pages must not start or finish a sign-in. Browsers mark both (Fetch Metadata, `Sec-Purpose`).
 *
 * @param pages paths of our pages
 */
export function refuseSubresources(pages: string[]): Router {
  const router = Router()
  const exempt: RequestHandler = (_req, _res, next) => next('router')
  // The provider's page contains the one as a frame, and the provider itself calls the other.
  router.use(['/logout/:provider/frontchannel', '/logout/:provider/backchannel'], exempt)
  // Providers fetch the keys, and those that run on Node send `Sec-Fetch-Mode: cors`.
  router.use('/login/:provider/jwks.json', refuseForeignSubresources, exempt)
  router.use('/login/:provider', refuseSignInSubresources)
  router.use(pages, refuseForeignSubresources)
  return router
}

function refuseIf(isRefused: (req: Request) => boolean): RequestHandler {
  return (req, res, next) => {
    const [mode = 'navigate', dest] = [req.get('sec-fetch-mode'), req.get('sec-fetch-dest')]
    const isSubresource = mode !== 'navigate' || framed.has(dest)
    if (/^prefetch\b/.test(req.get('sec-purpose') ?? ''))
      return void res.status(503).set('cache-control', 'no-store').end()
    if (!isSubresource || !isRefused(req)) return next()
    const described = JSON.stringify({ mode: mode.slice(0, 40), dest: dest?.slice(0, 40) })
    next(new PortalSsoError('navigation_required', `no navigation, but ${described}`))
  }
}

/** For `/login/:provider`; see `refuseSubresources`. */
export const refuseSignInSubresources = refuseIf((req) => isSafeMethod(req) || isFromElsewhere(req))

/** For one page; see `refuseSubresources`. */
export const refuseForeignSubresources = refuseIf(isFromElsewhere)

function isFromElsewhere(req: Request): boolean {
  return /^(?:cross|same)-site$/.test(req.get('sec-fetch-site') ?? '')
}
