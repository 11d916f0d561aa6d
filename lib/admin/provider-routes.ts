import { ProviderTestError } from '../management/test-provider.ts'
import { describeVouching } from '../oidc/vouches.ts'
import type { ProviderChanges } from '../providers/settings.ts'
import { ManagementError } from '../shared/errors.ts'
import { sentence } from '../shared/sanitize-text.ts'
import {
  type AdminHandler,
  type AdminRequest,
  type AdminRoutes,
  findProvider,
  type Message,
  redirectTo,
  showPage,
  textOf,
  withProvider,
} from './admin-request.ts'
import { countAffected, showProvider } from './provider-page.ts'

type ProviderAct = readonly [Message, (page: AdminRequest, slug: string) => Promise<unknown>]

/** By the last part of the path: `POST /:slug/enable`. */
const providerActs: Record<string, ProviderAct> = {
  test: ['tested', ({ providers, options }, slug) => providers.test(slug, options)],
  enable: [
    'enabled',
    ({ providers, options, req }, slug) => {
      const withoutTestSignIn = textOf(req.body, 'withoutTestSignIn') === 'yes'
      return providers.enable(slug, { ...options, withoutTestSignIn })
    },
  ],
  disable: ['disabled', (page, slug) => page.providers.disable(slug, disableOptions(page))],
  recommend: ['recommended', ({ providers, options }, slug) => providers.recommend(slug, options)],
  'clear-recommended': ['notRecommended', ({ providers, options }) => providers.clearRecommended(options)],
  move: ['moved', moveProvider],
  'pin-algorithm': [
    'saved',
    async ({ providers, options, req }, slug) => {
      const changes = { signingAlgorithm: textOf(req.body, 'algorithm') } as ProviderChanges
      return await providers.update(slug, changes, options)
    },
  ],
  'rotate-key': ['rotated', ({ providers, options }, slug) => providers.rotateClientKey(slug, options)],
  retire: [
    'retiring',
    async ({ providers, options, req }, slug) => {
      const at = new Date(textOf(req.body, 'at'))
      if (Number.isNaN(at.getTime())) throw new ManagementError('invalid', 'enter the end date')
      await providers.retire(slug, at, options)
    },
  ],
  keep: ['kept', ({ providers, options }, slug) => providers.cancelRetirement(slug, options)],
  remove: ['removed', (page, slug) => page.providers.remove(slug, disableOptions(page))],
  restore: ['restored', ({ providers, options }, slug) => providers.restore(slug, options)],
}

function disableOptions({ options, req }: AdminRequest) {
  return { ...options, endSessions: textOf(req.body, 'endSessions') !== '' }
}

async function moveProvider({ providers, options, req }: AdminRequest, slug: string): Promise<void> {
  const order = (await providers.list(options)).map((provider) => provider.slug)
  const from = order.indexOf(slug)
  if (from < 0) throw new ManagementError('not_found', `no provider is called "${slug}"`)
  const to = from + (textOf(req.body, 'direction') === 'up' ? -1 : 1)
  if (to >= 0) order.splice(to, 0, ...order.splice(from, 1))
  await providers.reorder(order, options)
}

function actHandler(name: string, [message, act]: ProviderAct): AdminHandler {
  return async (page) => {
    const slug = String(page.req.params.slug)
    try {
      await act(page, slug)
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      const problem = sentence(error.issues.map((issue) => issue.message).join('; '))
      const checks = error instanceof ProviderTestError ? { checks: error.checks } : {}
      return await showProvider(page, await findProvider(page), { problem, ...checks })
    }
    const toList = name === 'remove' || textOf(page.req.body, 'from') === 'list'
    redirectTo(page, toList ? '/' : `/${slug}`, { done: message })
  }
}

const confirmation = (view: string): AdminHandler =>
  withProvider(async (page, provider) =>
    showPage(page, view, { provider, ...(await countAffected(page, provider)) }),
  )

/** `/:slug` and below: the page of a provider, its acts, and the confirmations before the destructive ones. */
export const providerRoutes: AdminRoutes = {
  'GET /:slug': withProvider(showProvider),
  'GET /:slug/what-is-read': withProvider((page, provider) => {
    const { organizationClaims } = describeVouching(provider)
    return showPage(page, 'what-is-read', { provider, organizationClaims })
  }),
  'GET /:slug/disable': confirmation('disable'),
  'GET /:slug/remove': confirmation('remove'),
  'POST /:slug/test-sign-in': withProvider(async ({ options, req, res, testSignIns }, provider) => {
    const returnTo = `${req.baseUrl}/${provider.slug}`
    await testSignIns.begin(req, res, { provider, actor: options.actor, returnTo })
  }),
  ...Object.fromEntries(
    Object.entries(providerActs).map(([name, act]) => [`POST /:slug/${name}`, actHandler(name, act)]),
  ),
}
