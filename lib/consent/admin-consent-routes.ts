import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import { entraCode, quoteRedacted } from '../oidc/provider-error.ts'
import { admits, type Tenancy } from '../providers/issuer.ts'
import { presetOf } from '../providers/presets/presets.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Refuse } from '../sign-in/refuse.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import type { StateCookie } from '../web/sealed-cookie.ts'
import type { PortalUrls } from '../web/urls.ts'

/** What a provider's page of consent sent back through the browser: unverified, and nobody is let in by it. */
export type Consent = { state: string | undefined } & (
  | { outcome: 'granted'; tenant: string }
  | { outcome: 'refused'; reason: string }
)

/**
 * Reads `admin_consent=True&tenant=…`, or `error=…`. Microsoft sends `admin_consent=True` with errors, too: so those come first.
 *
 * @param provider the row, which says whose administrators are asked at all
 */
export function readConsent(req: Request, provider: Tenancy): Consent {
  // Not req.query: the host chooses its parser, and that merges or nests what came twice.
  const parameters = new URLSearchParams(req.originalUrl.replace(/^[^?]*/, ''))
  const only = (name: string) => (parameters.getAll(name).length === 1 ? parameters.get(name) : null)
  const state = only('state') ?? undefined
  const refused = (reason: string): Consent => ({ state, outcome: 'refused', reason })

  if (parameters.has('error')) {
    const code = entraCode(parameters.get('error_description'))
    return refused(
      `the provider answered with the error ${quoteRedacted(String(parameters.get('error')), [])}${code ? ` (${code})` : ''}`,
    )
  }
  if (!/^true$/i.test(only('admin_consent') ?? ''))
    return refused('the answer does not say that anybody consented')
  const tenant = only('tenant')?.toLowerCase()
  return tenant !== undefined && admits(provider, tenant)
    ? { state, outcome: 'granted', tenant }
    : refused('the answer is of a tenant that does not come in by this row')
}

export interface ConsentRoutesParts {
  urls: PortalUrls
  consents: StateCookie
  events: EventLog
  pages: Pages
  portalOf: PortalResolver
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
  const { urls, consents, events, pages, portalOf, refuse, table } = parts

  async function ask(_req: Request, res: Response, provider: Provider, endpoint: string): Promise<void> {
    const url = new URL(endpoint)
    url.searchParams.set('client_id', provider.clientId)
    // What a sign-in asks for, and nothing more.
    url.searchParams.set('scope', 'openid email profile')
    url.searchParams.set('redirect_uri', urls.adminConsent(provider.slug, provider.portal))
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
      testHref: enabled ? urls.path(`/login/${slug}`) : undefined,
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
    return asyncHandler(async (req, res) => {
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
