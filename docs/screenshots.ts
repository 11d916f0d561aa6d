/**
 * `npm run screenshots`: takes the pictures of the documentation, and every page in every state (test/support/page-states.ts) into
 * `docs/screenshots`. `npm run screenshots picker` takes only the states whose name contains a text,
 * and `npm run screenshots documents` only the pictures of the documentation.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type Browser, type BrowserContextOptions, chromium as browserType, type Page } from 'playwright-core'
import { startIdentityProvider } from '../examples/identity-provider.ts'
import {
  mailStates,
  openState,
  type PageState,
  pageStates,
  type Scene,
  startScene,
} from '../test/support/page-states.ts'
import { mountDefault, startPortal } from '../test/support/portal.ts'
import { chromium } from '../test/support/services/chromium.ts'
import { toIndexedPng } from './indexed-png.ts'

const folder = path.join(import.meta.dirname, 'screenshots')

interface Look {
  name: string
  locale: string
  colorScheme: 'light' | 'dark'
  width: number
  /** selects states by their name; default: all */
  states?: RegExp
  /** the same for administrators' pages; default: `states` */
  adminStates?: RegExp
}

/** One of each kind of page. */
const arabicOnPhone =
  /^(?:picker|picker-(?:email-error|problems|search)|registration-error|address|code-error|prove-account|account|sign-out-choice|continue|problem-(?:cancelled|consent|outage)|mail-code)$/

const translatedAdmin =
  /^admin-(?:list|connect-(?:entra|error)|trust|provider-problems|edit|claims|disable|progress|sessions-of-user|events|test-sign-in-failed)$/

/** Each language, each size and each colour scheme, without every combination. */
const looks: Look[] = [
  { name: 'en-light-1280', locale: 'en', colorScheme: 'light', width: 1280 },
  { name: 'en-dark-390', locale: 'en', colorScheme: 'dark', width: 390 },
  { name: 'de-light-390', locale: 'de', colorScheme: 'light', width: 390, adminStates: translatedAdmin },
  { name: 'ar-dark-1280', locale: 'ar', colorScheme: 'dark', width: 1280, adminStates: translatedAdmin },
  { name: 'ar-light-390', locale: 'ar', colorScheme: 'light', width: 390, states: arabicOnPhone },
]
const maxHeight = 1400

async function writePicture(page: Page, name: string, fullPage = true): Promise<void> {
  const { width, height } = await page.evaluate(() => {
    const { scrollWidth, scrollHeight } = document.documentElement
    return { width: scrollWidth, height: scrollHeight }
  })
  const clip = { x: 0, y: 0, width, height: Math.min(height, maxHeight) }
  const png = await page.screenshot({ animations: 'disabled', ...(fullPage && { fullPage, clip }) })
  writeFileSync(path.join(import.meta.dirname, `${name}.png`), toIndexedPng(png))
}

type PicturedState = PageState & { admin: boolean }

async function takeLook(
  browser: Browser,
  scene: Scene,
  { name, locale, colorScheme, width, states: wanted, adminStates = wanted }: Look,
  states: readonly PicturedState[],
): Promise<void> {
  const page = await browser.newPage({
    locale,
    colorScheme,
    viewport: { width, height: width === 390 ? 780 : 800 },
    reducedMotion: 'reduce',
  })
  for (const state of states) {
    if ((state.admin ? adminStates : wanted)?.test(state.name) === false) continue
    await openState(page, scene, state)
    await writePicture(page, `screenshots/${state.name}.${name}`)
  }
  await page.context().close()
  console.log(`  ${name}`)
}

/** Two looks at a time, each with a portal of its own: a state changes the portal. */
async function takeStates(browser: Browser, states: readonly PicturedState[]): Promise<void> {
  const waiting = [...looks]
  const takeNext = async () => {
    const scene = await startScene()
    for (let look = waiting.shift(); look; look = waiting.shift())
      await takeLook(browser, scene, look, states)
    await scene.close()
  }
  await Promise.all([takeNext(), takeNext()])
}

/** The pictures of README.md and the documents, of a portal with real identity providers. */
async function takeDocumentation(browser: Browser): Promise<void> {
  const portal = await startPortal({
    branding: { name: 'Equipment Portal', support: 'it-help@example.com' },
    mount(app, sso) {
      mountDefault(app, sso)
      // Safe here: the portal is in memory and stops afterwards.
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
    },
  })
  const providers = await connectAll(portal)
  const admin = await browser.newPage({ viewport: { width: 1280, height: 860 }, colorScheme: 'light' })
  await takeAdminPages(admin, portal.url)
  await portal.sso.providers.disable('contoso')
  await takeUserPages(browser, portal)
  await portal.close()
  for (const { slug, running } of providers) if (slug !== 'contoso') await running.close()
}

