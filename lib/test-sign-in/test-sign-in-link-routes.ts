import { type Request, type RequestHandler, Router } from 'express'
import type { Tickets } from '../one-time-links/one-time-links.ts'
import type { Provider } from '../providers/provider.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import { PortalSsoError } from '../shared/errors.ts'
import { handle } from '../web/handler.ts'
import type { Pages } from '../web/pages.ts'
import type { PortalOf } from '../web/request.ts'
import type { Addresses } from '../web/urls.ts'
import type { Rehearsals } from './test-sign-in.ts'

export interface TicketRoutesParts {
  addresses: Addresses
  pages: Pages
  portalOf: PortalOf
  /** reads posts, after refusing those from other sites */
  posted: RequestHandler[]
  rehearsals: Rehearsals
  table: ProvidersTable
  tickets: Tickets
}

/**
 * `GET|POST /login/:provider/rehearsal`: where a link from a terminal leads. Opening it changes nothing, for it may be opened by
 * whatever looks into mails and chats; the button uses it up.
 */
export function createTicketRoutes(parts: TicketRoutesParts): Router {
  const { addresses, pages, portalOf, posted, rehearsals, table, tickets } = parts

  /** The provider that a good link is about; nothing is used up. */
  async function found(req: Request, given: unknown): Promise<Provider> {
    const portal = portalOf(req)
    const ticket = await tickets.find(portal, 'rehearsal', given)
    const slug = ticket?.detail.provider
    const provider =
      slug !== undefined && slug === req.params.provider ? await table.find(portal, slug) : undefined
    if (!provider) throw gone()
    return provider
  }

  const gone = () => new PortalSsoError('ticket_gone', 'no such link to a rehearsal is good (any more)')

  const ask = handle(async (req, res) => {
    const { displayName, slug } = await found(req, req.query.ticket)
    await pages.show(req, res, 'rehearsal-begin', {
      ...pages.locale(),
      provider: { displayName },
      action: addresses.path(`/login/${slug}/rehearsal`),
      ticket: req.query.ticket,
    })
  })

  const begin = handle(async (req, res) => {
    const { ticket: given } = (req.body ?? {}) as { ticket?: unknown }
    const provider = await found(req, given)
    const ticket = await tickets.take(portalOf(req), 'rehearsal', given)
    if (!ticket) throw gone()
    await rehearsals.begin(req, res, { provider, by: ticket.detail.by, ticket: ticket.id })
  })

  const router = Router()
  router.get('/login/:provider/rehearsal', ask)
  router.post('/login/:provider/rehearsal', ...posted, begin)
  return router
}
