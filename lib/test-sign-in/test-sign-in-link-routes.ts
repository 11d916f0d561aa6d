import { type Request, type RequestHandler, Router } from 'express'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalResolver } from '../web/request.ts'
import type { PortalUrls } from '../web/urls.ts'
import type { TestSignIns } from './test-sign-in.ts'

export interface TestSignInLinkRoutesParts {
  urls: PortalUrls
  pages: Pages
  portalOf: PortalResolver
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  testSignIns: TestSignIns
  table: ProvidersTable
  oneTimeLinks: OneTimeLinks
}

/**
 * `GET|POST /login/:provider/rehearsal`: where a link from a terminal leads. Opening it changes nothing, for it may be opened by
 * whatever looks into mails and chats; the button uses it up.
 */
export function createTestSignInLinkRoutes(parts: TestSignInLinkRoutesParts): Router {
  const { urls, pages, portalOf, posted, testSignIns, table, oneTimeLinks } = parts

  /** The provider that a good link is about; nothing is used up. */
  async function found(req: Request, given: unknown): Promise<Provider> {
    const portal = portalOf(req)
    const ticket = await oneTimeLinks.find(portal, 'rehearsal', given)
    const slug = ticket?.detail.provider
    const provider =
      slug !== undefined && slug === req.params.provider ? await table.find(portal, slug) : undefined
    if (!provider) throw gone()
    return provider
  }

  const gone = () => new PortalSsoError('ticket_gone', 'no such link to a rehearsal is good (any more)')

  const ask = asyncHandler(async (req, res) => {
    const { displayName, slug } = await found(req, req.query.ticket)
    await pages.show(req, res, 'rehearsal-begin', {
      ...pages.locale(),
      provider: { displayName },
      action: urls.path(`/login/${slug}/rehearsal`),
      ticket: req.query.ticket,
    })
  })

  const begin = asyncHandler(async (req, res) => {
    const { ticket: given } = (req.body ?? {}) as { ticket?: unknown }
    const provider = await found(req, given)
    const ticket = await oneTimeLinks.take(portalOf(req), 'rehearsal', given)
    if (!ticket) throw gone()
    await testSignIns.begin(req, res, { provider, actor: ticket.detail.actor, ticket: ticket.id })
  })

  const router = Router()
  router.get('/login/:provider/rehearsal', ask)
  router.post('/login/:provider/rehearsal', ...posted, begin)
  return router
}
