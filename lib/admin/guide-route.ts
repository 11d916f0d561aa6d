import { Router } from 'express'
import { presetOf } from '../providers/presets/presets.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, showAdminPage } from './context.ts'

/** `GET /new/:preset/guide`: the setup guide of a preset. `npm run guides` renders it from `docs/providers`. */
export function guideRoute(context: AdminContext): Router {
  const router = Router()
  router.get(
    '/new/:preset/guide',
    asyncHandler(async (req, res, next) => {
      // The view includes the guide by the preset's own name, never by the request's.
      const preset = presetOf(String(req.params.preset))
      if (!preset) return next()
      await showAdminPage(context, req, res, { view: 'guide', locals: { preset } })
    }),
  )
  return router
}
