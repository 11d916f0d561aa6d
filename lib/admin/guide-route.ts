import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Router } from 'express'
import { guidesDirectory } from '../paths.ts'
import { presetOf } from '../providers/presets/presets.ts'
import { handle } from '../web/handle.ts'

/** `GET /new/:preset/guide`: what to do in the provider's console, as it is written in `docs/providers`. */
export function createGuideRoute(): Router {
  const router = Router()
  router.get(
    '/new/:preset/guide',
    handle(async (req, res, next) => {
      // The name of the file is the preset's own, never the request's.
      const guide = presetOf(String(req.params.preset))?.guide
      const text = guide && (await readFile(path.join(guidesDirectory, guide), 'utf8').catch(() => undefined))
      if (!text) return next()
      res.type('text/plain').send(text)
    }),
  )
  return router
}
