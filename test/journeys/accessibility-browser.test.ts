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

const newPage = () => browser.newPage({ reducedMotion: 'reduce', viewport: { width: 1280, height: 800 } })

beforeAll(async () => {
  ;[browser, scene] = await Promise.all([openBrowser(), startScene()])
  page = await newPage()
})
afterAll(() => Promise.all([browser.close(), scene.close()]))

/** `axeScript` defines this in the page. */
declare const axe: { run(options: RunOptions): Promise<AxeResults> }

async function violations(page: Page, options: RunOptions): Promise<string[]> {
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
async function geometry(page: Page, admin: boolean): Promise<string[]> {
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

async function brand(page: Page, accent: string | undefined): Promise<void> {
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

const setRoot = (page: Page, change: { fontSize?: string; dir?: string }) =>
  page.evaluate(({ fontSize = '', dir }) => {
    document.documentElement.style.fontSize = fontSize
    if (dir !== undefined) document.documentElement.dir = dir
  }, change)

const look = (page: Page, colorScheme: 'light' | 'dark', forcedColors: 'active' | 'none' = 'none') =>
  page.emulateMedia({ colorScheme, forcedColors })
const width = (page: Page, pixels: number) => page.setViewportSize({ width: pixels, height: 800 })

interface Examination {
  run(page: Page, admin: boolean): Promise<string[]>
  /** also of states that look like another one */
  always?: true
}

/** The checks of each state, in this order, without loading the page again. */
const examinations: Record<string, Examination> = {
  'axe at 1280': { always: true, run: (page) => violations(page, everything) },
  'at 1920': {
    async run(page, admin) {
      await width(page, 1920)
      return await geometry(page, admin)
    },
  },
  'zoom 200 %': {
    async run(page, admin) {
      await width(page, 640)
      return await geometry(page, admin)
    },
  },
  'text 200 %': {
    async run(page, admin) {
      await setRoot(page, { fontSize: '200%' })
      const found = await geometry(page, admin)
      await setRoot(page, {})
      return found
    },
  },
  'at 320': {
    always: true,
    async run(page, admin) {
      await width(page, 320)
      return await geometry(page, admin)
    },
  },
  'right to left': {
    async run(page, admin) {
      await width(page, 390)
      await setRoot(page, { dir: 'rtl' })
      const found = await geometry(page, admin)
      await setRoot(page, { dir: 'ltr' })
      return found
    },
  },
  dark: {
    async run(page) {
      await look(page, 'dark')
      return await violations(page, contrast)
    },
  },
  'brand too dark': { run: (page) => branded(page, '#0a0a12') },
  'forced colours': {
    async run(page) {
      await look(page, 'dark', 'active')
      return await violations(page, contrast)
    },
  },
  'brand too light': {
    async run(page) {
      await look(page, 'light')
      return await branded(page, '#fff3b0')
    },
  },
}

async function branded(page: Page, accent: string): Promise<string[]> {
  await brand(page, accent)
  const found = await violations(page, contrast)
  await brand(page, undefined)
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

/** @returns how many findings each examination has, which are added to `found` */
async function examine(
  page: Page,
  scene: Scene,
  state: (typeof pageStates)[number],
  found: string[],
): Promise<(number | '')[]> {
  await width(page, 1280)
  await look(page, 'light')
  await openState(page, scene, state)
  await page.evaluate(axeScript)
  // Examine collapsed sections, too.
  await page.locator('.admin-advanced').evaluateAll((all) => {
    for (const details of all) details.setAttribute('open', '')
  })
  const counts: (number | '')[] = []
  for (const [name, { run, always }] of Object.entries(examinations)) {
    const findings = state.sameLook && !always ? undefined : await run(page, state.admin)
    counts.push(findings?.length ?? '')
    for (const finding of findings ?? []) found.push(`${state.name} (${name}): ${finding}`)
  }
  return counts
}

describe('every page in every state', () => {
  it('has no finding of axe, no sideways scrolling and no small target, whatever its size and colours', async () => {
    const [rows, found, other]: [[string, (number | '')[]][], string[], Scene] = [[], [], await startScene()]
    const waiting = [...pageStates]
    // Two portals and two pages, because a state changes its portal.
    const examineNext = async (itsPage: Page, itsScene: Scene) => {
      for (let state = waiting.shift(); state; state = waiting.shift())
        rows.push([state.name, await examine(itsPage, itsScene, state, found)])
    }
    await Promise.all([examineNext(page, scene), newPage().then((second) => examineNext(second, other))])
    await other.close()
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

  it('a user replaces a wrong code by typing another one', async () => {
    await openState(page, scene, stateOf('code-error'))
    await page.keyboard.type('BBBB')
    expect(await page.locator('#field-code').inputValue()).toBe('BBBB')
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
  await look(page, 'dark', 'active')
  const fills = await page
    .locator('main .sso-button')
    .evaluateAll((buttons) => buttons.map((button) => getComputedStyle(button).backgroundColor))
  await look(page, 'light')
  expect(fills.length).toBeGreaterThan(1)
  expect(new Set(fills.slice(1)).has(fills[0]!)).toBe(false)
})

/** The roles, names and states that a screen reader announces, in order. */
it.each(['picker', 'registration-error', 'admin-connect-entra'])('a screen reader hears %s', async (name) => {
  await openState(page, scene, stateOf(name))
  // The text of a guide is a document of its own.
  await page.locator('.admin-paper').evaluateAll((guides) => {
    for (const guide of guides) guide.replaceChildren()
  })
  const transcript = await page.locator('body').ariaSnapshot()
  expect(transcript.replaceAll(scene.portal.url, 'https://portal.example.com')).toMatchSnapshot()
})
