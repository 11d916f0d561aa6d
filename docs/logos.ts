/**
 * `npm run logos`: writes the presets' logos from simple-icons (CC0; the marks belong to their owners) in their brand's colour.
 * The output is committed, so that users of the package do not need simple-icons.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { SimpleIcon } from 'simple-icons'
import * as icons from 'simple-icons'
import { presets } from '../lib/providers/presets/presets.ts'

const folder = path.resolve(import.meta.dirname, '../views/assets/logos')
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder, { recursive: true })

for (const logo of presets.flatMap((preset) => preset.logo ?? [])) {
  const icon = Object.values(icons).find((each): each is SimpleIcon => 'slug' in each && each.slug === logo)
  if (icon === undefined) throw new Error(`simple-icons has no ${logo}`)
  // An attribute, because a Content-Security-Policy may forbid inline styles.
  const svg = icon.svg.replace('<svg ', `<svg fill="#${icon.hex}" `)
  writeFileSync(path.join(folder, `${logo}.svg`), `${svg}\n`)
}
