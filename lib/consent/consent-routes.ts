import { type Request, type RequestHandler, type Response, Router } from 'express'
import { PortalSsoError } from '../errors.ts'
import type { EventLog } from '../events/events.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { Refuse } from '../sign-in/refuse.ts'
import type { Addresses } from '../web/addresses.ts'
import { handle } from '../web/handle.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/portal-of.ts'
import type { RoundTrips } from '../web/round-trips.ts'
import { readConsent } from './read-consent.ts'

export interface ConsentRoutesParts {
  addresses: Addresses
  consents: RoundTrips
  events: EventLog
  pages: Pages
  portalOf: PortalOf
  refuse: Refuse
  table: ProvidersTable
}

const path = '/login/:provider/admin-consent'

/**
 * `GET /login/:provider/admin-consent` leads an administrator to the provider's page on which they consent for everybody in their
 * organisation; `…/callback` is where they come back. Anybody may go there: who is an administrator is the provider's to know.
 * Disabled providers too, for an administrator consents before people sign in.
 */
export function createConsentRoutes(parts: ConsentRoutesParts): Router {
  const { addresses, consents, events, pages, portalOf, refuse, table } = parts

  async function ask(_req: Request, res: Response, provider: Provider, endpoint: string): Promise<void> {
    const url = new URL(endpoint)
    url.searchParams.set('client_id', provider.clientId)
    // What a sign-in asks for, and nothing more.
    url.searchParams.set('scope', 'openid email profile')
    url.searchParams.set('redirect_uri', addresses.adminConsent(provider.slug, provider.portal))
    url.searchParams.set('state', await consents.begin(res, provider.id))
    res.redirect(302, url.href)
  }

  async function receive(req: Request, res: Response, provider: Provider): Promise<void> {
    const { displayName, enabled, portal, slug } = provider
    const { state, ...consent } = readConsent(req, provider)
    // Before anything is written down: anybody can come here with an answer of their own.
    if ((await consents.end(req, res, state)) !== provider.id)
      return await turnDown(req, res, provider, 'this browser was not sent to the provider (any more)')
    const detail = { outcome: consent.outcome, ...('tenant' in consent && { tenant: consent.tenant }) }
    await events.record({ kind: 'admin-consent', portal, provider: slug, clientAddress: req.ip, detail })
    if (consent.outcome === 'refused') return await turnDown(req, res, provider, consent.reason)
    await pages.show(req, res, 'consent', {
      provider: { displayName },
      // Nobody gets further than a page that says so while it is switched off.
      testHref: enabled ? addresses.path(`/login/${slug}`) : undefined,
    })
  }

  async function turnDown(req: Request, res: Response, row: Provider, reason: string): Promise<void> {
    const { portal, slug } = row
    await refuse(req, res, new PortalSsoError('consent_refused', reason), { portal, provider: slug, row })
  }

  /** For a provider of this portal that has such a page. */
  function withProvider(
    act: (req: Request, res: Response, provider: Provider, endpoint: string) => Promise<void>,
  ): RequestHandler {
    return handle(async (req, res) => {
      const portal = portalOf(req)
      const provider = await table.find(portal, req.params.provider)
      const endpoint = provider && presetOf(provider.preset)?.adminConsent?.(provider.issuer)
      if (provider && endpoint !== undefined) return await act(req, res, provider, endpoint)
      const unknown = new PortalSsoError('provider_unknown', 'no provider of such a name asks for consent')
      await refuse(req, res, unknown, { portal })
    })
  }

  const router = Router()
  router.get(path, withProvider(ask))
  router.get(`${path}/callback`, withProvider(receive))
  return router
}
