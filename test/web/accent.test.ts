import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { accentStyles } from '../../lib/web/accent.ts'

/** The contrast ratio of WCAG 2.2 between two colours such as `#7a1f5c`. */
function contrast(a: string, b: string): number {
  const luminance = (colour: string) => {
    const hex = colour.length === 4 ? colour.replace(/\w/g, '$&$&') : colour
    const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
      const share = Number.parseInt(hex.slice(at, at + 2), 16) / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const [x, y] = [luminance(a) + 0.05, luminance(b) + 0.05]
  return Math.max(x, y) / Math.min(x, y)
}

type Variables = Record<string, string>

/** The custom properties of a style sheet in light and in dark mode. */
function variables(css: string): { light: Variables; dark: Variables } {
  const read = (part: string) =>
    Object.fromEntries(
      [...part.matchAll(/--sso-([\w-]+):\s*(#\w+)/g)].map(([, name, value]) => [name!, value!]),
    )
  const at = css.indexOf('@media (prefers-color-scheme')
  return { light: read(css.slice(0, at)), dark: read(css.slice(at, css.indexOf('}', at))) }
}

const channels = ['00', '33', '66', '99', 'cc', 'ff']
const colours = channels.flatMap((red) =>
  channels.flatMap((green) => channels.map((blue) => `#${red}${green}${blue}`)),
)
const stylesheet = variables(
  readFileSync(path.join(import.meta.dirname, '../../views/assets/portal-sso.css'), 'utf8'),
)

describe.each(['light', 'dark'] as const)('in %s mode, every accent colour', (scheme) => {
  const { surface, hover } = { ...stylesheet.light, ...stylesheet[scheme] }

  it('gives readable buttons, texts and borders', () => {
    for (const colour of colours) {
      const own = variables(accentStyles(colour).css)[scheme]
      expect(own.accent).toBe(colour)
      const least = (name: string, grounds: (string | undefined)[]) =>
        Math.min(...grounds.map((ground) => contrast(own[name]!, ground!)))
      expect([colour, least('on-accent', [own.accent, own['accent-hover']]) >= 4.5]).toEqual([colour, true])
      expect([colour, least('accent-text', [surface, hover, own['accent-surface']]) >= 4.5]).toEqual([
        colour,
        true,
      ])
      expect([colour, least('accent-line', [surface, hover]) >= 3]).toEqual([colour, true])
    }
  })
})

it('a colour with enough contrast is used as it is, in its short form, too', () => {
  const { css, adjusted } = accentStyles('#00c')
  expect(adjusted).toBeUndefined()
  expect(variables(css).light).toMatchObject({
    'on-accent': '#ffffff',
    'accent-text': '#0000cc',
    'accent-line': '#0000cc',
  })
})

it('a light colour gets black text, and a darker shade for texts on light pages', () => {
  const { css, adjusted } = accentStyles('#ffd400')
  expect(variables(css).light).toMatchObject({ 'on-accent': '#000000', 'accent-text': adjusted })
  expect(variables(css).dark).toMatchObject({ 'accent-text': '#ffd400' })
})
