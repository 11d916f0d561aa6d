import { type Request, type RequestHandler, Router } from 'express'
import type { ProvidersApi } from '../management/providers-api.ts'
import { ProviderTestError } from '../management/test-provider.ts'
import type { Provider } from '../providers/provider.ts'
import { ManagementError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import {
  type AdminContext,
  actOptions,
  type Message,
  showAdminPage,
  textOf,
  withProvider,
} from './context.ts'
import { sentence } from './format.ts'
import { showProvider } from './provider-page.ts'

/** An act that takes one click. @throws ManagementError that explains why it cannot be done */
type ProviderAct = (
  providers: ProvidersApi,
  slug: string,
  options: { portal: string; actor: string },
  form: Request['body'],
) => Promise<Message>

/** By the last part of the path: `POST /:slug/enable`. */
const providerActs: Record<string, ProviderAct> = {
  async test(providers, slug, { portal }) {
    await providers.test(slug, { portal })
    return 'tested'
  },
  async enable(providers, slug, options, form) {
    const withoutTestSignIn = textOf(form, 'withoutTestSignIn') === 'yes'
    await providers.enable(slug, { ...options, withoutTestSignIn })
    return 'enabled'
  },
  async disable(providers, slug, options, form) {
    await providers.disable(slug, { ...options, endSessions: textOf(form, 'endSessions') !== '' })
    return 'disabled'
  },
  async recommend(providers, slug, options, form) {
    const off = textOf(form, 'recommended') === 'no'
    if (off) await providers.clearRecommended(options)
    else await providers.recommend(slug, options)
    return off ? 'notRecommended' : 'recommended'
  },
  async move(providers, slug, options, form) {
    const order = reordered(
      (await providers.list(options)).map((provider) => provider.slug),
      slug,
      textOf(form, 'direction') === 'up' ? -1 : 1,
    )
    await providers.reorder(order, options)
    return 'moved'
  },
  async 'rotate-key'(providers, slug, options) {
    await providers.rotateClientKey(slug, options)
    return 'rotated'
  },
  async retire(providers, slug, options, form) {
    const at = new Date(textOf(form, 'at'))
    if (Number.isNaN(at.getTime())) throw new ManagementError('invalid', 'enter the end date')
    await providers.retire(slug, at, options)
    return 'retiring'
  },
  async keep(providers, slug, options) {
    await providers.cancelRetirement(slug, options)
    return 'kept'
  },
  async remove(providers, slug, options, form) {
    await providers.remove(slug, { ...options, endSessions: textOf(form, 'endSessions') !== '' })
    return 'removed'
  },
  async restore(providers, slug, options) {
    await providers.restore(slug, options)
    return 'restored'
  },
}

function reordered(slugs: readonly string[], slug: string, step: -1 | 1): string[] {
  const order = [...slugs]
  const from = order.indexOf(slug)
  if (from < 0) throw new ManagementError('not_found', `no provider is called "${slug}"`)
  const to = from + step
  if (to < 0 || to >= order.length) return order
  order.splice(to, 0, ...order.splice(from, 1))
  return order
}

/** `/:slug` and below: the page of a provider, its acts, and the confirmations before the destructive ones. */
export function providerRoutes(context: AdminContext): Router {
  const { portalOf, posted, testSignIns } = context
  const router = Router()
  router.get(
    '/:slug',
    withProvider(context, (req, res, provider) => showProvider(context, req, res, { provider })),
  )
  router.get(
    '/:slug/what-is-read',
    withProvider(context, (req, res, provider) =>
      showAdminPage(context, req, res, { view: 'what-is-read', locals: { provider } }),
    ),
  )
  for (const view of ['disable', 'remove'])
    router.get(
      `/:slug/${view}`,
      withProvider(context, async (req, res, provider) => {
        const locals = { provider, ...(await countAffected(context, provider, portalOf(req))) }
        await showAdminPage(context, req, res, { view, locals })
      }),
    )
  router.post(
    '/:slug/test-sign-in',
    ...posted,
    withProvider(context, async (req, res, provider) => {
      const returnTo = `${req.baseUrl}/${provider.slug}`
      await testSignIns.begin(req, res, { provider, actor: actOptions(req, portalOf).actor, returnTo })
    }),
  )
  for (const [name, act] of Object.entries(providerActs))
    router.post(`/:slug/${name}`, ...posted, actHandler(context, name, act))
  return router
}

async function countAffected({ providers, sessionsApi }: AdminContext, { slug }: Provider, portal: string) {
  const [dependents, sessions] = await Promise.all([
    providers.usage(slug, { portal }),
    sessionsApi.count({ provider: slug }, { portal }),
  ])
  return { dependents, sessions }
}

function actHandler(context: AdminContext, name: string, act: ProviderAct): RequestHandler {
  const { portalOf, providers } = context
  return asyncHandler(async (req, res, next) => {
    const slug = String(req.params.slug)
    const options = actOptions(req, portalOf)
    try {
      const message = await act(providers, slug, options, req.body)
      res.redirect(303, `${req.baseUrl}${pathAfter(name, slug, req.body)}?done=${message}`)
    } catch (error) {
      if (!(error instanceof ManagementError)) throw error
      const provider = await providers.find(slug, options)
      if (!provider) return next()
      const problem = sentence(error.issues.map(({ message }) => message).join('; '))
      const checks = error instanceof ProviderTestError ? { checks: error.checks } : {}
      await showProvider(context, req, res, { provider, problem, ...checks })
    }
  })
}

function pathAfter(act: string, slug: string, form: unknown): string {
  if (act === 'remove' || textOf(form, 'from') === 'list') return '/'
  return `/${slug}`
}
