type Rgb = readonly [number, number, number]

const black: Rgb = [0, 0, 0]
const white: Rgb = [255, 255, 255]

/** The grounds of accent text: `--sso-surface` and `--sso-hover` of portal-sso.css. Mixing with `towards` increases contrast. */
const schemes = {
  light: { surface: [255, 255, 255], hover: [245, 246, 248], towards: black, tint: 0.07 },
  dark: { surface: [24, 27, 31], hover: [32, 36, 41], towards: white, tint: 0.22 },
} as const

const textContrast = 4.5
const borderContrast = 3

/**
 * Derives all accent colours of the pages from one, so that no colour of a brand makes a text or a border hard to see (WCAG 1.4.3
 * and 1.4.11).
 *
 * @param accent such as `#7a1f5c` or `#c39`
 * @returns a style sheet, the colours of a button in a mail, which has none, and the colour that replaces `accent` in texts on light pages if its contrast is too low
 */
export function accentStyles(accent: string): {
  css: string
  button: { ground: string; text: string }
  adjusted: string | undefined
} {
  const fill = parse(accent)
  const text = contrast(fill, white) >= textContrast ? white : black
  const shared = {
    accent: fill,
    'on-accent': text,
    // Away from its text, so that the contrast only grows.
    'accent-hover': mix(fill, text === white ? black : white, 0.14),
  }
  const [light, dark] = [derive(fill, 'light'), derive(fill, 'dark')]
  const adjusted = toHex(light['accent-text'])
  return {
    css: `:root{${declare({ ...shared, ...light })}}@media (prefers-color-scheme:dark){:root{${declare({ ...shared, ...dark })}}}`,
    button: { ground: toHex(fill), text: toHex(text) },
    adjusted: adjusted === toHex(fill) ? undefined : adjusted,
  }
}

function derive(fill: Rgb, scheme: keyof typeof schemes) {
  const { surface, hover, towards, tint } = schemes[scheme]
  const tinted = mix(surface, fill, tint)
  return {
    'accent-surface': tinted,
    'accent-text': clamp(fill, towards, textContrast, [surface, hover, tinted]),
    'accent-line': clamp(fill, towards, borderContrast, [surface, hover]),
  }
}

/** @returns `colour`, mixed with `towards` until it has the contrast with all grounds */
function clamp(colour: Rgb, towards: Rgb, least: number, grounds: readonly Rgb[]): Rgb {
  for (let share = 0; share < 1; share += 0.01) {
    const mixed = mix(colour, towards, share)
    if (grounds.every((ground) => contrast(mixed, ground) >= least)) return mixed
  }
  return towards
}

function mix(from: Rgb, to: Rgb, share: number): Rgb {
  const channel = (at: 0 | 1 | 2) => Math.round(from[at] + (to[at] - from[at]) * share)
  return [channel(0), channel(1), channel(2)]
}

/** The contrast ratio of WCAG 2.2, from 1 to 21. */
function contrast(a: Rgb, b: Rgb): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number]
  return (light + 0.05) / (dark + 0.05)
}

function luminance(colour: Rgb): number {
  const [red, green, blue] = colour.map((channel) => {
    const share = channel / 255
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
  }) as [number, number, number]
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}

function parse(hex: string): Rgb {
  const digits = hex.length === 4 ? hex.slice(1).replace(/./g, '$&$&') : hex.slice(1)
  const channel = (at: number) => Number.parseInt(digits.slice(at, at + 2), 16)
  return [channel(0), channel(2), channel(4)]
}

function toHex(colour: Rgb): string {
  return `#${colour.map((channel) => channel.toString(16).padStart(2, '0')).join('')}`
}

function declare(colours: Record<string, Rgb>): string {
  return Object.entries(colours)
    .map(([name, colour]) => `--sso-${name}:${toHex(colour)}`)
    .join(';')
}
