import { type Request, type RequestHandler, type Response, Router } from 'express'
import type { EventLog } from '../events/event-log.ts'
import type { RefusalLog } from '../events/refusal-log.ts'
import { BrowserReportedError } from '../oidc/authorization-response.ts'
import { describeReportedError } from '../oidc/provider-error.ts'
import { admits, type Tenancy } from '../providers/issuer.ts'
import { presetOf } from '../providers/presets/presets.ts'
import { type Provider, providerName } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Refusals } from '../sign-in/refuse.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { StateCookie } from '../web/sealed-cookie.ts'
import type { PortalUrls } from '../web/urls.ts'

/** A provider's consent response, sent through the browser: unverified, and it admits nobody. */
export type Consent = { state: string | undefined } & (
  | { outcome: 'granted'; tenant: string }
  | { outcome: 'refused'; reason: string }
)

/**
 * Reads `admin_consent=True&tenant=…`, or `error=…`. Microsoft sends `admin_consent=True` with errors, too: so those come first.
 *
 * @param provider tells which tenants may consent
 */
function readConsent(req: Request, provider: Tenancy): Consent {
  // Not req.query: the host's parser may merge or nest duplicate parameters.
  const parameters = new URLSearchParams(req.originalUrl.replace(/^[^?]*/, ''))
  const single = (name: string) => (parameters.getAll(name).length === 1 ? parameters.get(name) : null)
  const state = single('state') ?? undefined
  const refused = (reason: string): Consent => ({ state, outcome: 'refused', reason })

  if (parameters.has('error'))
    return refused(
      describeReportedError(String(parameters.get('error')), parameters.get('error_description'), []),
    )
  if (!/^true$/i.test(single('admin_consent') ?? ''))
    return refused('the response does not say that an administrator consented')
  const tenant = single('tenant')?.toLowerCase()
  return tenant !== undefined && admits(provider, tenant)
    ? { state, outcome: 'granted', tenant }
    : refused('the response is for a tenant that this provider does not admit')
}

/**
 * Shows a neutral page for a consent that was given in Entra's admin center. It returns without `state`, to the first redirect
 * URI of the app registration. Anyone can open such a URL, so it confirms nothing and records nothing.
 *
 * @param provider omitted if it is disabled or unknown, which looks the same: nobody learns of a draft
 * @returns false, without a response, for any other request
 */
export async function showConsentReturn(
  req: Request,
  res: Response,
  provider: Provider | undefined,
  { pages, urls }: { pages: Pages; urls: PortalUrls },
): Promise<boolean> {
  const parameters = new URLSearchParams(req.originalUrl.replace(/^[^?]*/, ''))
  if ((provider && !presetOf(provider.preset)?.adminConsent) || req.method !== 'GET') return false
  if (parameters.has('state') || parameters.has('code') || !parameters.has('admin_consent')) return false
  await pages.show(req, res, 'consent', {
    provider: provider && { displayName: providerName(provider, pages.locale(req)) },
    returned: true,
    testHref: provider?.enabled ? urls.path(`/login/${provider.slug}`) : undefined,
    loginHref: urls.path('/login'),
  })
  return true
}

const path = '/login/:provider/admin-consent'

/**
 * `GET /login/:provider/admin-consent` redirects to the page on which an administrator consents for their organisation. It needs
 * no authorization: the provider knows its administrators. It works for disabled providers, because consent comes first, under the
 * name of their preset.
 */
// Long: one small handler for each route.
export function adminConsentRoutes(
  core: Core,
  modules: {
    consentState: StateCookie
    events: EventLog
    pages: Pages
    refusalLog: RefusalLog
    refusals: Refusals
    providersTable: ProvidersTable
  },
): Router {
  const { portalOf, urls } = core
  const { consentState, events, pages, refusalLog, refusals, providersTable } = modules

  async function ask(_req: Request, res: Response, provider: Provider, endpoint: string): Promise<void> {
    const url = new URL(endpoint)
    url.searchParams.set('client_id', provider.clientId)
    // The same scopes as a sign-in.
    url.searchParams.set('scope', 'openid email profile')
    url.searchParams.set('redirect_uri', urls.adminConsent(provider.slug, provider.portal))
    url.searchParams.set('state', consentState.begin(res, provider.id))
    res.redirect(302, url.href)
  }

  async function receive(req: Request, res: Response, provider: Provider): Promise<void> {
    const { enabled, portal, slug } = provider
    const { state, ...consent } = readConsent(req, provider)
    // Before anything is recorded: an attacker can send any response here.
    if (consentState.end(req, res, state) !== provider.id)
      return await refuse(
        req,
        res,
        provider,
        new PortalSsoError('consent_refused', 'this browser was not sent to the provider (any more)'),
      )
    const detail = { outcome: consent.outcome, ...('tenant' in consent && { tenant: consent.tenant }) }
    if (refusalLog.admits(req, portal))
      await events.record({ kind: 'admin-consent', portal, provider: slug, clientAddress: req.ip, detail })
    if (consent.outcome === 'refused')
      return await refuse(req, res, provider, new BrowserReportedError('consent_refused', consent.reason))
    await pages.show(req, res, 'consent', {
      provider: { displayName: providerName(provider, pages.locale(req)) },
      // A sign-in with a disabled provider would only lead to an error page.
      testHref: enabled ? urls.path(`/login/${slug}`) : undefined,
      loginHref: urls.path('/login'),
    })
  }

  async function refuse(req: Request, res: Response, provider: Provider, error: Error): Promise<void> {
    await refusals.refuse(req, res, error, { portal: provider.portal, provider })
  }

  /** For a provider of this portal that has such a page. */
  function withProvider(
    act: (req: Request, res: Response, provider: Provider, endpoint: string) => Promise<void>,
  ): RequestHandler {
    return asyncHandler(async (req, res) => {
      const portal = portalOf(req)
      const row = await providersTable.find(portal, req.params.provider)
      const preset = row && presetOf(row.preset)
      const endpoint = row && preset?.adminConsent?.(row.issuer)
      if (row && endpoint !== undefined) {
        // Attacker: guesses the slug of a draft, to read the name of a future customer.
        const provider = row.enabled ? row : { ...row, displayName: preset?.displayName ?? '', labels: {} }
        const isShown = await showConsentReturn(req, res, provider, { pages, urls })
        return isShown ? undefined : await act(req, res, provider, endpoint)
      }
      const error = new PortalSsoError('provider_not_found', 'no provider of this name asks for consent')
      await refusals.refuse(req, res, error, { portal })
    })
  }

  const router = Router()
  router.get(path, withProvider(ask))
  router.get(`${path}/callback`, withProvider(receive))
  return router
}
