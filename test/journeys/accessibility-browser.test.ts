/** @slow drives Chromium */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { AxeResults, RunOptions } from 'axe-core'
import type { Browser, Locator, Page } from 'playwright-core'
import { accentStyles } from '../../lib/web/accent.ts'
import { openBrowser } from '../support/chromium.ts'
import { openState, pageStates, type Scene, startScene } from '../support/page-states.ts'
import { axeScript, brokenLabels } from '../support/person.ts'

let browser: Browser
let scene: Scene
let page: Page

beforeAll(async () => {
  ;[browser, scene] = await Promise.all([openBrowser(), startScene()])
  page = await browser.newPage({ reducedMotion: 'reduce', viewport: { width: 1280, height: 800 } })
})
afterAll(() => Promise.all([browser.close(), scene.close()]))

/** `axeScript` defines this in the page. */
declare const axe: { run(options: RunOptions): Promise<AxeResults> }

async function violations(options: RunOptions): Promise<string[]> {
  const results = await page.evaluate(
    (given) => axe.run({ resultTypes: ['violations'], preload: false, ...given }),
    options,
  )
  return results.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html }) => `${id}: ${html.slice(0, 200)}`),
  )
}

const contrast: RunOptions = { runOnly: ['color-contrast'] }
/** axe leaves out target sizes (WCAG 2.2) unless asked. */
const everything: RunOptions = { rules: { 'target-size': { enabled: true } } }

/** Scrolls sideways, or has controls and links that are too small for the design. */
async function geometry(admin: boolean): Promise<string[]> {
  const broken = await page.evaluate(brokenLabels)
  const found = await page.evaluate(
    (controlSize) => {
      const found: string[] = []
      const tooWide = document.documentElement.scrollWidth - window.innerWidth
      if (tooWide > 0) found.push(`scrolls sideways by ${tooWide}`)
      for (const each of document.querySelectorAll<HTMLElement>(
        'a, button, summary, select, input, textarea',
      )) {
        const { height, width } = each.getBoundingClientRect()
        const inSentence = getComputedStyle(each).display === 'inline'
        if (width <= 1 || inSentence || each.closest('label')) continue
        const least = each.matches('.sso-button:not(.sso-button-small), .sso-input') ? controlSize : 24
        if (height < least) found.push(`${height} px high: ${each.outerHTML.slice(0, 120)}`)
      }
      return found
    },
    admin ? 36 : 44,
  )
  return [...found, ...broken.map((label) => `"${label}" is broken`)]
}

async function brand(accent: string | undefined): Promise<void> {
  // As a host's option does it. The policy allows no inline style, but a script may adopt a style sheet.
  await page.evaluate(
    (css) => {
      const sheet = new CSSStyleSheet()
      sheet.replaceSync(css)
      document.adoptedStyleSheets = [sheet]
    },
    accent === undefined ? '' : accentStyles(accent).css,
  )
}

const setRoot = (change: { fontSize?: string; dir?: string }) =>
  page.evaluate(({ fontSize = '', dir }) => {
    document.documentElement.style.fontSize = fontSize
    if (dir !== undefined) document.documentElement.dir = dir
  }, change)

const look = (colorScheme: 'light' | 'dark', forcedColors: 'active' | 'none' = 'none') =>
  page.emulateMedia({ colorScheme, forcedColors })
const width = (pixels: number) => page.setViewportSize({ width: pixels, height: 800 })

interface Examination {
  run(admin: boolean): Promise<string[]>
  /** also of states that look like another one */
  always?: true
}

/** The checks of each state, in this order, without loading the page again. */
const examinations: Record<string, Examination> = {
  'axe at 1280': { always: true, run: () => violations(everything) },
  'at 1920': {
    async run(admin) {
      await width(1920)
      return await geometry(admin)
    },
  },
  'zoom 200 %': {
    async run(admin) {
      await width(640)
      return await geometry(admin)
    },
  },
  'text 200 %': {
    async run(admin) {
      await setRoot({ fontSize: '200%' })
      const found = await geometry(admin)
      await setRoot({})
      return found
    },
  },
  'at 320': {
    always: true,
    async run(admin) {
      await width(320)
      return await geometry(admin)
    },
  },
  'right to left': {
    async run(admin) {
      await width(390)
      await setRoot({ dir: 'rtl' })
      const found = await geometry(admin)
      await setRoot({ dir: 'ltr' })
      return found
    },
  },
  dark: {
    async run() {
      await look('dark')
      return await violations(contrast)
    },
  },
  'brand too dark': { run: () => branded('#0a0a12') },
  'forced colours': {
    async run() {
      await look('dark', 'active')
      return await violations(contrast)
    },
  },
  'brand too light': {
    async run() {
      await look('light')
      return await branded('#fff3b0')
    },
  },
}

async function branded(accent: string): Promise<string[]> {
  await brand(accent)
  const found = await violations(contrast)
  await brand(undefined)
  return found
}

function table(rows: [string, (number | '')[]][]): string {
  const names = Object.keys(examinations)
  const first = Math.max(...rows.map(([name]) => name.length))
  const line = (cells: string[]) =>
    cells.map((cell, at) => (at === 0 ? cell.padEnd(first) : cell.padStart(names[at - 1]!.length))).join('  ')
  return [
    line(['findings', ...names]),
    ...rows.map(([name, counts]) => line([name, ...counts.map(String)])),
  ].join('\n')
}

