/**
 * `npm run logos`: writes the presets' logos into the style sheet, so that pages need no request for them. They come from
 * simple-icons (CC0; the marks belong to their owners) in their brand's colour, except those whose rules require several colours.
 * The output is committed, so that users of the package do not need simple-icons.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { SimpleIcon } from 'simple-icons'
import * as icons from 'simple-icons'
import { presets } from '../lib/providers/presets/presets.ts'

const styleSheet = path.resolve(import.meta.dirname, '../views/assets/portal-sso.css')
const [begin, end] = ['/* logos: written by `npm run logos` */\n', '/* end of the logos */\n']

const square = (x: number, y: number, colour: string) =>
  `<rect x="${x}" y="${y}" width="9" height="9" fill="${colour}"/>`
const shape = (colour: string, d: string) => `<path fill="${colour}" d="${d}"/>`

const severalColours: Record<string, { size: number; shapes: string[] }> = {
  microsoft: {
    size: 20,
    shapes: [
      square(0, 0, '#f25022'),
      square(10, 0, '#7fba00'),
      square(0, 10, '#00a4ef'),
      square(10, 10, '#ffb900'),
    ],
  },
  google: {
    size: 48,
    shapes: [
      shape(
        '#ea4335',
        'M24 9.5c3.54 0 6.71 1.22 9.21 3.6l6.85-6.85C35.9 2.38 30.47 0 24 0 14.62 0 6.51 5.38 2.56 13.22l7.98 6.19C12.43 13.72 17.74 9.5 24 9.5z',
      ),
      shape(
        '#4285f4',
        'M46.98 24.55c0-1.57-.15-3.09-.38-4.55H24v9.02h12.94c-.58 2.96-2.26 5.48-4.78 7.18l7.73 6c4.51-4.18 7.09-10.36 7.09-17.65z',
      ),
      shape(
        '#fbbc05',
        'M10.53 28.59c-.48-1.45-.76-2.99-.76-4.59s.27-3.14.76-4.59l-7.98-6.19C.92 16.46 0 20.12 0 24c0 3.88.92 7.54 2.56 10.78l7.97-6.19z',
      ),
      shape(
        '#34a853',
        'M24 48c6.48 0 11.93-2.13 15.89-5.81l-7.73-6c-2.15 1.45-4.92 2.3-8.16 2.3-6.26 0-11.57-4.22-13.47-9.91l-7.98 6.19C6.51 42.62 14.62 48 24 48z',
      ),
    ],
  },
}

function draw(logo: string): string {
  const own = severalColours[logo]
  if (own) return svg(own.size, own.shapes.join(''))
  const icon = Object.values(icons).find((each): each is SimpleIcon => 'slug' in each && each.slug === logo)
  if (icon === undefined) throw new Error(`simple-icons has no ${logo}`)
  return svg(24, shape(`#${icon.hex.toLowerCase()}`, icon.path))
}

function svg(size: number, content: string): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}">${content}</svg>`
}

function toUrl(image: string): string {
  return `data:image/svg+xml,${image.replaceAll('"', "'").replace(/[#%<>]/g, encodeURIComponent)}`
}

const logos = [...new Set(presets.flatMap((preset) => preset.logo ?? []))].sort()
const rules = logos.map((logo) => `.logo-${logo} {\n  background-image: url("${toUrl(draw(logo))}");\n}\n`)
const [before, rest] = readFileSync(styleSheet, 'utf8').split(begin)
const after = rest?.split(end)[1]
if (before === undefined || after === undefined) throw new Error('the style sheet has no place for the logos')
writeFileSync(styleSheet, before + begin + rules.join('') + end + after)
