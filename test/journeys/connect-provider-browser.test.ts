/** @slow drives Chromium */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContextOptions } from 'playwright-core'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import { openBrowser } from '../support/chromium.ts'
import { contosoDomain, startEntraLookAlike } from '../support/entra-look-alike.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { Person } from '../support/person.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'

type IdentityProvider = Awaited<ReturnType<typeof startIdentityProvider>>

const clientSecret = 'a+client secret/of a test%'
let browser: Browser
let portal: TestPortal
let northwind: IdentityProvider
let tailspin: IdentityProvider
/** the administrator's session */
let storageState: NonNullable<BrowserContextOptions['storageState']>

beforeAll(async () => {
  browser = await openBrowser()
  portal = await startPortal({
    branding: { name: 'Equipment Portal' },
    mount(app, sso) {
      mountDefault(app, sso)
      const isAda = (user: unknown) => (user as { email?: string } | undefined)?.email === 'ada@example.com'
      app.use('/admin/sso', sso.admin({ authorize: (req) => isAda(req.user) }))
    },
  })
  northwind = await startProvider('Northwind ID', 'northwind')
  tailspin = await startProvider('Tailspin Accounts', 'tailspin')
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
  await portal.sso.providers.connect({
    slug: 'northwind',
    displayName: 'Northwind ID',
    issuer: northwind.issuer,
    clientId: 'equipment-portal',
    clientSecret,
  })
  storageState = await withPerson({}, async (person) => {
    const { page } = person
    await page.goto(`${portal.url}/login/northwind`)
    await person.choose(/^Ada Lovelace/)
    return await page.context().storageState()
  })
})
afterAll(async () => {
  await browser.close()
  await Promise.all([portal.close(), northwind.close(), tailspin.close()])
})

/** Starts a real OpenID Provider at which the portal is registered. */
async function startProvider(name: string, slug: string): Promise<IdentityProvider> {
  return await startIdentityProvider({
    name,
    port: 0,
    clientId: 'equipment-portal',
    clientName: 'Equipment Portal',
    clientSecret,
    redirectUris: [portal.sso.providers.redirectUri(slug)],
    postLogoutRedirectUris: [portal.sso.providers.postLogoutRedirectUri()],
    people: [
      { id: 'ada', name: 'Ada Lovelace', email: 'ada@example.com', emailVerified: true, hint: 'known' },
      { id: 'grace', name: 'Grace Hopper', email: 'grace@example.com', emailVerified: true, hint: 'new' },
    ],
  })
}

async function withPerson<T>(
  options: BrowserContextOptions,
  act: (person: Person) => Promise<T>,
): Promise<T> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  try {
    const person = new Person(await context.newPage())
    const result = await act(person)
    expect(person.complaints).toEqual([])
    return result
  } finally {
    await context.close()
  }
}

const asAdministrator = (act: (person: Person) => Promise<void>, options: BrowserContextOptions = {}) =>
  withPerson({ ...options, storageState }, act)

/** Enters and saves the provider by the pages, with a mistake at first. */
async function connectTailspin(person: Person): Promise<void> {
  const { page } = person
  await page.goto(`${portal.url}/admin/sso`)
  await person.choose('Connect a provider')
  await person.choose('OpenID Connect')
  await page.getByLabel('Display name').fill('Tailspin Accounts')
  await page.getByLabel('Issuer').fill('http://127.0.0.1:9/')
  await page.getByLabel('Client ID').fill('equipment-portal')
  await page.getByLabel('Client secret', { exact: false }).first().fill(clientSecret)
  await page.getByLabel('Name in URLs').fill('tailspin')
  await person.choose('Save and continue')
  expect(person.status).toBe(422)
  expect(await person.reads()).toContain('No usable discovery document at http://127.0.0.1:9/')

  // After a mistake, all input is kept, and the secret is not in the page.
  expect(await page.getByLabel('Redirect URI', { exact: true }).inputValue()).toBe(
    portal.sso.providers.redirectUri('tailspin'),
  )
  await page.getByLabel('Issuer').fill(tailspin.issuer)
  expect(await page.locator('#field-clientSecret').inputValue()).toBe('')
  expect(await page.content()).not.toContain(clientSecret)
  await person.choose('Save and continue')
  expect(await person.title()).toBe('Test a sign-in with Tailspin Accounts')
  expect(await person.reads()).toContain('Saved as a draft')
}

/** The providers on the login page of another browser. */
async function providersOnLoginPage(): Promise<string[]> {
  return await withPerson({}, async ({ page }) => {
    await page.goto(`${portal.url}/login`)
    return await page.locator('.sso-provider-name bdi').allInnerTexts()
  })
}

