import { providersPerPage } from '../providers/providers-table.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import { readSearch } from '../sign-in/picker-route.ts'
import { queryString } from '../web/urls.ts'
import { type AdminRequest, type AdminRoutes, redirectTo, showPage, textOf } from './admin-request.ts'
import { chartOf } from './chart.ts'
import { providerBadge } from './format.ts'
import { allEnabledFail, providerStatus } from './provider-status.ts'

/** Longer lists have a search. */
const searchAbove = 10
/** No provider has this name. */
const progressPath = '/providers/test'
/** So that a few providers need no page that shows the progress. */
export const waitForEndMs = 3 * SECOND

/** `GET /`: the providers in the order of the login page, page by page. `POST /test`: tests all; `GET /providers/test` shows how far it is. */
export const providersListRoutes: AdminRoutes = {
  'GET /': showProviders,
  'GET /providers/test': showTestProgress,
  'POST /test': testAll,
}

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
  const slugs = shown.map(({ slug }) => slug)
  const [activities, counts] = await Promise.all([
    history.activity({ ...options, slugs }),
    history.countsByDay(options.portal, slugs),
  ])
  const now = new Date()
  const rows = shown.map((provider, at) => {
    // The recommended provider is always first. Among the results of a search, a neighbour is not the next one.
    const canMove = search === undefined && !provider.recommended
    const before = at === 0 ? after : shown[at - 1]
    const activity = activities.get(provider.slug)
    return {
      provider,
      mark: providerBadge(provider),
      status: providerStatus(provider, activity, now, page.locale),
      chart: chartOf(counts.get(provider.slug) ?? []),
      lastSignInAt: activity?.lastSignInAt,
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
    hasSearch: !isComplete || rows.length > searchAbove,
    nextHref: hasMore && listHref({ q: search, after: shown.at(-1)?.slug }),
    firstHref: after && listHref({ q: search }),
    allFail: isComplete && allEnabledFail(rows.map(({ status }) => status)),
  })
}

async function testAll(page: AdminRequest): Promise<void> {
  const { options, providers } = page
  const { finished } = await providers.testAll(options)
  await withTimeout(waitForEndMs, finished).catch(() => {})
  await showTestProgress(page)
}

/** The page loads itself again until the tests have ended, on whatever instance they run. */
async function showTestProgress(page: AdminRequest): Promise<void> {
  const { options, providers, req } = page
  const progress = await providers.testProgress(options)
  if (!progress) return redirectTo(page, '/', { done: 'tested' })
  if (req.method === 'POST') return redirectTo(page, progressPath, {})
  await showPage(page, 'progress', {
    ...progress,
    title: page.say('Testing all providers'),
    here: 'providers',
    backHref: `${req.baseUrl}/`,
    back: page.say('Providers'),
    refreshHref: req.baseUrl + progressPath,
  })
}
