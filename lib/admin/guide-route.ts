import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Router } from 'express'
import { presetOf, presets } from '../providers/presets/presets.ts'
import { guidesDirectory } from '../shared/package-paths.ts'
import { asyncHandler } from '../web/handler.ts'
import { type AdminContext, createShowAdmin } from './context.ts'
import { blocksOf } from './markdown.ts'

/** `GET /new/:preset/guide`: what to do in the provider's console, as it is written in `docs/providers`. */
export function createGuideRoute(parts: AdminContext): Router {
  const show = createShowAdmin(parts)
  const router = Router()
  router.get(
    '/new/:preset/guide',
    asyncHandler(async (req, res, next) => {
      const preset = presetOf(String(req.params.preset))
      // The name of the file is the preset's own, never the request's.
      const text =
        preset && (await readFile(path.join(guidesDirectory, preset.guide), 'utf8').catch(() => ''))
      if (!text) return next()
      const hrefOf = (href: string | undefined) => hrefIn(req.baseUrl, href)
      await show(req, res, 'guide', { preset, blocks: blocksOf(text), hrefOf })
    }),
  )
  return router
}

/** Other guides are pages here; what leads elsewhere in the repository leads nowhere in a portal. */
function hrefIn(base: string, href = ''): string | undefined {
  if (href.startsWith('https://')) return href
  const other = presets.find(({ guide }) => guide === href)
  return other && `${base}/new/${other.name}/guide`
}
