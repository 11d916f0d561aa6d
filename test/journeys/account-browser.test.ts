/** @slow drives Chromium */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContextOptions } from 'playwright-core'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import { openBrowser } from '../support/chromium.ts'
import { Person } from '../support/person.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { copyProvider } from '../support/providers.ts'

type IdentityProvider = Awaited<ReturnType<typeof startIdentityProvider>>

const clientSecret = 'a secret of the test'
let browser: Browser
let portal: TestPortal
const providers: IdentityProvider[] = []

beforeAll(async () => {
  browser = await openBrowser()
  portal = await startPortal({ branding: { name: 'Equipment Portal', support: 'it-help@example.com' } })
  await startProvider('Northwind ID', 'northwind')
  await startProvider('Tailspin Accounts', 'tailspin')
})
afterAll(async () => {
  await browser.close()
  await Promise.all([portal.close(), ...providers.map((each) => each.close())])
})

/** Starts a real OpenID Provider and connects it. */
async function startProvider(name: string, slug: string): Promise<void> {
  const provider = await startIdentityProvider({
    name,
    port: 0,
    clientId: 'portal',
    clientName: 'Equipment Portal',
    clientSecret,
    redirectUris: [portal.sso.providers.redirectUri(slug)],
    postLogoutRedirectUris: [portal.sso.providers.postLogoutRedirectUri()],
    people: [
      { id: 'ada', name: 'Ada Lovelace', email: 'ada@example.com', emailVerified: true, hint: 'known' },
      {
        id: 'countess',
        name: 'The Countess',
        email: 'countess@home.example',
        emailVerified: false,
        hint: 'the same',
      },
      {
        id: 'grace',
        name: 'Grace Hopper',
        email: 'grace@example.com',
        emailVerified: true,
        hint: 'known, too',
      },
    ],
  })
  providers.push(provider)
  const { issuer } = provider
  await portal.sso.providers.connect({ slug, displayName: name, issuer, clientId: 'portal', clientSecret })
}

/** Creates the user, without sessions and links of earlier tests. */
async function createUser(email: string): Promise<void> {
  await portal.knex('sso_identities').delete()
  await portal.knex('sso_blocked_identities').delete()
  await portal.knex('sso_sessions').delete()
  if (!(await portal.sso.users.findByEmail(email)))
    await portal.sso.users.create({ email, name: 'Ada Lovelace', fields: {} })
}

async function openPerson(options: BrowserContextOptions = {}): Promise<Person> {
  return new Person(
    await (await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })).newPage(),
  )
}

async function closeAll(...people: Person[]): Promise<void> {
  for (const { page, complaints } of people) {
    expect(complaints).toEqual([])
    await page.context().close()
  }
}

async function signIn(
  person: Person,
  provider = 'Northwind ID',
  account: RegExp = /^Ada Lovelace/,
): Promise<void> {
  await person.page.goto(`${portal.url}/login?returnTo=/account/security`)
  await person.choose(provider)
  await person.choose(account)
  await person.page.waitForURL(`${portal.url}/account/security`)
}

describe('a new user, in a real browser', () => {
  it.each([true, false])(
    'loses no input on the way to the account, with JavaScript: %s',
    async (javaScriptEnabled) => {
      await createUser('ada@example.com')
      const grace = await openPerson({ javaScriptEnabled })
      await grace.page.goto(`${portal.url}/login?returnTo=/account/security`)
      await grace.choose('Northwind ID')
      await grace.choose(/^Grace Hopper/)
      const name = grace.page.getByLabel('Full name')
      await name.fill('')
      await grace.choose('Register and sign in')
      // The summary takes the focus, so screen readers announce it once.
      const summary = grace.page.getByRole('group', { name: 'Please check one entry' })
      expect(await summary.evaluate((it) => it === document.activeElement)).toBe(true)
      await name.fill('Grace B. Hopper')
      if (javaScriptEnabled) {
        await grace.page.goto(`${portal.url}/register`)
        await name.fill('Grace B. Hopper')
        await grace.page.reload()
        expect(await name.inputValue()).toBe('Grace B. Hopper')
      }
      await grace.choose('Register and sign in')
      await grace.page.getByText('Grace B. Hopper').waitFor()
      await portal.knex('sso_users').where({ email: 'grace@example.com' }).delete()
      await closeAll(grace)
    },
  )

  it('sends a form once after a double click, and the button shows that it waits', async () => {
    await createUser('ada@example.com')
    const grace = await openPerson()
    await grace.page.goto(`${portal.url}/login?returnTo=/account/security`)
    await grace.choose('Northwind ID')
    await grace.choose(/^Grace Hopper/)
    const posts: string[] = []
    // The portal does not answer yet.
    await grace.page.route(/\/register$/, async (route) => {
      posts.push(route.request().method())
      await route.fulfill({ status: 204 })
    })
    const button = grace.page.getByRole('button', { name: 'Register and sign in' })
    const answered = grace.page.waitForResponse(/\/register$/)
    await button.dblclick()
    expect(await button.getAttribute('aria-busy')).toBe('true')
    await answered
    await grace.page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))
    expect(await button.getAttribute('aria-busy')).toBeNull()
    expect(posts).toEqual(['POST'])
    await grace.page.unroute(/\/register$/)
    await button.click()
    await grace.page.getByText('grace@example.com').first().waitFor()
    await portal.knex('sso_users').where({ email: 'grace@example.com' }).delete()
    await closeAll(grace)
  })

  it('reads the reference and the time of a problem in order, right to left, too', async () => {
    const amina = await openPerson({ locale: 'ar', viewport: { width: 390, height: 780 } })
    await amina.page.goto(`${portal.url}/login/northwind/callback?state=x&code=y`)
    const [code, time] = await Promise.all(
      ['code', 'time'].map((name) => amina.page.locator(`.sso-reference ${name}`).boundingBox()),
    )
    expect(time!.x + time!.width).toBeLessThan(code!.x)
    await closeAll(amina)
  })

  it('copies the reference of a problem, which a live region confirms', async () => {
    const grace = await openPerson({ permissions: ['clipboard-read', 'clipboard-write'] })
    await grace.page.goto(`${portal.url}/login/northwind/callback?state=x&code=y`)
    const reference = await grace.page.locator('code').innerText()
    await grace.choose('Copy')
    await grace.page.getByRole('status').getByText('Copied').waitFor()
    const copied = await grace.page.evaluate(() => navigator.clipboard.readText())
    expect(copied).toMatch(
      new RegExp(`^Please start again\\nReference: ${reference}\\n\\d{4}-[\\d-]+T[\\d:.]+Z$`),
    )
    await closeAll(grace)
  })
})

