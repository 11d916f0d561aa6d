/** @slow drives Chromium */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser } from 'playwright-core'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import { openBrowser } from '../support/chromium.ts'
import { flaws, Person } from '../support/person.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'

type Logout = 'portal' | 'provider' | 'ask'

const clientSecret = 'a secret of the test'
let browser: Browser
let portal: TestPortal
let northwind: Awaited<ReturnType<typeof startIdentityProvider>>

beforeAll(async () => {
  browser = await openBrowser()
  portal = await startPortal({
    branding: { name: 'Equipment Portal' },
    mount(app, sso) {
      mountDefault(app, sso)
      app.get('/host', (_req, res) => {
        res.set('content-security-policy', "default-src 'none'; img-src 'self' data:; form-action 'self'")
        res.send('<!doctype html><form method="post" action="/logout"><button>Leave</button></form>')
      })
    },
  })
  northwind = await startIdentityProvider({
    name: 'Northwind ID',
    port: 0,
    clientId: 'portal',
    clientName: 'Equipment Portal',
    clientSecret,
    redirectUris: [portal.sso.providers.redirectUri('northwind')],
    postLogoutRedirectUris: [portal.sso.providers.postLogoutRedirectUri()],
    people: [
      { id: 'ada', name: 'Ada Lovelace', email: 'ada@example.com', emailVerified: true, hint: 'known' },
      { id: 'grace', name: 'Grace Hopper', email: 'grace@example.com', emailVerified: true, hint: 'known' },
    ],
  })
  for (const [email, name] of [
    ['ada@example.com', 'Ada Lovelace'],
    ['grace@example.com', 'Grace Hopper'],
  ] as const)
    await portal.sso.users.create({ email, name, fields: {} })
})
afterAll(async () => {
  await browser.close()
  await Promise.all([portal.close(), northwind.close()])
})

/** Connects it again for each test, so that it is newer than any page that was served before. */
async function connectNorthwind(logout: Logout): Promise<void> {
  const { providers } = portal.sso
  const known = await providers.list()
  for (const { slug } of known) await providers.remove(slug)
  const { issuer } = northwind
  await providers.connect({
    slug: 'northwind',
    displayName: 'Northwind ID',
    issuer,
    clientId: 'portal',
    clientSecret,
    logout,
  })
}

async function withPerson(act: (person: Person) => Promise<void>): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  try {
    const person = new Person(await context.newPage())
    await act(person)
    expect(person.complaints).toEqual([])
  } finally {
    await context.close()
  }
}

async function signIn({ page }: Pick<Person, 'page'>, name = 'Ada Lovelace'): Promise<void> {
  const person = new Person(page)
  await page.goto(`${portal.url}/login/northwind?returnTo=/portal`)
  await person.choose(new RegExp(`^${name}`))
  await page.waitForURL(`${portal.url}/portal`)
}

/** Opens a host page. Then another tab connects the provider and signs in, so the page's policy does not include it. */
async function signInBehindPage({ page }: Person, logout: Logout): Promise<void> {
  await page.goto(`${portal.url}/host`)
  await connectNorthwind(logout)
  const tab = await page.context().newPage()
  await signIn({ page: tab })
  await tab.close()
}

/** Confirms the sign-out at the provider, and returns. */
async function signOutAtProvider(person: Person): Promise<void> {
  await person.page.waitForURL(`${northwind.issuer}/**`)
  expect(await person.title()).toBe('Sign out of Northwind ID?')
  await person.choose('Yes, sign out')
  await person.page.waitForURL(`${portal.url}/logout/done?state=*`)
  expect(await person.reads()).toContain('are also signed out of Northwind ID')
}

/** Starts a sign-in. @returns whether the provider asks for the account */
async function mustChooseAccount({ page }: Person): Promise<boolean> {
  await page.goto(`${portal.url}/login/northwind?returnTo=/portal`)
  if (page.url() === `${portal.url}/portal`) return false
  expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('Choose who you are')
  return true
}

describe('signing out, in a real browser', () => {
  it('leads from a page with form-action ’self’ to a provider that was connected later, and back', () =>
    withPerson(async (person) => {
      await signInBehindPage(person, 'provider')
      await person.choose('Leave')
      await signOutAtProvider(person)
    }))

  it('asks after signing out here whether to sign out at the provider, if the row says so and the page did not ask', () =>
    withPerson(async (person) => {
      await signInBehindPage(person, 'ask')
      await person.choose('Leave')
      expect(await person.title()).toBe('You are signed out')
      expect(await person.reads()).toContain('You are still signed in to Northwind ID')
      await person.choose('Sign out of Northwind ID too')
      await signOutAtProvider(person)
    }))

  it('lets the user choose to sign out of both', () =>
    withPerson(async (person) => {
      await connectNorthwind('ask')
      await signIn(person)
      await person.page.goto(`${portal.url}/logout`)
      await person.choose('Sign out of Northwind ID too')
      await signOutAtProvider(person)
    }))

  it('lets the user choose to sign out here only; then the provider asks the next user for the account', () =>
    withPerson(async (person) => {
      await connectNorthwind('ask')
      await signIn(person)
      await person.page.goto(`${portal.url}/logout`)
      await person.choose('Sign out of Equipment Portal only')
      await person.page.waitForURL(`${portal.url}/logout/done`)
      await person.page.goto(`${portal.url}/login`)
      expect(await person.reads()).toContain('You may be asked to choose your account again.')
      // Until a user has signed in, the provider asks each time.
      expect(await mustChooseAccount(person)).toBe(true)
      expect(await mustChooseAccount(person)).toBe(true)
      await person.choose(/^Grace Hopper/)
      expect(await person.reads()).toContain('grace@example.com')
      expect(await mustChooseAccount(person)).toBe(false)
    }))

  it('shows the offer to sign out there without accessibility problems or sideways scrolling, in light and dark mode', () =>
    withPerson(async (person) => {
      const { page } = person
      await connectNorthwind('ask')
      await signIn(person)
      await page.goto(`${portal.url}/host`)
      await person.choose('Leave')
      expect(await person.reads()).toContain('You are still signed in to Northwind ID')
      expect(await flaws(person)).toEqual([])
      await person.choose('Not now')
      expect(await person.reads()).toContain('You may still be signed in at your sign-in service')
      expect(await flaws(person)).toEqual([])
    }))
})
