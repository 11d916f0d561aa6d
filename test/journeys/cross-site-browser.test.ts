/** @slow drives Chromium */
import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContextOptions } from 'playwright-core'
import { openBrowser } from '../support/chromium.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { Person } from '../support/person.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'

const provider = await useProvider()
const open = closedAfterEach()
let browser: Browser
let portal: TestPortal

beforeAll(async () => {
  browser = await openBrowser()
})
afterAll(() => browser.close())
afterEach(() => portal.close())

it('a page of another site can make a browser use up no limits, by images, frames, scripts and prefetches', async () => {
  portal = await startPortalWithAda(provider, {
    rateLimits: { start: 1, callback: 1, registration: 1, code: 1, logout: 1 },
  })
  const urls = ['/login', '/login/acme', '/login/acme/callback?code=x&state=x', '/register', '/logout'].map(
    (path) => portal.url + path,
  )
  const hostile = http.createServer((_req, res) => {
    res.setHeader('content-type', 'text/html')
    res.end(`<!doctype html><title>Cats</title>
      ${urls.map((url) => `<img src="${url}" alt=""><iframe src="${url}"></iframe>`).join('')}
      ${urls.map((url) => `<link rel="prefetch" href="${url}"><embed src="${url}">`).join('')}
      <script>
        const urls = ${JSON.stringify(urls)}
        const body = new URLSearchParams({ email: 'ada@example.com' })
        const posts = ['/login?by=email', '/register/code', '/logout'].map((path) => '${portal.url}' + path)
        Promise.allSettled([
          ...urls.map((url) => fetch(url, { mode: 'no-cors', credentials: 'include' })),
          ...posts.map((url) => fetch(url, { mode: 'no-cors', method: 'POST', body })),
        ]).then(() => { document.title = 'Sent' })
      </script>`)
  })
  hostile.listen(0, '127.0.0.1')
  await once(hostile, 'listening')
  open.push({ close: async () => [hostile.closeAllConnections(), hostile.close()] })

  const page = await browser.newPage()
  open.push({ close: () => page.close() })
  await page.goto(`http://localhost:${(hostile.address() as AddressInfo).port}`)
  await page.waitForLoadState('networkidle')
  expect(await page.title()).toBe('Sent')
  expect(await portal.knex('sso_events').where({ kind: 'sign-in-failed' })).not.toEqual([])
  expect(await portal.knex('sso_events').where({ kind: 'rate-limited' })).toEqual([])

  await page.goto(`${portal.url}/portal`)
  await page.getByRole('link', { name: 'Acme' }).click()
  await page.waitForURL(`${portal.url}/portal`)
  expect(await portal.knex('sso_sessions')).toHaveLength(1)
})

describe('an authorization response that is posted from another site, in a real browser', () => {
  beforeEach(async () => {
    // Ports do not make different sites, names do: the provider is at `localhost`, the portal at `127.0.0.1`.
    const authorization = new URL('/authorize', provider.issuer)
    authorization.hostname = 'localhost'
    provider.faults.discovery = { authorization_endpoint: authorization.href }
    portal = await startPortal()
    await portal.connect(provider, { responseMode: 'form_post' })
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
  })

  /** For each post of the response: whether it had the attempt's cookie. */
  function cookiesOfPosts({ page }: Person): Promise<boolean>[] {
    const posts: Promise<boolean>[] = []
    page.on('request', (request) => {
      if (request.method() !== 'POST') return
      posts.push(request.allHeaders().then(({ cookie = '' }) => cookie.includes('sso-attempt-')))
    })
    return posts
  }

  async function withPerson(
    act: (person: Person) => Promise<void>,
    options: BrowserContextOptions = {},
  ): Promise<void> {
    const context = await browser.newContext(options)
    try {
      const person = new Person(await context.newPage())
      await act(person)
      expect(person.complaints).toEqual([])
    } finally {
      await context.close()
    }
  }

  const landed = () => `${portal.url}/portal/reports?year=2026`

  it('signs in without a further click', () =>
    withPerson(async (person) => {
      const posts = cookiesOfPosts(person)
      await person.page.goto(landed())
      await person.choose('Acme')
      await person.page.waitForURL(landed())
      expect(await person.reads()).toContain('ada@example.com')
      expect(await Promise.all(posts)).toEqual([false, true])
    }))

  it('signs in by a button with JavaScript disabled', () =>
    withPerson(
      async (person) => {
        const posts = cookiesOfPosts(person)
        await person.page.goto(landed())
        await person.choose('Acme')
        await person.choose('Continue') // at the provider
        expect(await person.title()).toBe('One moment, please')
        await person.choose('Continue')
        expect(person.page.url()).toBe(landed())
        expect(await person.reads()).toContain('ada@example.com')
        expect(await Promise.all(posts)).toEqual([false, true])
      },
      { javaScriptEnabled: false },
    ))
})
