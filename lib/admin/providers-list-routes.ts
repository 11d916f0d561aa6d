import { type Request, type Response, Router } from 'express'
import { ConfigurationError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, createShowAdmin } from './context.ts'
import { providerBadge } from './format.ts'
import { allFail, statesOf } from './provider-status.ts'

/** milliseconds after which no further test is begun: whoever waits for the page, or a proxy, gives up some time */
const patience = 20_000

/** `GET /`: all providers in the order of the login page. `POST /test`: tests them all. */
export function createListRoutes(parts: AdminContext): Router {
  const { history, portalOf, posted, providers } = parts
  const show = createShowAdmin(parts)

  async function showList(req: Request, res: Response): Promise<void> {
    const portal = portalOf(req)
    const [all, activities, removed] = await Promise.all([
      providers.list(portal),
      history.activity(portal),
      providers.removed(portal),
    ])
    const now = new Date()
    const rows = all.map((provider, at) => ({
      provider,
      mark: providerBadge(provider),
      states: statesOf(provider, activities.get(provider.slug), now),
      activity: activities.get(provider.slug),
      // The recommended one comes first, whatever the order.
      canMoveUp: !provider.recommended && at > 0 && !all[at - 1]?.recommended,
      canMoveDown: !provider.recommended && at < all.length - 1,
    }))
    await show(req, res, 'list', { rows, removed, allFail: allFail(all) })
  }

  async function testAll(req: Request, res: Response): Promise<void> {
    const portal = portalOf(req)
    const waiting = (await providers.list(portal)).map(({ slug }) => slug)
    const until = Date.now() + patience
    // A few at a time: each may take seconds, and they must not use up what sign-ins need.
    const testSome = async () => {
      while (waiting.length > 0 && Date.now() < until) await testOne(waiting.shift() as string, portal)
    }
    await Promise.all([testSome(), testSome(), testSome(), testSome()])
    res.redirect(303, `${req.baseUrl}/?done=${waiting.length > 0 ? 'testedSome' : 'tested'}`)
  }

  async function testOne(slug: string, portal: string): Promise<void> {
    try {
      await providers.test(slug, portal)
    } catch (error) {
      // Removed meanwhile, or its secret cannot be opened, as its own page says: no reason to leave out the others.
      if (!(error instanceof ConfigurationError)) throw error
    }
  }

  const router = Router()
  router.get('/', asyncHandler(showList))
  router.post('/test', ...posted, asyncHandler(testAll))
  return router
}
