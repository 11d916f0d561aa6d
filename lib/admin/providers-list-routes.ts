import { type Request, type Response, Router } from 'express'
import type { ProvidersApi } from '../management/providers-api.ts'
import { ManagementError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, showAdminPage } from './context.ts'
import { providerBadge } from './format.ts'
import { allEnabledFailed, providerStates } from './provider-status.ts'

/** No further test starts after this time, so that neither the browser nor a proxy gives up on the page. */
const testAllTimeoutMs = 20_000

/** `GET /`: all providers in the order of the login page. `POST /test`: tests all of them. */
export function providersListRoutes(context: AdminContext): Router {
  const router = Router()
  router.get(
    '/',
    asyncHandler((req, res) => showProviders(context, req, res)),
  )
  router.post(
    '/test',
    ...context.posted,
    asyncHandler(async (req, res) => {
      const isComplete = await testAll(context.providers, context.portalOf(req))
      res.redirect(303, `${req.baseUrl}/?done=${isComplete ? 'tested' : 'testedSome'}`)
    }),
  )
  return router
}

async function showProviders(context: AdminContext, req: Request, res: Response): Promise<void> {
  const { history, portalOf, providers } = context
  const portal = portalOf(req)
  const [all, activities, removed] = await Promise.all([
    providers.list({ portal }),
    history.activity(portal),
    providers.listRemoved({ portal }),
  ])
  const now = new Date()
  const rows = all.map((provider, at) => ({
    provider,
    mark: providerBadge(provider),
    states: providerStates(provider, activities.get(provider.slug), now),
    activity: activities.get(provider.slug),
    // The recommended provider is always first.
    canMoveUp: !provider.recommended && at > 0 && !all[at - 1]?.recommended,
    canMoveDown: !provider.recommended && at < all.length - 1,
  }))
  const locals = { rows, removed, allFail: allEnabledFailed(all) }
  await showAdminPage(context, req, res, { view: 'list', locals })
}

/** @returns false if the time was not enough for all providers */
async function testAll(providers: ProvidersApi, portal: string): Promise<boolean> {
  const waiting = (await providers.list({ portal })).map(({ slug }) => slug)
  const until = Date.now() + testAllTimeoutMs
  // Four at a time: a test may take seconds, and sign-ins need connections, too.
  const testSome = async () => {
    while (waiting.length > 0 && Date.now() < until)
      await testOne(providers, waiting.shift() as string, portal)
  }
  await Promise.all([testSome(), testSome(), testSome(), testSome()])
  return waiting.length === 0
}

async function testOne(providers: ProvidersApi, slug: string, portal: string): Promise<void> {
  try {
    await providers.test(slug, { portal })
  } catch (error) {
    // The provider has just been removed, or its secret cannot be unsealed. Test the others anyway.
    if (!(error instanceof ManagementError)) throw error
  }
}