describe('every page in every state', () => {
  it('has no finding of axe, no sideways scrolling and no small target, whatever its size and colours', async () => {
    const rows: [string, (number | '')[]][] = []
    const found: string[] = []
    for (const state of pageStates) {
      await width(1280)
      await look('light')
      await openState(page, scene, state)
      await page.evaluate(axeScript)
      const counts: (number | '')[] = []
      for (const [name, { run, always }] of Object.entries(examinations)) {
        if (state.sameLook && !always) {
          counts.push('')
          continue
        }
        const findings = await run(state.admin)
        counts.push(findings.length)
        found.push(...findings.map((finding) => `${state.name} (${name}): ${finding}`))
      }
      rows.push([state.name, counts])
    }
    process.stdout.write(`\n${table(rows)}\n\n`)
    expect(found).toEqual([])
  })

  it('is in the list of states: each view was rendered', () => {
    const views = path.resolve(import.meta.dirname, '../../views')
    const pages = readdirSync(views, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ejs') && !/(?:partials|guides|mail)\//.test(file))
      .map((file) => file.replace(/\.ejs$/, ''))
    expect(pages.filter((view) => !scene.rendered.has(view))).toEqual([])
  })
})

/** Presses Tab until an element has the focus, and fails if a stop on the way shows no focus. */
async function tabTo(target: Locator): Promise<void> {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press('Tab')
    const focus = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement
      const { outlineStyle, outlineWidth } = getComputedStyle(element)
      const { width, height } = element.getBoundingClientRect()
      return {
        html: element.outerHTML.slice(0, 120),
        isVisible: outlineStyle !== 'none' && outlineWidth !== '0px' && width > 1 && height > 1,
      }
    })
    expect(focus).toMatchObject({ isVisible: true })
    if (await target.evaluate((element) => element === document.activeElement)) return
  }
  throw new Error(`Tab does not reach ${String(target)}`)
}

const stateOf = (name: string) => pageStates.find((state) => state.name === name)!

describe('with the keyboard alone', () => {
  it('a user signs in: the first Tab reaches the first choice', async () => {
    await openState(page, scene, stateOf('picker'))
    scene.provider.person = { sub: 'ada', email: 'ada@example.com', email_verified: true }
    await page.keyboard.press('Tab')
    const first = page.locator('main a, main button, main input').first()
    expect(await first.evaluate((element) => element === document.activeElement)).toBe(true)
    const provider = page.getByRole('link', { name: /Fabrikam/ })
    await tabTo(provider)
    await page.keyboard.press('Enter')
    await page.getByText('home of ada@example.com').waitFor()
  })

  it('a user registers: the summary of mistakes has the focus, and its links lead to the entries', async () => {
    await openState(page, scene, stateOf('picker'))
    scene.provider.person = { sub: 'kate', email: 'kate@example.com', email_verified: true, name: 'Kate' }
    await page.goto(`${scene.portal.url}/login/northwind?returnTo=/account/security`)
    await tabTo(page.locator('main .sso-button-primary'))
    await page.keyboard.press('Enter')
    await page.locator('.sso-summary:focus').waitFor()
    await tabTo(page.locator('.sso-summary a').first())
    await page.keyboard.press('Enter')
    expect(await page.evaluate(() => document.activeElement?.matches('[aria-invalid]'))).toBe(true)
    await page.keyboard.type('123')
    await tabTo(page.locator('select'))
    await page.keyboard.press('ArrowDown')
    await tabTo(page.locator('#field-terms'))
    await page.keyboard.press('Space')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Sign-in and sessions' }).waitFor()
  })

  it('an administrator skips the navigation and connects a provider', async () => {
    await openState(page, scene, stateOf('admin-connect-generic'))
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe('MAIN')
    for (const [name, value] of [
      ['displayName', 'Adatum'],
      ['issuer', scene.other.issuer],
      ['clientId', scene.other.clientId],
      ['clientSecret', scene.other.clientSecret],
    ] as const) {
      await tabTo(page.locator(`#field-${name}`))
      await page.keyboard.type(value)
    }
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Adatum' }).waitFor()
    const providers = await scene.portal.sso.providers.list()
    const adatum = providers.find(({ displayName }) => displayName === 'Adatum')
    expect(adatum).toMatchObject({ enabled: false })
    await scene.portal.sso.providers.remove(adatum!.slug)
  })
})

it('the primary button differs from the others in forced colours', async () => {
  await openState(page, scene, stateOf('sign-out'))
  await look('dark', 'active')
  const fills = await page
    .locator('main .sso-button')
    .evaluateAll((buttons) => buttons.map((button) => getComputedStyle(button).backgroundColor))
  await look('light')
  expect(fills.length).toBeGreaterThan(1)
  expect(new Set(fills.slice(1)).has(fills[0]!)).toBe(false)
})

/** The roles, names and states that a screen reader announces, in order. */
it.each(['picker', 'registration-error', 'admin-connect-entra'])('a screen reader hears %s', async (name) => {
  await openState(page, scene, stateOf(name))
  // The text of a guide is a document of its own.
  await page.locator('.admin-paper').evaluateAll((guides) =>
    guides.forEach((guide) => {
      guide.replaceChildren()
    }),
  )
  const transcript = await page.locator('body').ariaSnapshot()
  expect(transcript.replaceAll(scene.portal.url, 'https://portal.example.com')).toMatchSnapshot()
})
