import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContextOptions } from 'playwright-core'
import { openBrowser } from '../support/chromium.ts'
import { flaws, Person } from '../support/person.ts'
import { freePort, isFree } from '../support/services/server.ts'

const repository = path.resolve(import.meta.dirname, '../..')
let browser: Browser

beforeAll(async () => {
  browser = await openBrowser()
})
afterAll(() => browser.close())

/** Opens a separate browser for one user. Errors that the browser reports fail the test. */
async function withPerson(
  act: (person: Person) => Promise<void>,
  options: BrowserContextOptions = {},
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  try {
    const person = new Person(await context.newPage())
    await act(person)
    expect(person.complaints).toEqual([])
  } finally {
    await context.close()
  }
}

describe('the example portal, in a real browser', () => {
  let url: string
  let folder: string
  let program: ChildProcess

  beforeAll(async () => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-example-'))
    const port = await threeFreePorts()
    url = `http://localhost:${port}`
    program = startExample('examples/portal.ts', {
      PORT: String(port),
      DATABASE_URL: `sqlite:${path.join(folder, 'portal.sqlite3')}`,
      SSO_SECRET: 'a-secret-for-the-example-longer-than-32-characters',
    })
    await printed(program, `Open ${url}/portal`)
  })
  afterAll(async () => {
    await stop(program)
    fs.rmSync(folder, { recursive: true })
  })

  it('signs a user in on the way to a deep link, with two clicks', () =>
    withPerson(async (person) => {
      await person.signInAsAda(`${url}/portal/requests?state=open`)
      expect(person.page.url()).toBe(`${url}/portal/requests?state=open`)
      expect(await person.reads()).toContain('Signed in as Ada Lovelace (ada@example.com)')
      expect(person.clicks).toBe(2)
    }))

  it('signs a user in and out with JavaScript disabled', () =>
    withPerson(
      async (person) => {
        await person.signInAsAda(`${url}/portal/requests?state=open`)
        expect(person.page.url()).toBe(`${url}/portal/requests?state=open`)
        expect(await person.reads()).toContain('Signed in as Ada Lovelace (ada@example.com)')
        expect(person.clicks).toBe(2)
        await person.signOut()
        expect(await person.title()).toBe('You are signed out')
      },
      { javaScriptEnabled: false },
    ))

  it('registers a new user, and keeps their input after a mistake', () =>
    withPerson(async (person) => {
      const { page } = person
      await page.goto(`${url}/portal/requests?state=open`)
      await person.choose('Tailspin Accounts')
      await person.choose(/^Katherine Johnson/)
      expect(await person.title()).toBe('Complete your registration')
      expect(await person.reads()).toContain('katherine@example.com\nConfirmed by Tailspin Accounts')
      expect(await page.getByRole('textbox').count()).toBe(1)
      const name = page.getByLabel('Full name')
      expect(await name.inputValue()).toBe('Katherine Johnson')

      await name.fill('  ')
      await person.choose('Register and sign in')
      expect(person.status).toBe(422)
      expect(await page.locator('#field-name-error').innerText()).toBe('Please enter your name.')
      await person.choose('Please enter your name.')
      expect(await name.evaluate((input) => input === document.activeElement)).toBe(true)

      await name.fill('Katherine G. Johnson')
      await person.choose('Register and sign in')
      expect(page.url()).toBe(`${url}/portal/requests?state=open`)
      expect(await person.reads()).toContain('Signed in as Katherine G. Johnson (katherine@example.com)')
    }))

  it('stops an attacker who claims Ada’s address: only Ada gets the code', () =>
    withPerson(async (person) => {
      const { page } = person
      await toCode(person)
      expect(await person.title()).toBe('Enter the code')
      expect(await person.reads()).toContain('Sent to\nada@example.com')
      await page.getByLabel('Code').fill('2345-6789')
      await person.choose('Continue')
      expect(person.status).toBe(422)
      expect(await page.locator('#field-code-error').innerText()).toContain('You have 4 more tries.')
      await page.goto(`${url}/portal`)
      expect(await person.title()).toBe('Sign in')
    }))

  it('registers a user without an address, who confirms one with a mailed code', () =>
    withPerson(async (person) => {
      const { page } = person
      await page.goto(`${url}/portal/requests?state=open`)
      await person.choose('Tailspin Accounts')
      await person.choose(/^Alan Turing/)
      expect(await person.title()).toBe('Confirm your e‑mail address')
      await page.getByLabel('E-mail address').fill('alan@example.com')
      await person.choose('Send code')
      const mailbox = await page.context().newPage()
      await mailbox.goto(`${url}/mailbox`)
      const mail = await mailbox.getByRole('article').filter({ hasText: 'To alan@example.com' }).innerText()
      const [code = ''] = /[2-9A-Z]{4}-[2-9A-Z]{4}/.exec(mail) ?? []
      await page.getByLabel('Code').fill(code.toLowerCase().replace('-', ' '))
      await person.choose('Continue')
      expect(await person.reads()).toContain('alan@example.com\nConfirmed by code')
      await person.choose('Register and sign in')
      expect(page.url()).toBe(`${url}/portal/requests?state=open`)
      expect(await person.reads()).toContain('Signed in as Alan Turing (alan@example.com)')
    }))

  it('lets a user choose another account at the provider, and asks before it connects the first one', () =>
    withPerson(async (person) => {
      const { page } = person
      await page.goto(`${url}/portal/requests?state=open`)
      await person.choose('Northwind ID')
      await person.choose(/^Mallory/)
      await person.choose('Another account at Northwind ID')
      // Without signing out there, `prompt=login` would keep Mallory's name at some providers.
      expect(await person.title()).toBe('Sign out of Northwind ID?')
      await person.choose('Yes, sign out')
      await person.choose(/^Ada Lovelace/)
      await page.waitForURL(`${url}/register/link`)
      expect(await person.reads()).toContain('You are signed in as Ada Lovelace (ada@example.com).')
      expect(await person.reads()).toContain('Mallory\nada@example.com (not confirmed)')
      await person.choose('Do not connect')
      expect(page.url()).toBe(`${url}/portal/requests?state=open`)
      expect(await person.reads()).toContain('Signed in as Ada Lovelace')
    }))

  it('lets a user who cancelled at the provider try again, and keeps the deep link', () =>
    withPerson(async (person) => {
      await person.page.goto(`${url}/portal/requests?state=open`)
      await person.choose('Northwind ID')
      await person.choose('Cancel and go back')
      expect(person.status).toBe(403)
      expect(await person.title()).toBe('You are not signed in')
      await person.choose('Try again')
      await person.choose(/^Ada Lovelace/)
      expect(person.page.url()).toBe(`${url}/portal/requests?state=open`)
    }))

  it('shows no guarded page after signing out and pressing the back button', () =>
    withPerson(async (person) => {
      await person.signInAsAda(`${url}/portal`)
      await person.signOut()
      expect(await person.title()).toBe('You are signed out')
      // The provider's confirmation page is in between.
      await person.page.evaluate(() => history.go(-2))
      await person.page.waitForURL(`${url}/login?*`)
      expect(await person.title()).toBe('Sign in')
      expect(await person.reads()).not.toContain('Ada')
    }))

  it('signs a user out here and at the provider, despite the Content-Security-Policy, and returns', () =>
    withPerson(async (person) => {
      await person.signInAsAda(`${url}/portal`)
      await person.page.goto(`${url}/logout`)
      expect(await person.reads()).toContain('Then you can sign out of Northwind ID as well.')
      await person.choose('Sign out')
      expect(await person.title()).toBe('Sign out of Northwind ID?')
      await person.choose('Yes, sign out')
      expect(person.page.url()).toContain(`${url}/logout/done?state=`)
      expect(await person.title()).toBe('You are signed out')
      expect(await person.reads()).toContain('also signed out of Northwind ID')
      // The provider has no session any more, so it asks the next user.
      await person.page.goto(`${url}/login`)
      await person.choose('Northwind ID')
      expect(await person.title()).toBe('Choose who you are')
    }))

  it('has ended the session here even if the user goes back at the provider', () =>
    withPerson(async (person) => {
      await person.signInAsAda(`${url}/portal`)
      await person.choose('Sign out')
      // Our page in between posts on by itself.
      await person.page.getByRole('heading', { level: 1, name: 'Sign out of Northwind ID?' }).waitFor()
      await person.page.goto(`${url}/portal`)
      expect(await person.title()).toBe('Sign in')
    }))

  it('ends a session when the user signs out at the provider in another window (back-channel)', () =>
    withPerson(async (person) => {
      const { page } = person
      await person.signInAsAda(`${url}/portal`)
      const other = await page.context().newPage()
      const issuer = new URL((await other.goto(`${url}/login/northwind?account=other`))!.url()).origin
      await other.goto(`${issuer}/session/end`)
      await other.getByRole('button', { name: 'Yes, sign out' }).click()
      await page.reload()
      expect(await person.title()).toBe('Sign in')
    }))

  it('shows the admin pages only to the administrator', () =>
    withPerson(async (person) => {
      await person.page.goto(`${url}/admin/sso`)
      expect(person.status).toBe(404)
      await person.signInAsAda(`${url}/portal`)
      await person.choose('connect providers')
      expect(await person.title()).toBe('Providers')
      expect(await person.reads()).toContain('Northwind ID')
    }))

  it('refuses the classic login with a page that leads to the picker', () =>
    withPerson(async (person) => {
      await person.page.goto(url)
      await person.choose('classic login')
      await person.page.getByLabel('Password').fill('portal')
      await person.choose('Log in')
      expect(person.status).toBe(403)
      expect(await person.title()).toBe('Password sign-in has been replaced')
      await person.choose('Choose a sign-in service')
      expect(person.page.url()).toBe(`${url}/login`)
    }))

  it('marks only the provider that this browser used last', () =>
    withPerson(async (person) => {
      const { page } = person
      const marked = page.getByRole('region', { name: 'Last used' })
      await page.goto(`${url}/login`)
      expect(await marked.count()).toBe(0)
      await person.signInAsAda(`${url}/login`)
      await person.signOut()
      await person.choose('Sign in again')
      expect(await marked.count()).toBe(1)
      expect(await marked.innerText()).toContain('Northwind ID')
    }))

  async function openEmailVerification(person: Person): Promise<void> {
    await person.page.goto(`${url}/login/northwind`)
    await person.choose(/^Mallory/)
  }

  async function toCode(person: Person): Promise<void> {
    await openEmailVerification(person)
    await person.choose('Send code')
  }

  describe('has no accessibility problem and no sideways scrolling on', () => {
    const pages: [string, string, (person: Person) => Promise<unknown>][] = [
      ['the picker', 'Sign in', ({ page }) => page.goto(`${url}/login`)],
      ['the registration', 'Complete your registration', toRegistration],
      [
        'the registration after a mistake',
        'Complete your registration',
        async (person) => {
          await toRegistration(person)
          await person.page.getByLabel('Full name').fill('')
          await person.choose('Register and sign in')
        },
      ],
      ['the email verification', 'Confirm your e‑mail address', openEmailVerification],
      [
        'the email verification after a mistake',
        'Confirm your e‑mail address',
        async (person) => {
          await openEmailVerification(person)
          await person.page.getByLabel('E-mail address').fill('ada')
          await person.choose('Send code')
        },
      ],
      [
        'the code form after a mistake',
        'Enter the code',
        async (person) => {
          await toCode(person)
          await person.choose('Continue')
        },
      ],
      [
        'the question whether to connect an account',
        'Connect Northwind ID?',
        async (person) => {
          await openEmailVerification(person)
          await person.choose('Sign in with Tailspin Accounts')
          await person.choose(/^Ada Lovelace/)
        },
      ],
      ['the mailbox', 'Mailbox', ({ page }) => page.goto(`${url}/mailbox`)],
      [
        'an error page',
        'You are not signed in',
        async (person) => {
          await person.page.goto(`${url}/login/tailspin`)
          await person.choose('Cancel and go back')
        },
      ],
      [
        'the sign-out page',
        'Sign out of Equipment Portal?',
        async (person) => {
          await person.signInAsAda(`${url}/login`)
          await person.page.goto(`${url}/logout`)
        },
      ],
      ['the page after signing out', 'You are signed out', ({ page }) => page.goto(`${url}/logout/done`)],
      ['the portal', 'My equipment', (person) => person.signInAsAda(`${url}/portal`)],
      ['the start page', 'What you need to work', ({ page }) => page.goto(url)],
      ['the classic login', 'Classic login', ({ page }) => page.goto(`${url}/classic-login`)],
      ['the identity provider', 'Choose who you are', ({ page }) => page.goto(`${url}/login/northwind`)],
    ]

    async function toRegistration(person: Person): Promise<void> {
      await person.page.goto(`${url}/login/northwind`)
      await person.choose(/^Grace Hopper/)
    }

    it.each(pages)('%s', (_name, title, open) =>
      withPerson(async (person) => {
        await open(person)
        expect(await person.title()).toBe(title)
        expect(await flaws(person)).toEqual([])
      }),
    )
  })
})