describe('an administrator at a real browser', () => {
  it('connects, tests and enables a second provider, with which users can sign in until it is disabled', () =>
    asAdministrator(async (person) => {
      const { page } = person
      await connectTailspin(person)
      expect(await providersOnLoginPage()).toEqual(['Northwind ID'])

      await person.choose('Later')
      expect(page.url()).toBe(`${portal.url}/admin/sso/tailspin`)
      await person.choose('Test connection')
      expect(await person.reads()).toContain('Tested just now.')

      await person.choose('Test sign-in')
      await person.choose(/^Ada Lovelace/)
      expect(await person.title()).toBe('The test sign-in with Tailspin Accounts passed')
      expect(await providersOnLoginPage()).toEqual(['Northwind ID'])

      await person.choose('Enable')
      expect(page.url()).toContain(`${portal.url}/admin/sso/tailspin?`)
      expect(await person.reads()).toContain('Everyone can sign in with it now.')
      expect(await providersOnLoginPage()).toEqual(['Northwind ID', 'Tailspin Accounts'])
      await withPerson({}, async (somebody) => {
        await somebody.page.goto(`${portal.url}/login?returnTo=/portal`)
        await somebody.choose('Tailspin Accounts')
        await somebody.choose(/^Ada Lovelace/)
        expect(await somebody.reads()).toContain('"email":"ada@example.com"')
      })

      await person.choose('Disable')
      expect(await person.title()).toBe('Disable Tailspin Accounts?')
      await person.choose('Disable')
      expect(await person.reads()).toContain('It is no longer on the login page')
      expect(await providersOnLoginPage()).toEqual(['Northwind ID'])

      await person.choose('Remove this provider')
      await person.choose('Remove')
      expect(await person.title()).toBe('Providers')
    }))

  it('connects a provider without JavaScript', () =>
    asAdministrator(connectTailspin, { javaScriptEnabled: false }))

  it('opens the menu of a provider by keyboard, and closes it with Escape', () =>
    asAdministrator(async ({ page }) => {
      await page.goto(`${portal.url}/admin/sso/`)
      const menu = page.getByLabel('Actions for Northwind ID')
      const item = page.getByRole('button', { name: 'Test connection' })
      await menu.focus()
      await page.keyboard.press('Enter')
      await item.first().waitFor()
      await page.keyboard.press('Tab')
      await page.keyboard.press('Escape')
      expect(await item.first().isVisible()).toBe(false)
      expect(await menu.evaluate((at) => at === document.activeElement)).toBe(true)
    }))

  it('copies a redirect URI, which follows the entered name', () =>
    asAdministrator(
      async (person) => {
        const { page } = person
        await page.goto(`${portal.url}/admin/sso/new/generic`)
        await page.getByLabel('Name in URLs').fill('acme')
        await person.choose('Copy Redirect URI')
        await page.getByRole('status').getByText('Copied').waitFor()
        expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(
          portal.sso.providers.redirectUri('acme'),
        )
      },
      { permissions: ['clipboard-read', 'clipboard-write'] },
    ))

  it('finds a mistake by the summary, whose link leads to the field', () =>
    asAdministrator(async (person) => {
      const { page } = person
      await page.goto(`${portal.url}/admin/sso/new/generic`)
      await person.choose('Save and continue')
      expect(person.status).toBe(422)
      expect(await page.locator('.sso-summary').evaluate((at) => at === document.activeElement)).toBe(true)
      await person.choose('Fill in “Issuer”.')
      expect(await page.getByLabel('Issuer').evaluate((at) => at === document.activeElement)).toBe(true)
    }))
})

/** Counts the steps of a person who follows the guide. */
class Effort {
  readonly counts = { pages: 0, fields: 0, copies: 0 }
  readonly #person: Person
  readonly #seen = new Set<number>()

  constructor(person: Person) {
    this.#person = person
  }

