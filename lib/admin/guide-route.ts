import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { Router } from 'express'
import { guidesDirectory } from '../paths.ts'
import { presetOf, presets } from '../providers/presets/presets.ts'
import { handle } from '../web/handle.ts'
import { blocksOf } from './markdown.ts'
import type { AdminParts } from './parts.ts'
import { createShowAdmin } from './show-admin.ts'

/** `GET /new/:preset/guide`: what to do in the provider's console, as it is written in `docs/providers`. */
export function createGuideRoute(parts: AdminParts): Router {
  const show = createShowAdmin(parts)
  const router = Router()
  router.get(
    '/new/:preset/guide',
    handle(async (req, res, next) => {
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
