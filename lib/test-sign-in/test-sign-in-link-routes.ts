import { type Request, type RequestHandler, Router } from 'express'
import type { OneTimeLinks } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import type { Core } from '../web/core.ts'
import { asyncHandler } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { TestSignIns } from './test-sign-in.ts'

/**
 * `GET|POST /login/:provider/rehearsal`: the page of a link from a terminal. Opening it changes nothing, because mail and chat
 * programs open links too. Its button uses the link up.
 */
export function testSignInLinkRoutes(
  { portalOf, urls }: Core,
  modules: {
    oneTimeLinks: OneTimeLinks
    pages: Pages
    /** parses posts, after refusing those from other sites */
    posted: RequestHandler[]
    table: ProvidersTable
    testSignIns: TestSignIns
  },
): Router {
  const { oneTimeLinks, pages, posted, table, testSignIns } = modules
  const expired = () => new PortalSsoError('ticket_gone', 'the link to a test sign-in is not valid')

  /** Does not use the link up. */
  async function findProvider(req: Request, ticket: unknown): Promise<Provider> {
    const portal = portalOf(req)
    const link = await oneTimeLinks.find(portal, 'rehearsal', ticket)
    const slug = link?.detail.provider
    const isSame = slug !== undefined && slug === req.params.provider
    const provider = isSame ? await table.find(portal, slug) : undefined
    if (!provider) throw expired()
    return provider
  }

  const ask = asyncHandler(async (req, res) => {
    const { ticket } = req.query
    const { displayName, slug } = await findProvider(req, ticket)
    await pages.show(req, res, 'rehearsal-begin', {
      ...pages.locale(),
      provider: { displayName },
      action: urls.path(`/login/${slug}/rehearsal`),
      ticket,
    })
  })

  const begin = asyncHandler(async (req, res) => {
    const { ticket } = (req.body ?? {}) as { ticket?: unknown }
    const provider = await findProvider(req, ticket)
    const link = await oneTimeLinks.take(portalOf(req), 'rehearsal', ticket)
    if (!link) throw expired()
    await testSignIns.begin(req, res, { provider, actor: link.detail.actor, oneTimeLinkId: link.id })
  })

  const router = Router()
  router.get('/login/:provider/rehearsal', ask)
  router.post('/login/:provider/rehearsal', ...posted, begin)
  return router
}