  async look(): Promise<void> {
    await this.#person.title()
    const page = await this.#person.page.evaluate(() => performance.timeOrigin)
    if (!this.#seen.has(page)) this.counts.pages++
    this.#seen.add(page)
  }

  async choose(name: string): Promise<void> {
    await this.look()
    await this.#person.choose(name)
  }

  /** @param isCopied from the provider's console; otherwise the person knows the value */
  async fill(label: string, value: string, isCopied: boolean): Promise<void> {
    await this.look()
    await this.#person.page.getByLabel(label).first().fill(value)
    this.counts.fields++
    if (isCopied) this.counts.copies++
  }

  /** Copies the URLs that the provider's console requires. */
  async copyUrls(): Promise<void> {
    await this.look()
    for (const url of await this.#person.page.locator('.admin-address').all())
      if (!(await url.innerText()).includes('Optional')) this.counts.copies++
  }
}

type Entries = [label: string, value: string, isCopied: boolean][]

describe('connecting a provider by its guide takes at most', () => {
  let own: TestPortal
  let entra: Awaited<ReturnType<typeof startEntraLookAlike>>
  let other: Awaited<ReturnType<typeof startFaultyProvider>>

  beforeAll(async () => {
    own = await startPortal({
      mount(app, sso) {
        mountDefault(app, sso)
        app.get('/classic-login', async (req, res) => {
          const user = await sso.users.findByEmail('root@example.com')
          req.login(user as Express.User, () => void res.redirect('/admin/sso/'))
        })
        app.use('/admin/sso', sso.admin({ authorize: (req) => req.user !== undefined }))
      },
    })
    await own.sso.users.create({ email: 'root@example.com', name: 'Administrator', fields: {} })
    await own.sso.users.create({ email: `ada@${contosoDomain}`, name: 'Ada Lovelace', fields: {} })
    entra = await startEntraLookAlike({ clientSecret })
    entra.signsIn({ email: `ada@${contosoDomain}` })
    other = await startFaultyProvider({ clientSecret })
    other.person = {
      sub: 'ada',
      email: `ada@${contosoDomain}`,
      email_verified: true,
      hd: contosoDomain,
    }
  })
  afterAll(() => Promise.all([own.close(), entra.close(), other.close()]))

  // The first one is the first provider of its portal, and uses the proposed answers.
  it.each<[preset: string, name: string, counts: Effort['counts'], entries: () => Entries]>([
    [
      'entra',
      'Microsoft Entra ID',
      { pages: 6, fields: 3, copies: 5 },
      () => [
        ['Directory (tenant) ID', contosoDomain, false],
        ['Application (client) ID', entra.clientId, true],
        ['Client secret', clientSecret, true],
      ],
    ],
    [
      'google',
      'Google',
      { pages: 6, fields: 3, copies: 3 },
      () => [
        ['Client ID', other.clientId, true],
        ['Client secret', clientSecret, true],
        ['E-mail domains', contosoDomain, false],
      ],
    ],
    [
      'okta',
      'Okta',
      { pages: 6, fields: 3, copies: 5 },
      () => [
        ['Okta domain', 'acme.okta.com', true],
        ['Client ID', other.clientId, true],
        ['Client secret', clientSecret, true],
      ],
    ],
    [
      'generic',
      'OpenID Connect',
      { pages: 6, fields: 4, copies: 5 },
      () => [
        ['Display name', 'Acme', false],
        ['Issuer', other.issuer, true],
        ['Client ID', other.clientId, true],
        ['Client secret', clientSecret, true],
      ],
    ],
  ])('for %s', async (preset, name, counts, entries) => {
    await withPerson({}, async (person) => {
      const { page } = person
      const effort = new Effort(person)
      await page.goto(`${own.url}/classic-login`)
      await effort.choose('Connect a provider')
      await effort.choose(name)
      await effort.copyUrls()
      for (const [label, value, isCopied] of entries()) await effort.fill(label, value, isCopied)
      // Replaces the vendor's server, which tests cannot reach.
      const issuer = preset === 'entra' ? entra.issuerOf(contosoDomain) : other.issuer
      await page.locator('#field-issuer').evaluate((field, text) => {
        ;(field as HTMLInputElement).value = text
      }, issuer)
      await effort.choose('Save and continue')
      await effort.choose('Test sign-in')
      await effort.choose('Enable')
      await effort.look()
      expect(await person.reads()).toContain('Everyone can sign in with it now.')
      console.info(`to connect ${name}: ${JSON.stringify(effort.counts)}`)
      expect(effort.counts.pages).toBeLessThanOrEqual(counts.pages)
      expect(effort.counts.fields).toBeLessThanOrEqual(counts.fields)
      expect(effort.counts.copies).toBeLessThanOrEqual(counts.copies)
    })
    await withPerson({}, async (somebody) => {
      await somebody.page.goto(`${own.url}/login/${preset === 'generic' ? 'sso' : preset}?returnTo=/portal`)
      expect(await somebody.reads()).toContain(`"email":"ada@${contosoDomain}"`)
    })
  })
})
