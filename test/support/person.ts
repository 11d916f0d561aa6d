import fs from 'node:fs'
import { createRequire } from 'node:module'
import type { AxeResults, RunOptions } from 'axe-core'
import type { ConsoleMessage, Locator, Page } from 'playwright-core'

/** A user of a real browser. */
export class Person {
  readonly page: Page
  /** console errors and warnings (including Content-Security-Policy violations), exceptions and failed requests */
  readonly complaints: string[] = []
  clicks = 0
  /** HTTP status of the last page */
  status: number | undefined

  constructor(page: Page) {
    this.page = page
    page.on('response', (response) => {
      if (response.request().isNavigationRequest()) this.status = response.status()
    })
    page.on('console', (message) => this.hear(message))
    page.on('pageerror', (error) => this.complaints.push(`exception: ${error.message}`))
    page.on('requestfailed', (request) => {
      // A click before the icon has loaded aborts its request.
      const reason = request.failure()?.errorText
      if (reason !== 'net::ERR_ABORTED') this.complaints.push(`${reason}: ${request.url()}`)
    })
  }

  private hear(message: ConsoleMessage): void {
    // The console also reports each page with an error status, which is expected.
    const aboutPage = message.text().startsWith('Failed to load resource') && isPage(message.location().url)
    if (['error', 'warning'].includes(message.type()) && !aboutPage)
      this.complaints.push(`${message.type()}: ${message.text()}`)
  }

  async choose(name: string | RegExp): Promise<void> {
    this.clicks++
    const { page } = this
    await page.getByRole('link', { name }).or(page.getByRole('button', { name })).click()
  }

  /** The heading of the page, where the browser has followed a page that navigates by itself. */
  async title(): Promise<string> {
    await this.page.locator('meta[http-equiv=refresh]').waitFor({ state: 'detached' })
    return await this.page.getByRole('heading', { level: 1 }).innerText()
  }

  async reads(): Promise<string> {
    return await this.page.locator('body').innerText()
  }

  /** Signs out of the portal, and confirms it at the provider. */
  async signOut(): Promise<void> {
    await this.choose('Sign out')
    await this.choose('Yes, sign out')
  }

  /** Signs in with the first provider. */
  async signInAsAda(address: string): Promise<void> {
    await this.page.goto(address)
    await this.choose('Northwind ID')
    await this.choose(/^Ada Lovelace/)
  }
}

function isPage(url: string): boolean {
  return !/\.\w+$/.test(new URL(url).pathname)
}

/** Defines `axe` in a page, for `page.evaluate`. */
export const axeScript = fs.readFileSync(
  createRequire(import.meta.url).resolve('axe-core/axe.min.js'),
  'utf8',
)

/** The script defines this in the page. */
declare const axe: { run(options: RunOptions): Promise<AxeResults> }

/** Labels of one word that take more than one line. Runs in the page. */
export function brokenLabels(): string[] {
  return [...document.querySelectorAll('button, .sso-button')].flatMap((button) => {
    const label = button.textContent?.trim() ?? ''
    const range = document.createRange()
    range.selectNodeContents(button)
    const rects = [...range.getClientRects()]
    // A mark beside the label is not as high as its line.
    const hasLines =
      Math.max(...rects.map(({ top }) => top)) >= Math.min(...rects.map(({ bottom }) => bottom))
    return /^\p{L}+$/u.test(label) && hasLines ? [label] : []
  })
}

/** Problems that axe finds, broken labels and horizontal scrolling, in light and dark mode, on a desktop and two phones. */
export async function flaws({ page }: Person): Promise<string[]> {
  const found: string[] = []
  // A browser without fonts shows no text, so nothing would overflow or lack contrast.
  if ((await widthOf(page.getByRole('heading', { level: 1 }))) < 50) found.push('the text has no width')
  await Promise.all(page.frames().map((frame) => frame.evaluate(axeScript)))
  for (const width of [1280, 390, 320]) {
    await page.setViewportSize({ width, height: 800 })
    const tooWide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
    if (tooWide > 0) found.push(`scrolls sideways by ${tooWide} at ${width}`)
    for (const label of await page.evaluate(brokenLabels)) found.push(`"${label}" is broken at ${width}`)
    if (width === 320) continue
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      const { violations } = await page.evaluate(() => axe.run({ resultTypes: ['violations'] }))
      for (const { id, nodes } of violations)
        found.push(`${id} (${colorScheme}, ${width}): ${nodes.map(({ html }) => html).join(' ')}`)
    }
  }
  return found
}

async function widthOf(text: Locator): Promise<number> {
  return await text.evaluate((element) => {
    const range = document.createRange()
    range.selectNodeContents(element)
    return range.getBoundingClientRect().width
  })
}
