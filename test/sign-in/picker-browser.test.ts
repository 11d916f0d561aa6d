/** @slow drives Chromium */
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { openBrowser } from '../support/chromium.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { Person } from '../support/person.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { newProvider, openProvidersTable } from '../support/providers.ts'

let provider: FaultyProvider
let portal: TestPortal
let browser: Browser

const insert = async (slug: string, displayName: string, preset = 'generic') =>
  await openProvidersTable(portal.knex).insert(newProvider({ slug, displayName, preset, enabled: true }))

beforeAll(async () => {
  browser = await openBrowser()
  provider = await startFaultyProvider()
  portal = await startPortal({ branding: { name: 'Equipment Portal' } })
  await insert('entra', 'Microsoft Entra ID', 'entra')
  await insert('google', 'Google', 'google')
  await insert('okta', 'Okta', 'okta')
  await insert('auth0', 'Auth0', 'auth0')
  await insert('keycloak', 'Keycloak', 'keycloak')
  await insert('gitlab', 'GitLab', 'gitlab')
  await insert('onelogin', 'OneLogin', 'onelogin')
  await portal.connect(provider, { emailDomains: ['example.com'] })
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterAll(async () => {
  await browser.close()
  await portal.close()
  await provider.close()
})

async function open(path: string, act: (page: Page) => Promise<void>, options: BrowserContextOptions = {}) {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  const { complaints } = new Person(page)
  await page.goto(portal.url + path)
  await act(page)
  expect(complaints).toEqual([])
  await context.close()
}

/** Runs in the page. The decoded size of the logo, or the monogram in its place. */
async function marks(links: Element[]): Promise<unknown[]> {
  return await Promise.all(
    links.map(async (link) => {
      const mark = link.firstElementChild!
      const [, address] = /^url\("(data:.*)"\)$/.exec(getComputedStyle(mark).backgroundImage) ?? []
      const image = new Image()
      if (address !== undefined) image.src = address
      if (address !== undefined) await image.decode()
      const { height, width } = mark.getBoundingClientRect()
      return [mark.textContent || image.naturalWidth > 0, width, height, link.getBoundingClientRect().height]
    }),
  )
}

describe.each(['light', 'dark'] as const)('a button of the login page (%s)', (colorScheme) => {
  it('is 44 pixels high, with a logo of 20 pixels or a monogram, and is named as the vendor requires', async () => {
    const act = async (page: Page) => {
      const links = page.locator('.sso-provider')
      expect(await links.evaluateAll(marks)).toEqual([
        ...Array(6).fill([true, 20, 20, 44]),
        ['O', 20, 20, 44],
        ['A', 20, 20, 44],
      ])
      const names = ['Microsoft', 'Google', 'Okta', 'Auth0', 'Keycloak', 'GitLab', 'OneLogin', 'Acme']
      const texts = await links.locator('.sso-provider-name').allInnerTexts()
      expect(texts).toEqual(names.map((name) => `Sign in with ${name}`))
      for (const name of names)
        expect(await page.getByRole('link', { name: `Sign in with ${name}`, exact: true }).count()).toBe(1)
    }
    await open('/login', act, { colorScheme })
  })

  it('of Microsoft and Google has the vendor’s colours', async () => {
    const colours = (element: Element) => {
      const { backgroundColor, borderColor, color } = getComputedStyle(element)
      return [borderColor, backgroundColor, color]
    }
    const act = async (page: Page) => {
      const found = [
        await page.locator('.sso-provider-microsoft').evaluate(colours),
        await page.locator('.sso-provider-google').evaluate(colours),
      ]
      expect(found).toEqual(
        colorScheme === 'light'
          ? [
              ['rgb(140, 140, 140)', 'rgb(255, 255, 255)', 'rgb(94, 94, 94)'],
              ['rgb(116, 119, 117)', 'rgb(255, 255, 255)', 'rgb(31, 31, 31)'],
            ]
          : [
              ['rgb(140, 140, 140)', 'rgb(47, 47, 47)', 'rgb(255, 255, 255)'],
              ['rgb(142, 145, 143)', 'rgb(19, 19, 20)', 'rgb(227, 227, 227)'],
            ],
      )
    }
    await open('/login', act, { colorScheme })
  })
})

it('the login page with eight providers is at most 20 KB in three requests, and does not move while it loads', async () => {
  const context = await browser.newContext()
  const page = await context.newPage()
  const reading: Promise<[path: string, bytes: number]>[] = []
  page.on('response', (response) => {
    const read = async (): Promise<[string, number]> => {
      const headers = await response.headersArray()
      const head = headers.map(({ name, value }) => `${name}: ${value}\r\n`).join('')
      const { pathname } = new URL(response.url())
      return [pathname, head.length + gzipSync(await response.body()).length]
    }
    reading.push(read())
  })
  await page.goto(`${portal.url}/login`, { waitUntil: 'networkidle' })
  const sizes = await Promise.all(reading)
  const shift = await page.evaluate(
    () =>
      new Promise((resolve) => {
        const observer = new PerformanceObserver((list) => resolve(list.getEntries().length))
        observer.observe({ type: 'layout-shift', buffered: true })
        // The buffered entries arrive before the next frame.
        requestAnimationFrame(() => requestAnimationFrame(() => resolve(0)))
      }),
  )
  await context.close()
  const total = sizes.reduce((sum, [, bytes]) => sum + bytes, 0)
  const parts = sizes.map(([path, bytes]) => `${path} ${bytes}`).join(', ')
  process.stdout.write(`login page with eight providers, compressed: ${total} bytes (${parts})\n`)
  expect(sizes.map(([path]) => path)).toEqual([
    '/login',
    '/login/assets/portal-sso.css',
    '/login/assets/picker.js',
  ])
  expect(total).toBeLessThanOrEqual(20_000)
  expect(shift).toBe(0)
})

it('a click shows which provider opens, until the user comes back', async () => {
  await open('/login', async (page) => {
    // The provider does not answer yet.
    await page.route(/login\/entra/, (route) => route.fulfill({ status: 204 }))
    const link = page.locator('.sso-provider-microsoft')
    await link.click({ modifiers: ['Shift'] })
    expect(await link.getAttribute('aria-busy')).toBeNull()
    await link.click()
    expect(await link.getAttribute('aria-busy')).toBe('true')
    expect(await link.innerText()).toBe('Opening Microsoft…')
    expect(await page.getByRole('status').innerText()).toBe('Opening Microsoft…')
    await page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))
    expect(await link.getAttribute('aria-busy')).toBeNull()
    expect(await link.innerText()).toBe('Sign in with Microsoft')
    expect(await page.getByRole('status').innerText()).toBe('')
  })
})

