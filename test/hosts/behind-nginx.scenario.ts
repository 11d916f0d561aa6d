import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { openBrowser } from '../support/chromium.ts'
import { selfSigned } from '../support/self-signed.ts'
import { startNginx } from '../support/services/nginx.ts'
import { Visitor } from '../support/visitor.ts'
import { Host, type RunningHost } from './host.ts'
import { signInAndOut } from './sign-in.ts'

const host = new Host('behind-nginx')
let browser: Browser
beforeAll(async () => {
  await host.install()
  browser = await openBrowser()
})
afterAll(() => browser?.close())

/** Signs in on the provider's own pages, up to the registration form or the page that was opened. */
async function signInAtProvider(page: Page, login: string): Promise<void> {
  await page.getByRole('link', { name: 'Acme' }).click()
  await page.locator('[name=login]').fill(login)
  await page.locator('[name=password]').fill('any')
  await page.locator('[type=submit]').click()
  await page.locator('[type=submit]').click()
}

async function register(page: Page): Promise<void> {
  await page.waitForURL('**/register')
  await page.locator('form button').first().click()
}

describe('the host behind-nginx, with TLS and the default buffers of nginx', () => {
  const { key, cert } = selfSigned('localhost')
  let running: RunningHost
  beforeAll(async () => {
    running = await host.start('host.js', { prepare: (port) => startNginx(port, { key, cert }) })
  })
  afterAll(() => running?.stop())

  it('signs a new user in, out, and in again, with cookies for this host and https only', async () => {
    const visitor = new Visitor({}, cert)
    const { url } = running
    await signInAndOut({ visitor, url })
    expect(url).toMatch(/^https:/)
    const names = visitor.cookieNames(url)
    expect(names.length).toBeGreaterThan(1)
    expect(names.filter((name) => !name.startsWith('__Host-'))).toEqual([])
    const { headers } = await visitor.get(`${url}/login/acme`)
    for (const line of headers.getSetCookie()) expect(line).toMatch(/; Secure/)
  })

  it('registers a new user who has opened the longest deep link in twenty tabs', async () => {
    const visitor = new Visitor({}, cert)
    const { url } = running
    const guarded = '/portal?filter='.padEnd(1000, 'x')
    for (let tab = 0; tab < 20; tab++)
      await visitor.get(`${url}/login/acme?returnTo=${encodeURIComponent(guarded)}`)
    await signInAndOut({ visitor, url, guarded, login: 'grace' })
  })

  it('signs a new user in, in Chromium', async () => {
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    const page = await context.newPage()
    await page.goto(`${running.url}/portal`)
    await signInAtProvider(page, 'katherine')
    await register(page)
    await page.getByText('Hello katherine@example.com').waitFor()
    const cookies = (await context.cookies(running.url)).filter(({ name }) => name.startsWith('__Host-'))
    expect(cookies.length).toBeGreaterThan(0)
    for (const cookie of cookies) expect(cookie).toMatchObject({ secure: true, httpOnly: true, path: '/' })
    await context.close()
  })
})

describe('the host behind-nginx, with a service worker that passes every request on, in Chromium', () => {
  let running: RunningHost
  let context: BrowserContext
  let page: Page
  beforeAll(async () => {
    running = await host.start('host.js')
    context = await browser.newContext()
    page = await context.newPage()
    await page.goto(`${running.url}/start.html`)
    await page.getByText('The worker is active').waitFor()
  })
  afterAll(async () => {
    await context?.close()
    await running?.stop()
  })

  it('shows the login page, signs in, and signs out at both', async () => {
    const opened = await page.goto(`${running.url}/portal`)
    expect(opened!.fromServiceWorker()).toBe(true)
    await signInAtProvider(page, 'ada')
    await register(page)
    await page.getByText('Hello ada@example.com').waitFor()
    await page.getByRole('link', { name: 'Sign out' }).click()
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('button', { name: 'Yes, sign me out' }).click()
    await page.waitForURL('**/logout/done*')
    await page.goto(`${running.url}/portal`)
    expect(new URL(page.url()).pathname).toBe('/login')
  })

  it('leads from a page whose session has expired to the login page and back', async () => {
    await page.goto(`${running.url}/portal/orders`)
    await signInAtProvider(page, 'ada')
    await page.waitForURL(`${running.url}/portal/orders`)
    const knex = knexModule(running.database.config)
    await knex('sso_sessions').delete()
    await knex.destroy()
    await page.reload()
    expect(page.url()).toBe(`${running.url}/login?returnTo=%2Fportal%2Forders`)
    // The provider's session is still valid.
    await page.getByRole('link', { name: 'Acme' }).click()
    await page.waitForURL(`${running.url}/portal/orders`)
  })
})
