import { type Request, Router } from 'express'
import { ProviderTestError } from '../management/test-provider.ts'
import type { Provider } from '../providers/provider.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { asyncHandler } from '../web/handler.ts'
import {
  type AdminContext,
  type AdminProviders,
  actOptions,
  createShowAdmin,
  createWithProvider,
  type Message,
  textOf,
} from './context.ts'
import { sentence } from './format.ts'
import { createShowProvider } from './provider-page.ts'

/** Something that takes one click. @throws ConfigurationError with what to do */
export type ProviderAct = (
  slug: string,
  how: { portal: string; actor: string },
  form: Request['body'],
) => Promise<Message>

/** By the last part of their address: `POST /:slug/enable`. */
export function createProviderActs(providers: AdminProviders): Record<string, ProviderAct> {
  return {
    async test(slug, { portal }) {
      await providers.test(slug, portal)
      return 'tested'
    },
    async enable(slug, how, form) {
      const withoutRehearsal = textOf(form, 'withoutRehearsal') === 'yes'
      await providers.enable(slug, { ...how, withoutRehearsal })
      return 'enabled'
    },
    async disable(slug, how, form) {
      await providers.disable(slug, { ...how, endSessions: textOf(form, 'endSessions') !== '' })
      return 'disabled'
    },
    async recommend(slug, how, form) {
      const off = textOf(form, 'recommended') === 'no'
      await providers.recommend(off ? undefined : slug, how)
      return off ? 'notRecommended' : 'recommended'
    },
    async move(slug, how, form) {
      const order = moved(
        (await providers.list(how.portal)).map((provider) => provider.slug),
        slug,
        textOf(form, 'direction') === 'up' ? -1 : 1,
      )
      await providers.reorder(order, how)
      return 'moved'
    },
    async 'rotate-key'(slug, how) {
      await providers.rotateClientKey(slug, how)
      return 'rotated'
    },
    async retire(slug, how, form) {
      const at = new Date(textOf(form, 'at'))
      if (Number.isNaN(at.getTime())) throw new ConfigurationError('enter the day from which it is disabled')
      await providers.retire(slug, at, how)
      return 'retiring'
    },
    async keep(slug, how) {
      await providers.keep(slug, how)
      return 'kept'
    },
    async remove(slug, how, form) {
      await providers.remove(slug, { ...how, endSessions: textOf(form, 'endSessions') !== '' })
      return 'removed'
    },
    async restore(slug, how) {
      await providers.restore(slug, how)
      return 'restored'
    },
    async rebind(slug, how, form) {
      switch (textOf(form, 'act')) {
        case 'start':
          await providers.startRebinding(slug, how)
          return 'rebinding'
        case 'undo':
          await providers.undoRebinding(slug, how)
          return 'rebindingUndone'
        default:
          await providers.stopRebinding(slug, how)
          return 'rebindingStopped'
      }
    },
  }
}

function moved(slugs: readonly string[], slug: string, actor: -1 | 1): string[] {
  const order = [...slugs]
  const at = order.indexOf(slug)
  if (at < 0) throw new ConfigurationError(`no provider is called "${slug}"`)
  const to = at + actor
  if (to < 0 || to >= order.length) return order
  order.splice(to, 0, ...order.splice(at, 1))
  return order
}

/** `/:slug` and what lies below it: one provider, its acts, and the questions before those that take something away. */
export function createProviderRoutes(parts: AdminContext): Router {
  const { portalOf, posted, providers, testSignIns, sessionsApi } = parts
  const show = createShowAdmin(parts)
  const showProvider = createShowProvider(parts)

  const withProvider = createWithProvider(parts)
  async function whomItConcerns(req: Request, { slug }: Provider) {
    const portal = portalOf(req)
    const [dependents, sessions] = await Promise.all([
      providers.usage(slug, portal),
      sessionsApi.count({ provider: slug, portal }),
    ])
    return { dependents, sessions }
  }

  const router = Router()
  router.get('/:slug', withProvider(showProvider))
  router.get(
    '/:slug/what-is-read',
    withProvider((req, res, provider) => show(req, res, 'what-is-read', { provider })),
  )
  for (const view of ['disable', 'remove'])
    router.get(
      `/:slug/${view}`,
      withProvider(async (req, res, provider) =>
        show(req, res, view, { provider, ...(await whomItConcerns(req, provider)) }),
      ),
    )
  router.get(
    '/:slug/rebinding',
    withProvider(async (req, res, provider) => {
      const plan = await providers.rebindingPlan(provider.slug, portalOf(req))
      await show(req, res, 'rebinding', { provider, plan })
    }),
  )
  router.post(
    '/:slug/rehearse',
    ...posted,
    withProvider(async (req, res, provider) => {
      const returnTo = `${req.baseUrl}/${provider.slug}`
      await testSignIns.begin(req, res, { provider, actor: actOptions(req, portalOf).actor, returnTo })
    }),
  )

  for (const [name, act] of Object.entries(createProviderActs(providers)))
    router.post(
      `/:slug/${name}`,
      ...posted,
      asyncHandler(async (req, res, next) => {
        const slug = String(req.params.slug)
        const how = actOptions(req, portalOf)
        try {
          const message = await act(slug, how, req.body)
          res.redirect(303, `${req.baseUrl}${placeAfter(name, slug, req.body)}?done=${message}`)
        } catch (error) {
          if (!(error instanceof ConfigurationError)) throw error
          const provider = await providers.find(slug, how.portal)
          if (!provider) return next()
          const problem = sentence(error.message.replace(/^[a-z]\w*: /i, ''))
          const checks = error instanceof ProviderTestError ? { checks: error.checks } : {}
          await showProvider(req, res, provider, { problem, ...checks })
        }
      }),
    )
  return router
}

function placeAfter(act: string, slug: string, form: unknown): string {
  if (act === 'remove' || textOf(form, 'from') === 'list') return '/'
  return act === 'rebind' ? `/${slug}/rebinding` : `/${slug}`
}