describe('on the account page, in a real browser', () => {
  it('a user ends the session of another browser, which is signed out at its next request', async () => {
    await createUser('ada@example.com')
    const [here, there] = [await openPerson(), await openPerson({ locale: 'de' })]
    await signIn(there)
    await signIn(here)
    expect(await here.reads()).toContain('This session')
    await here.choose(/^Sign out on Chrome/)
    expect(await here.reads()).toContain('Signed out on that device.')
    expect(await here.page.getByText('Active now').count()).toBe(1)
    expect(await here.page.getByText('Last active').count()).toBe(0)
    await there.page.reload()
    expect(await there.title()).toBe('Anmelden')
    await closeAll(here, there)
  })

  it('a user adds a second provider, signs in with it, and removes the first, but cannot remove the last', async () => {
    await createUser('ada@example.com')
    const ada = await openPerson()
    await signIn(ada)
    await ada.choose('Add sign-in method')
    await ada.choose('Add Tailspin Accounts')
    // The sign-in had no auth_time. The provider reports it when asked, and she signed in there a moment ago.
    expect(await ada.reads()).toContain('Please repeat what you wanted to do.')
    await ada.choose('Add Tailspin Accounts')
    await ada.choose(/^The Countess/)
    expect(await ada.title()).toBe('Connect Tailspin Accounts?')
    expect(await ada.reads()).toContain('countess@home.example (not confirmed)')
    await ada.choose('Connect this account')
    expect(await ada.title()).toBe('Sign-in and sessions')
    const text = await ada.reads()
    expect(text).toContain('Added. You can now sign in with it, too.')
    expect(text).toContain('countess@home.example')
    // The script shows times in the reader's time zone, recent ones relative.
    expect(text).toContain('Connected now')
    expect(text).not.toContain('UTC')

    const elsewhere = await openPerson()
    await signIn(elsewhere, 'Tailspin Accounts', /^The Countess/)
    expect(await elsewhere.reads()).toContain('ada@example.com')

    await ada.choose('Remove Northwind ID')
    expect(await ada.reads()).toContain('It can no longer be used to sign in as you.')
    expect(await ada.page.getByRole('button', { name: /^Remove / }).count()).toBe(0)
    await closeAll(ada, elsewhere)
  })

  it('a user can end a session with the keyboard alone', async () => {
    await createUser('ada@example.com')
    const [ada, other] = [await openPerson(), await openPerson()]
    await signIn(other)
    await signIn(ada)
    const end = ada.page.getByRole('button', { name: /^Sign out on/ })
    for (
      let presses = 0;
      presses < 30 && !(await end.evaluate((it) => it === document.activeElement));
      presses++
    )
      await ada.page.keyboard.press('Tab')
    await ada.page.keyboard.press('Enter')
    await ada.page.getByText('Signed out on that device.').waitFor()
    await closeAll(ada, other)
  })

  it('without JavaScript, times are in UTC, and a provider is added like with it', async () => {
    await createUser('ada@example.com')
    const ada = await openPerson({ javaScriptEnabled: false })
    await signIn(ada)
    expect(await ada.reads()).toMatch(/Signed in \w+ \d+, \d{4}, [\d:]+.[AP]M UTC/)
    await ada.choose('Add sign-in method')
    await ada.choose('Add Tailspin Accounts')
    await ada.page.getByText('Please repeat what you wanted to do.').waitFor()
    await closeAll(ada)
  })

  it('with more than 50 providers, a search finds one on the login page and on the account page', async () => {
    await createUser('ada@example.com')
    const ada = await openPerson()
    await signIn(ada)
    await copyProvider(portal.knex, 'tailspin', 60)
    await ada.page.goto(`${portal.url}/account/security/add`)
    const visitor = await openPerson()
    await visitor.page.goto(`${portal.url}/login?by=list`)
    for (const { page } of [ada, visitor]) {
      await page.getByRole('searchbox').fill('company 59')
      await page.keyboard.press('Enter')
      await page.getByText('Company 59').waitFor()
      expect(await page.getByText('Company').count()).toBe(1)
    }
    await portal.knex('sso_providers').where('slug', 'like', 'p%').delete()
    await closeAll(ada, visitor)
  })
})
