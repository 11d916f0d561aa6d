import { type Request, type Response, Router } from 'express'
import { handle } from '../web/handle.ts'
import { markOf } from './mark.ts'
import type { AdminParts } from './parts.ts'
import { allFail, statesOf } from './provider-state.ts'
import { createShowAdmin } from './show-admin.ts'

/** `GET /`: all providers in the order of the login page. `POST /test`: tests them all. */
export function createListRoutes(parts: AdminParts): Router {
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
      mark: markOf(provider),
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
    // A few at a time: each may take seconds, and they must not use up what sign-ins need.
    const testSome = async () => {
      for (let slug = waiting.shift(); slug !== undefined; slug = waiting.shift())
        // One that was removed meanwhile is no reason to leave out the others.
        if (await providers.find(slug, portal)) await providers.test(slug, portal)
    }
    await Promise.all([testSome(), testSome(), testSome(), testSome()])
    res.redirect(303, `${req.baseUrl}/?done=tested`)
  }

  const router = Router()
  router.get('/', handle(showList))
  router.post('/test', ...posted, handle(testAll))
  return router
}
