import { ManagementError } from '../shared/errors.ts'
import { type AdminRequest, type AdminRoutes, redirectTo, showPage } from './admin-request.ts'
import { providerBadge } from './format.ts'
import { allEnabledFailed, providerStates } from './provider-status.ts'

/** No further test starts after this time, so that neither the browser nor a proxy gives up on the page. */
const testAllTimeoutMs = 20_000

/** `GET /`: all providers in the order of the login page. `POST /test`: tests all of them. */
export const providersListRoutes: AdminRoutes = { 'GET /': showProviders, 'POST /test': testAll }

async function showProviders(page: AdminRequest): Promise<void> {
  const { history, options, providers } = page
  const [all, activities, removed] = await Promise.all([
    providers.list(options),
    history.activity(options),
    providers.listRemoved(options),
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
  await showPage(page, 'list', { rows, removed, allFail: allEnabledFailed(all) })
}

async function testAll(page: AdminRequest): Promise<void> {
  const { options, providers } = page
  const waiting = await providers.list(options)
  const until = Date.now() + testAllTimeoutMs
  const testSome = async () => {
    for (let next = waiting.shift(); next; next = Date.now() < until ? waiting.shift() : undefined) {
      try {
        await providers.test(next.slug, options)
      } catch (error) {
        // The provider has just been removed, or its secret cannot be unsealed. Test the others anyway.
        if (!(error instanceof ManagementError)) throw error
      }
    }
  }
  // Four at a time: a test may take seconds, and sign-ins need connections, too.
  await Promise.all([testSome(), testSome(), testSome(), testSome()])
  redirectTo(page, '/', { done: waiting.length === 0 ? 'tested' : 'testedSome' })
}
