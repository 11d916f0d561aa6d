import { type Request, Router } from 'express'
import { ConfigurationError } from '../errors.ts'
import { FailedTest } from '../providers/failed-test.ts'
import type { Provider } from '../providers/provider.ts'
import { handle } from '../web/handle.ts'
import { createOfExisting } from './of-existing.ts'
import { type AdminParts, howOf, textOf } from './parts.ts'
import { createProviderActs } from './provider-acts.ts'
import { createShowAdmin } from './show-admin.ts'
import { createShowProvider } from './show-provider.ts'
import { sentence } from './words.ts'

/** `/:slug` and what lies below it: one provider, its acts, and the questions before those that take something away. */
export function createProviderRoutes(parts: AdminParts): Router {
  const { portalOf, posted, providers, rehearsals, sessionActs } = parts
  const show = createShowAdmin(parts)
  const showProvider = createShowProvider(parts)

  const ofExisting = createOfExisting(parts)
  async function whomItConcerns(req: Request, { slug }: Provider) {
    const portal = portalOf(req)
    const [dependents, sessions] = await Promise.all([
      providers.whoDependsOn(slug, portal),
      sessionActs.count({ provider: slug, portal }),
    ])
    return { dependents, sessions }
  }

  const router = Router()
  router.get('/:slug', ofExisting(showProvider))
  router.get(
    '/:slug/what-is-read',
    ofExisting((req, res, provider) => show(req, res, 'what-is-read', { provider })),
  )
  for (const view of ['disable', 'remove'])
    router.get(
      `/:slug/${view}`,
      ofExisting(async (req, res, provider) =>
        show(req, res, view, { provider, ...(await whomItConcerns(req, provider)) }),
      ),
    )
  router.get(
    '/:slug/rebinding',
    ofExisting(async (req, res, provider) => {
      const plan = await providers.rebindingPlan(provider.slug, portalOf(req))
      await show(req, res, 'rebinding', { provider, plan })
    }),
  )
  router.post(
    '/:slug/rehearse',
    ...posted,
    ofExisting(async (req, res, provider) => {
      const returnTo = `${req.baseUrl}/${provider.slug}`
      await rehearsals.begin(req, res, { provider, by: howOf(req, portalOf).by, returnTo })
    }),
  )

  for (const [name, act] of Object.entries(createProviderActs(providers)))
    router.post(
      `/:slug/${name}`,
      ...posted,
      handle(async (req, res, next) => {
        const slug = String(req.params.slug)
        const how = howOf(req, portalOf)
        try {
          const message = await act(slug, how, req.body)
          res.redirect(303, `${req.baseUrl}${placeAfter(name, slug, req.body)}?done=${message}`)
        } catch (error) {
          if (!(error instanceof ConfigurationError)) throw error
          const provider = await providers.find(slug, how.portal)
          if (!provider) return next()
          const problem = sentence(error.message.replace(/^[a-z]\w*: /i, ''))
          const checks = error instanceof FailedTest ? { checks: error.checks } : {}
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