describe('the branded example, in a real browser', () => {
  it('has its logos, its accent, its links and one template of its own, without flaws', async () => {
    const port = await threeFreePorts()
    const url = `http://localhost:${port}/login`
    const program = startExample('examples/branded/portal.ts', { PORT: String(port) })
    try {
      await printed(program, `Open ${url}`)
      await withPerson(async (person) => {
        const { page } = person
        await page.goto(url)
        for (const [colorScheme, file] of [
          ['light', 'logo.svg'],
          ['dark', 'logo-dark.svg'],
        ] as const) {
          await page.emulateMedia({ colorScheme })
          await page.waitForFunction(
            (path) => document.querySelector<HTMLImageElement>('.sso-logo')?.currentSrc.endsWith(path),
            `/brand/${file}`,
          )
        }
        expect(await person.reads()).toContain('Help desk, Monday to Friday: +1 425 555 0100')
        expect(await page.getByRole('link', { name: 'Imprint' }).getAttribute('href')).toBe('/imprint')
        expect(await flaws(person)).toEqual([])
        await page.goto(`${url}/tailspin`)
        await person.choose(/^Katherine Johnson/)
        const button = page.getByRole('button', { name: 'Register and sign in' })
        const { backgroundColor, color } = await button.evaluate((element) => {
          const { backgroundColor, color } = getComputedStyle(element)
          return { backgroundColor, color }
        })
        expect([backgroundColor, color]).toEqual(['rgb(242, 169, 0)', 'rgb(0, 0, 0)'])
        expect(await flaws(person)).toEqual([])
      })
    } finally {
      await stop(program)
    }
  })
})

/** The first of three consecutive ports: the example's providers use the two after the portal's. */
async function threeFreePorts(): Promise<number> {
  for (;;) {
    const port = await freePort()
    if ((await isFree(port + 1)) && (await isFree(port + 2))) return port
  }
}

function startExample(file: string, env: NodeJS.ProcessEnv): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', file], {
    cwd: repository,
    env: { PATH: process.env.PATH, TMPDIR: process.env.TMPDIR, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

async function stop(program: ChildProcess): Promise<void> {
  if (program.exitCode !== null) return
  const ended = once(program, 'exit')
  program.kill()
  await ended
}

/** Resolves when a program has printed a text. Fails with its output if it exits before. */
async function printed(program: ChildProcess, text: string): Promise<void> {
  let printed = ''
  await new Promise<void>((resolve, reject) => {
    for (const stream of [program.stdout, program.stderr])
      stream?.on('data', (chunk: Buffer) => {
        printed += chunk.toString()
        if (printed.includes(text)) resolve()
      })
    program.once('exit', () => reject(new Error(`it ended:\n${printed}`)))
  })
}
