/** `npm run screenshots`: takes the screenshots in this folder, of a portal with real identity providers. */
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { type Browser, type BrowserContextOptions, chromium as browserType, type Page } from 'playwright-core'
import { startIdentityProvider } from '../examples/identity-provider.ts'
import { mountDefault, startPortal } from '../test/support/portal.ts'
import { chromium } from '../test/support/services/chromium.ts'

const clientSecret = 'the client secret of a screenshot'
const portal = await startPortal({
  branding: { name: 'Equipment Portal', support: 'it-help@example.com' },
  mount(app, sso) {
    mountDefault(app, sso)
    // Safe here: the portal is in memory and stops afterwards.
    app.use('/admin/sso', sso.admin({ authorize: () => true }))
  },
})

const providers = await Promise.all(
  [
    { slug: 'northwind', displayName: 'Northwind ID' },
    { slug: 'tailspin', displayName: 'Tailspin Accounts' },
    { slug: 'fabrikam', displayName: 'Fabrikam' },
    { slug: 'contoso', displayName: 'Contoso' },
  ].map(async (provider) => ({ ...provider, running: await start(provider) })),
)

async function start({ slug, displayName }: { slug: string; displayName: string }) {
  return await startIdentityProvider({
    name: displayName,
    port: 0,
    clientId: 'equipment-portal',
    clientName: 'Equipment Portal',
    clientSecret,
    redirectUris: [portal.sso.providers.redirectUri(slug)],
    postLogoutRedirectUris: [portal.sso.providers.postLogoutRedirectUri()],
    people: [
      { id: 'ada', name: 'Ada Lovelace', email: 'ada@example.com', emailVerified: true, hint: 'known' },
    ],
    saysWhen: true,
  })
}

const inDays = (days: number) => new Date(Date.now() + days * 24 * 3_600_000).toISOString()

async function connectAll(): Promise<void> {
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
  for (const { slug, displayName, running } of providers)
    await portal.sso.providers.connect({
      slug,
      displayName,
      issuer: running.issuer,
      clientId: 'equipment-portal',
      clientSecret,
      clientSecretExpiresAt: inDays({ tailspin: 23.5 }[slug] ?? 400),
      enabled: slug !== 'fabrikam',
    })
  await portal.sso.providers.recommend('northwind')
  for (const [slug, people] of [['northwind', 412] as const, ['tailspin', 37] as const])
    for (let person = 0; person < people; person++)
      await portal.knex('sso_events').insert({
        id: randomUUID(),
        portal: 'default',
        at: new Date().toISOString(),
        kind: 'signed-in',
        user_id: `person-${person}`,
        provider: slug,
        detail: '{}',
      })
  await providers.find(({ slug }) => slug === 'contoso')?.running.close()
  await portal.sso.providers.test('contoso')
}

async function screenshot(page: Page, name: string, fullPage = false): Promise<void> {
  await page.screenshot({ path: path.join(import.meta.dirname, `${name}.png`), fullPage })
}

async function takeAdminPages(page: Page): Promise<void> {
  const admin = `${portal.url}/admin/sso`
  await page.goto(`${admin}/`)
  await screenshot(page, 'admin-list')
  await page.goto(`${admin}/new/entra`)
  await screenshot(page, 'admin-connect', true)
  await page.goto(`${admin}/fabrikam`)
  await screenshot(page, 'admin-provider')
  await page.getByRole('button', { name: 'Test sign-in' }).click()
  await page.getByRole('button', { name: /^Ada Lovelace/ }).click()
  await page.getByRole('heading', { name: /^The test sign-in/ }).waitFor()
  await screenshot(page, 'admin-test-sign-in')
}

const account = '/account/security'

async function signedIn(browser: Browser, options: BrowserContextOptions, provider: string): Promise<Page> {
  const page = await browser.newPage({ colorScheme: 'light', ...options })
  await page.goto(`${portal.url}/login?returnTo=${account}`)
  await page.getByRole('link', { name: provider }).click()
  await page.getByRole('button', { name: /^Ada Lovelace/ }).click()
  await page.waitForURL(portal.url + account)
  return page
}

/** Ada is signed in on three devices, with two providers. */
async function takeUserPages(browser: Browser): Promise<void> {
  await signedIn(browser, { userAgent: phone }, 'Northwind ID')
  await signedIn(browser, { userAgent: laptop }, 'Northwind ID')
  const page = await signedIn(browser, { viewport: { width: 1280, height: 720 } }, 'Tailspin Accounts')
  await page.goto(portal.url + account)
  await screenshot(page, 'account', true)
  await page.goto(`${portal.url}/admin/sso/sessions`)
  await page.getByLabel('E-mail address').fill('ada@example.com')
  await page.getByRole('button', { name: 'Find user' }).click()
  await page.getByRole('heading', { name: 'Ada Lovelace' }).waitFor()
  await screenshot(page, 'admin-sessions')
  await page.context().clearCookies({ name: 'portal-sso' })
  await page.goto(`${portal.url}/login`)
  await screenshot(page, 'picker')
}

const phone =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1'
const laptop = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0'

await connectAll()
const program = await chromium.find()
if (!program) throw new Error('Chromium was not found: install it, or add it to the PATH.')
const { env, stop } = await chromium.start(program)
try {
  const browser = await browserType.connect(env.TEST_BROWSER_WS)
  await takeAdminPages(
    await browser.newPage({ viewport: { width: 1280, height: 860 }, colorScheme: 'light' }),
  )
  await portal.sso.providers.disable('contoso')
  await takeUserPages(browser)
  await browser.close()
} finally {
  await stop()
  await portal.close()
  for (const { slug, running } of providers) if (slug !== 'contoso') await running.close()
}