type Portal = Awaited<ReturnType<typeof startPortal>>
const clientSecret = 'the client secret of a screenshot'

const inDays = (days: number) => new Date(Date.now() + days * 24 * 3_600_000).toISOString()

async function connectAll(portal: Portal) {
  const providers = await Promise.all(
    [
      { slug: 'northwind', displayName: 'Northwind ID' },
      { slug: 'tailspin', displayName: 'Tailspin Accounts' },
      { slug: 'fabrikam', displayName: 'Fabrikam' },
      { slug: 'contoso', displayName: 'Contoso' },
    ].map(async ({ slug, displayName }) => {
      const running = await startIdentityProvider({
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
      return { slug, displayName, running }
    }),
  )
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
  await insertSignIns(portal)
  await providers.find(({ slug }) => slug === 'contoso')?.running.close()
  await portal.sso.providers.test('contoso')
  return providers
}

/** Sign-ins and failures of the last 30 days, fewer at weekends. */
async function insertSignIns({ knex }: Portal): Promise<void> {
  for (const [slug, daily] of [['northwind', 14] as const, ['tailspin', 2] as const])
    for (let days = 0; days < 30; days++)
      for (let person = 0; person < (days % 7 < 2 ? daily / 2 : daily + (days % 3)); person++)
        await knex('sso_events').insert({
          id: randomUUID(),
          portal: 'default',
          at: inDays(-days),
          kind: person === 1 && days % 5 === 0 ? 'sign-in-failed' : 'signed-in',
          user_id: `person-${person}`,
          provider: slug,
          detail: '{}',
        })
}

async function takeAdminPages(page: Page, url: string): Promise<void> {
  const admin = `${url}/admin/sso`
  await page.goto(`${admin}/`)
  await writePicture(page, 'admin-list', false)
  await page.goto(`${admin}/new/entra`)
  await writePicture(page, 'admin-connect')
  await page.goto(`${admin}/fabrikam`)
  await writePicture(page, 'admin-provider', false)
  await page.getByRole('button', { name: 'Test sign-in' }).click()
  await page.getByRole('button', { name: /^Ada Lovelace/ }).click()
  await page.getByRole('heading', { name: /^The test sign-in/ }).waitFor()
  await writePicture(page, 'admin-test-sign-in', false)
}

const account = '/account/security'

async function signedIn(
  browser: Browser,
  url: string,
  provider: string,
  options: BrowserContextOptions,
): Promise<Page> {
  const page = await browser.newPage({ colorScheme: 'light', ...options })
  await page.goto(`${url}/login?returnTo=${account}`)
  await page.getByRole('link', { name: provider }).click()
  await page.getByRole('button', { name: /^Ada Lovelace/ }).click()
  await page.waitForURL(url + account)
  return page
}

/** Ada is signed in on three devices, with two providers. */
async function takeUserPages(browser: Browser, { url, knex }: Portal): Promise<void> {
  await signedIn(browser, url, 'Northwind ID', { userAgent: phone })
  await signedIn(browser, url, 'Northwind ID', { userAgent: laptop })
  const page = await signedIn(browser, url, 'Tailspin Accounts', { viewport: { width: 1280, height: 720 } })
  await page.goto(url + account)
  await writePicture(page, 'account')
  await page.goto(`${url}/admin/sso/sessions`)
  await page.getByLabel('E-mail address').fill('ada@example.com')
  await page.getByRole('button', { name: 'Find user' }).click()
  await page.getByRole('heading', { name: 'Ada Lovelace' }).waitFor()
  await writePicture(page, 'admin-sessions', false)
  // The vendors' own buttons. Nobody signs in with them.
  for (const [slug, preset, display_name] of [
    ['contoso', 'entra', 'Microsoft'],
    ['fabrikam', 'google', 'Google'],
  ] as const)
    await knex('sso_providers').where({ slug }).update({ preset, display_name, enabled: true })
  await page.context().clearCookies()
  await page.goto(`${url}/login`)
  await writePicture(page, 'picker', false)
}

const phone =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1'
const laptop = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0'

const [only] = process.argv.slice(2)
const program = await chromium.find()
if (!program) throw new Error('Chromium was not found: install it, or add it to the PATH.')
const { env, stop } = await chromium.start(program)
try {
  const browser = await browserType.connect(env.TEST_BROWSER_WS)
  if (only === undefined || only === 'documents') await takeDocumentation(browser)
  if (only === undefined) rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const pictured = [...pageStates, ...mailStates].filter(
    ({ name, sameLook }) => !sameLook && (!only || name.includes(only)),
  )
  await takeStates(browser, pictured)
  await browser.close()
} finally {
  await stop()
}
