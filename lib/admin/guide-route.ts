import { Router } from 'express'
import { presetOf } from '../providers/presets/presets.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, createShowAdmin } from './context.ts'

/** `GET /new/:preset/guide`: the setup guide of a preset. `npm run guides` renders it from `docs/providers`. */
export function createGuideRoute(parts: AdminContext): Router {
  const show = createShowAdmin(parts)
  const router = Router()
  router.get(
    '/new/:preset/guide',
    asyncHandler(async (req, res, next) => {
      // The view includes the guide by the preset's own name, never by the request's.
      const preset = presetOf(String(req.params.preset))
      if (!preset) return next()
      await show(req, res, 'guide', { preset })
    }),
  )
  return router
}