describe('with 25 providers', () => {
  beforeAll(async () => {
    for (let n = 1; n <= 17; n++) await insert(`contoso-${n}`, `Contoso Zürich ${n}`)
  })

  it.each([true, false])(
    'an e-mail address leads to the provider of its domain, which preselects it (JavaScript: %s)',
    async (javaScriptEnabled) => {
      const act = async (page: Page) => {
        await page.getByLabel('E-mail address').fill('Ada@example.com')
        await page.getByRole('button', { name: 'Continue' }).click()
        await page.waitForURL(`${portal.url}/portal`)
        const request = provider.requests.findLast(({ query }) => query.has('code_challenge'))
        expect(request?.query.get('login_hint')).toBe('ada@example.com')
      }
      await open('/login?returnTo=/portal', act, { javaScriptEnabled })
    },
  )

  it('the list is filtered while the user types, without case and accents', async () => {
    await open('/login', async (page) => {
      await page.getByRole('link', { name: 'Use another way' }).click()
      const links = page.locator('.sso-provider:visible')
      const search = page.getByRole('searchbox', { name: 'Search by name' })
      expect(await links.count()).toBe(25)
      await search.fill('ZURICH 1')
      expect(await links.count()).toBe(9)
      expect(await page.locator('[data-count]').innerText()).toBe('9 of 25')
      await search.fill('nobody')
      expect(await page.getByText('Nothing found').isVisible()).toBe(true)
      await search.fill('')
      expect(await page.locator('[data-count]').innerText()).toBe('25 of 25')
      expect(await page.getByText('Nothing found').isVisible()).toBe(false)
    })
  })

  it('the list is filtered without JavaScript, too', async () => {
    const act = async (page: Page) => {
      await page.getByRole('searchbox').fill('zurich 1')
      await page.getByRole('button', { name: 'Search' }).click()
      expect(await page.locator('.sso-provider:visible').count()).toBe(9)
      expect(await page.locator('[data-count]').innerText()).toBe('9 of 25')
    }
    await open('/login?by=list', act, { javaScriptEnabled: false })
  })
})
