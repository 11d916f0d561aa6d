import { providersPerPage } from '../providers/providers-table.ts'
import { ManagementError } from '../shared/errors.ts'
import { readSearch } from '../sign-in/picker-route.ts'
import { queryString } from '../web/urls.ts'
import { type AdminRequest, type AdminRoutes, redirectTo, showPage, textOf } from './admin-request.ts'
import { providerBadge } from './format.ts'
import { allEnabledFailed, providerStates } from './provider-status.ts'

/** No further test starts after this time, so that neither the browser nor a proxy gives up on the page. */
const testAllTimeoutMs = 20_000
/** More than fit into that time. */
const maxTested = 1000

/** `GET /`: the providers in the order of the login page, page by page. `POST /test`: tests all of them. */
export const providersListRoutes: AdminRoutes = { 'GET /': showProviders, 'POST /test': testAll }

async function showProviders(page: AdminRequest): Promise<void> {
  const { history, options, providers, req } = page
  const search = readSearch(req.query.q)
  const after = await providers.find(textOf(req.query, 'after'), options)
  const filter = { search, after: after?.slug, most: providersPerPage + 1 }
  const [found, removed] = await Promise.all([
    providers.list({ ...options, ...filter }),
    providers.listRemoved({ ...options, most: providersPerPage + 1 }),
  ])
  const shown = found.slice(0, providersPerPage)
  const hasMore = found.length > shown.length
  const activities = await history.activity({ ...options, slugs: shown.map(({ slug }) => slug) })
  const now = new Date()
  const rows = shown.map((provider, at) => {
    // The recommended provider is always first. Among the results of a search, a neighbour is not the next one.
    const canMove = search === undefined && !provider.recommended
    const before = at === 0 ? after : shown[at - 1]
    return {
      provider,
      mark: providerBadge(provider),
      states: providerStates(provider, activities.get(provider.slug), now),
      activity: activities.get(provider.slug),
      canMoveUp: canMove && before !== undefined && !before.recommended,
      canMoveDown: canMove && at < found.length - 1,
    }
  })
  const isComplete = search === undefined && !after && !hasMore
  const listHref = (query: Record<string, string | undefined>) => `${req.baseUrl}/${queryString(query)}`
  await showPage(page, 'list', {
    rows,
    removed: removed.slice(0, providersPerPage),
    moreRemoved: removed.length > providersPerPage,
    search,
    from: { from: 'list', ...(search && { q: search }), ...(after && { after: after.slug }) },
    isComplete,
    nextHref: hasMore && listHref({ q: search, after: shown.at(-1)?.slug }),
    firstHref: after && listHref({ q: search }),
    allFail: isComplete && allEnabledFailed(shown),
  })
}

async function testAll(page: AdminRequest): Promise<void> {
  const { options, providers } = page
  const waiting = await providers.list({ ...options, most: maxTested })
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
