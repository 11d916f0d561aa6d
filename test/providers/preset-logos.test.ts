import { afterAll, beforeAll, expect, it } from '@jest/globals'
import type { Browser } from 'playwright-core'
import { openBrowser } from '../support/chromium.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal
let browser: Browser

beforeAll(async () => {
  browser = await openBrowser()
  provider = await startFaultyProvider()
  portal = await startPortal()
  const connect = (slug: string, displayName: string, preset: string, answers = {}) =>
    portal.connect(provider, { slug, displayName, preset, answers })
  await connect('google', 'Google', 'google')
  await connect('okta', 'Okta', 'okta', { domain: 'example.okta.com' })
  await connect('auth0', 'Auth0', 'auth0', { domain: 'acme.eu.auth0.com' })
  await connect('keycloak', 'Keycloak', 'keycloak', { address: 'https://id.example.com', realm: 'acme' })
  await connect('gitlab', 'GitLab', 'gitlab')
  await connect('onelogin', 'OneLogin', 'onelogin', { subdomain: 'acme' })
  await connect('acme', 'Acme', 'generic')
})
afterAll(async () => {
  await browser.close()
  await portal.close()
  await provider.close()
})

it.each(['light', 'dark'] as const)(
  'the picker shows the logo of the preset, or a monogram if it has none, and the policy allows the logo (%s)',
  async (colorScheme) => {
    const context = await browser.newContext({ colorScheme })
    const page = await context.newPage()
    const consoleMessages: string[] = []
    page.on('console', (message) => consoleMessages.push(message.text()))
    await page.goto(`${portal.url}/login`)
    // Runs in the page. True if the logo was loaded, else the text in its place.
    const tiles = await page.locator('.sso-provider').evaluateAll((links) =>
      links.map((link) => {
        const picture = link.querySelector('img')
        const name = link.querySelector('.sso-provider-name')?.textContent
        return [
          name,
          picture ? picture.complete && picture.naturalWidth > 0 : link.firstElementChild?.textContent,
        ]
      }),
    )
    await context.close()
    expect(tiles).toEqual([
      ['Google', true],
      ['Okta', true],
      ['Auth0', true],
      ['Keycloak', true],
      ['GitLab', true],
      ['OneLogin', 'O'],
      ['Acme', 'A'],
    ])
    expect(consoleMessages).toEqual([])
  },
)

it('a logo is hidden from screen readers, because the name is next to it, and is cached under a versioned address', async () => {
  const visitor = new Visitor()
  const { body } = await visitor.get(`${portal.url}/login`)
  const [, src = ''] = /<img class="sso-provider-logo" src="([^"]+)" alt=""/.exec(body) ?? []
  expect(src).toMatch(/^\/login\/assets\/logos\/google\.svg\?v=[\w-]{10}$/)
  const { status, headers } = await visitor.get(portal.url + src)
  expect(status).toBe(200)
  expect(headers.get('content-type')).toContain('image/svg+xml')
  expect(headers.get('cache-control')).toContain('immutable')
})
