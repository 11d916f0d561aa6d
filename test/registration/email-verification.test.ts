/** @slow takes about 30 seconds */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import type { MailMessage } from '../../lib/mail/mail.ts'
import { provableEmail, readCode } from '../../lib/registration/email-verification.ts'
import type { User, UserDirectory } from '../../lib/users/user-directory.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { takeClock, takeTimers } from '../support/clock.ts'
import { everyDatabase, type FreshDatabase } from '../support/databases.ts'
import type { Person } from '../support/faulty-provider.ts'
import { type MailServer, startMailServer } from '../support/mail-server.ts'
import { startPortal, type TestPortal, type TestPortalOptions, testSecret } from '../support/portal.ts'
import { copyProvider } from '../support/providers.ts'
import { ada, useProvider } from '../support/scene.ts'
import { signal } from '../support/signal.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

/** A user of the provider with an unverified address. */
const claimed = (sub: string, email?: string): Person => ({
  sub,
  name: 'Mallory',
  email_verified: false,
  ...(email !== undefined && { email }),
})
const deepLink = '/portal/reports?year=2026'

const provider = await useProvider()
const usual = await useProvider({ clientId: 'usual' })
let mailServer: MailServer
let portal: TestPortal
let visitor: Visitor
const opened: TestPortal[] = []
const connected: Knex[] = []

beforeAll(async () => {
  mailServer = await startMailServer()
})
afterAll(() => mailServer.close())
beforeEach(() => {
  mailServer.reset()
  provider.person = claimed('mallory', ada.email)
  visitor = new Visitor()
})
afterEach(closeAll)

async function closeAll(): Promise<void> {
  await Promise.all(opened.splice(0).map((each) => each.close()))
  await Promise.all(connected.splice(0).map((each) => each.destroy()))
}

function connect(config: Knex.Config): Knex {
  const knex = knexModule(config)
  connected.push(knex)
  return knex
}

/** Starts a portal with a mailer, the user Ada of the provider `usual`, and a provider without verified addresses. */
async function open(options: TestPortalOptions = {}): Promise<TestPortal> {
  portal = await startInstance(options)
  await portal.connect(provider)
  await portal.connect(usual, { slug: 'usual', displayName: 'Usual' })
  await portal.sso.users.create(ada)
  return portal
}

async function startInstance(options: TestPortalOptions = {}): Promise<TestPortal> {
  const started = await startPortal({
    mailer: mailServer.transport,
    mailFrom: 'Portal <no-reply@portal.example>',
    ...options,
  })
  opened.push(started)
  return started
}

const start = (who = visitor, returnTo = deepLink) =>
  who.open(`${portal.url}/login/acme?returnTo=${encodeURIComponent(returnTo)}`)
const send = (email: string, who = visitor) => who.post(`${portal.url}/register/code`, { email })
const enter = (code: string, who = visitor) => who.post(`${portal.url}/register/verify`, { code })
const isSignedIn = async (who = visitor) => (await who.get(`${portal.url}/portal`)).status === 200
const links = () => portal.knex('sso_identities').select('user_id', 'subject')
const users = async (): Promise<string[]> =>
  (await portal.knex('sso_users').orderBy('email')).map(({ email }) => email)
const events = async (): Promise<string[]> =>
  (await portal.knex('sso_events').orderBy('at')).map(({ kind }) => kind)

/** Starts a sign-in, up to the page that asks for the code. */
async function toCode(email = ada.email, who = visitor): Promise<Seen> {
  await start(who)
  return await who.follow(await send(email, who))
}

/** The same browser, sending its requests to another instance of the portal. */
function at(instance: TestPortal): Visitor {
  const twin = visitor.clone()
  twin.cookies.set(instance.url, new Map(visitor.cookies.get(portal.url)))
  return twin
}

/** Asks for a code after the wait for another mail to the same address. */
async function sendLater(email: string, who = visitor): Promise<Seen> {
  const clock = takeClock()
  try {
    clock.pass(31_000)
    return await send(email, who)
  } finally {
    clock.back()
  }
}

/** Another code of the valid format. */
const wrong = (code: string) => (code.startsWith('2') ? '3' : '2') + code.slice(1)

describe('a user whose address is not trusted', () => {
  it('verifies it with a code, which links and signs in the existing user in one response', async () => {
    await open()
    const asked = await start()
    expect(asked).toMatchObject({ status: 200, url: `${portal.url}/register` })
    expect(asked.body).toContain('value="ada@example.com"')
    expect(mailServer.codes).toHaveLength(0)
    const page = await visitor.follow(await send(ada.email))
    expect(page).toMatchObject({ status: 200, url: `${portal.url}/register` })
    expect(page.body).toContain('autocomplete="one-time-code"')
    const entered = await enter(mailServer.codeTo(ada.email))
    expect(entered).toMatchObject({ status: 303, location: portal.url + deepLink })
    expect(await isSignedIn()).toBe(true)
    expect(await links()).toMatchObject([{ subject: 'mallory' }])
    expect(visitor.cookieNames(portal.url)).not.toContain('sso-registration')
    expect((await start(new Visitor())).url).toBe(portal.url + deepLink)
    expect((await events()).filter((kind) => !kind.startsWith('provider'))).toEqual([
      'email-code-sent',
      'email-verified',
      'linked',
      'signed-in',
      'signed-in',
    ])
  })

  it.each([
    ['unverified', claimed('grace', 'Grace@Example.com')],
    ['absent', claimed('grace')],
    ['not an address', { ...claimed('grace', 'grace at example'), email_verified: true }],
    ['no address of a mail server', { ...claimed('grace', 'root@localhost'), email_verified: true }],
  ])('registers with the proven one, where the claim is %s', async (_what, person) => {
    await open()
    provider.person = person
    await toCode('Grace@Example.COM')
    const form = await visitor.follow(await enter(mailServer.codeTo('grace@example.com')))
    expect(form).toMatchObject({ status: 200, url: `${portal.url}/register` })
    expect(form.body.replace('<wbr>', '')).toContain('grace@example.com')
    expect(form.body).toContain('Confirmed by code')
    expect(form.body).not.toContain('name="email"')
    expect(await isSignedIn()).toBe(false)
    const done = await visitor.post(`${portal.url}/register`, { name: 'Grace', email: 'ceo@example.com' })
    expect(done.location).toBe(portal.url + deepLink)
    expect(await users()).toEqual([ada.email, 'grace@example.com'])
    expect(await isSignedIn()).toBe(true)
  })

  it.each([
    ['in small letters', (code: string) => code.toLowerCase()],
    ['without the dash', (code: string) => code.replace('-', '')],
    ['with spaces', (code: string) => ` ${[...code.replace('-', '')].join(' ')}\u00a0`],
    ['with another dash', (code: string) => code.replace('-', ' – ')],
  ])('may enter the code %s', async (_how, spelled) => {
    await open()
    await toCode()
    expect((await enter(spelled(mailServer.codeTo(ada.email)))).location).toBe(portal.url + deepLink)
  })

  it('loses no try by entering text that cannot be a code', async () => {
    await open()
    await toCode()
    for (const typed of ['', '1234', 'O0O0-I1I1', '<b>"x"</b>', 'ſſſſſſſſ', 'x'.repeat(200)]) {
      const back = await enter(typed)
      expect(back.status).toBe(422)
      expect(back.body).toContain('aria-invalid="true"')
      expect(back.body).not.toContain('<b>"x"')
    }
    expect((await enter(mailServer.codeTo(ada.email))).status).toBe(303)
  })

  it('gets a text and an HTML mail in their language that name portal and provider, without a link', async () => {
    await open({ branding: { name: 'Gerätehaus' } })
    const german = new Visitor({ 'accept-language': 'de' })
    await toCode(ada.email, german)
    const [mail] = mailServer.codes
    const code = mailServer.codeTo(ada.email)
    expect(mail!.recipients).toEqual([ada.email])
    expect(mail!.headers).toEqual(
      expect.arrayContaining([
        ['subject', 'Ihr Code für Gerätehaus'],
        ['to', ada.email],
        ['from', 'Portal <no-reply@portal.example>'],
      ]),
    )
    for (const body of [mail!.text, mail!.html]) {
      expect(body).toContain(code)
      expect(body).toContain('Gerätehaus')
      expect(body).toContain('Acme')
      expect(body).toContain('10 Minuten')
      expect(body).not.toMatch(/https?:|href|www\./)
    }
    expect(mail!.html).toContain('<html lang="de"')
  })

  it('gets mail from a mailer that is a function', async () => {
    const sent: { to: string; text: string }[] = []
    await open({
      mailer: async (mail) => {
        sent.push(mail)
      },
    })
    await toCode()
    expect(sent).toMatchObject([{ to: ada.email }])
  })

  it("gets the host's own text if it has a template of the same name", async () => {
    const viewsDir = mkdtempSync(path.join(tmpdir(), 'portal-sso-views-'))
    mkdirSync(path.join(viewsDir, 'mail'))
    writeFileSync(path.join(viewsDir, 'mail/code.txt.ejs'), 'Moin! <%= code %> for <%= provider %> & co')
    try {
      await open({ viewsDir })
      await toCode()
      const [mail] = mailServer.codes
      expect(mail!.text.trim()).toBe(`Moin! ${mailServer.codeTo(ada.email)} for Acme & co`)
      expect(mail!.html).toContain('Your code')
    } finally {
      rmSync(viewsDir, { recursive: true })
    }
  })

  it('can enter another address, request a new code, and cancel', async () => {
    await open()
    const page = await toCode('adda@example.com')
    expect(page.body).toContain('href="/register?address=other"')
    const back = await visitor.get(`${portal.url}/register?address=other`)
    expect(back.body).toContain('value="adda@example.com"')
    const again = await visitor.follow(await send(ada.email))
    expect(again.body).toContain('We sent you a new code.')
    const [, cancel] = /href="([^"]*cancelled[^"]*)"/.exec(again.body)!
    await visitor.get(portal.url + cancel!.replaceAll('&amp;', '&'))
    expect((await visitor.get(`${portal.url}/register`)).status).toBe(400)
  })

  it('sees how long to wait for another mail; until then a request sends none, and the code stays valid', async () => {
    await open()
    const page = await toCode()
    expect(page.body).toMatch(
      /data-wait="(?:30|2\d)" data-template="You can request a new code in \{time\}\."/,
    )
    const [, resend = ''] = /<form class="sso-again"([\s\S]*?)<\/form>/.exec(page.body)!
    expect(resend).toContain('value="ada@example.com"')
    const soon = await visitor.follow(await send(ada.email))
    expect(soon.body).not.toContain('We sent you a new code.')
    expect(mailServer.codes).toHaveLength(1)
    const later = await visitor.follow(await sendLater(ada.email))
    expect(later.body).toContain('We sent you a new code.')
    expect(mailServer.codes).toHaveLength(2)
    expect((await enter(mailServer.codeTo(ada.email))).status).toBe(303)
  })

  it('need not wait for another mail to a corrected address of the same mailbox', async () => {
    await open()
    await toCode('ad.a@example.com')
    await send(ada.email)
    expect(mailServer.codes.flatMap(({ recipients }) => recipients)).toEqual(['ad.a@example.com', ada.email])
  })

  it('need not wait for another mail after too many wrong codes', async () => {
    await open()
    await toCode()
    for (let attempt = 0; attempt < 5; attempt++) await enter(wrong(mailServer.codeTo(ada.email)))
    expect((await visitor.get(`${portal.url}/register`)).body).not.toContain('data-wait')
    await send(ada.email)
    expect((await enter(mailServer.codeTo(ada.email))).status).toBe(303)
  })

  it('finds a list of the other sign-in methods where there are more than four', async () => {
    await open()
    expect((await start()).body).toContain('>Sign in with Usual</a>')
    await copyProvider(portal.knex, 'usual', 60)
    const page = await start()
    expect(page.body).not.toContain('>Sign in with Usual</a>')
    expect(page.body).toContain('href="/register/sign-in">Sign in another way</a>')
    const list = await visitor.get(`${portal.url}/register/sign-in?q=company+59`)
    const [, way = ''] = /href="([^"]*)" aria-label="Sign in with Company 59"/.exec(list.body)!
    expect(way).toContain('proving=1')
    expect((await new Visitor().get(`${portal.url}/register/sign-in`)).status).toBe(400)
  })

  it('sees the form again with the input if the address is invalid', async () => {
    await open()
    await start()
    const back = await send('ada at "example"')
    expect(back.status).toBe(422)
    expect(back.body).toContain('value="ada at &#34;example&#34;"')
    expect(back.body).toContain('aria-invalid="true"')
    // The back button and a reload show it, too.
    expect((await visitor.get(`${portal.url}/register`)).body).toContain('value="ada at &#34;example&#34;"')
  })

  it('can use a code after the portal’s secret was rotated', async () => {
    const knex = connect(sqliteConfig(':memory:'))
    await open({ database: knex })
    await toCode()
    const rotated = await startInstance({
      database: knex,
      baseUrl: portal.url,
      secret: [`a-newer-${testSecret}`, testSecret],
    })
    const entered = await at(rotated).post(
      `${rotated.url}/register/verify`,
      { code: mailServer.codeTo(ada.email) },
      { origin: portal.url },
    )
    expect(entered.location).toBe(rotated.url + deepLink)
  })

  it('learns that registration is closed after the verification, not before', async () => {
    await open({ registration: 'closed' })
    const known = await toCode()
    const newcomer = new Visitor()
    const unknown = await toCode('grace@example.com', newcomer)
    expect(shape(unknown)).toEqual(shape(known))
    const refused = await enter(mailServer.codeTo('grace@example.com'), newcomer)
    expect(refused.status).toBe(403)
    expect(portal.logs.at(-1)!.fields.code).toBe('registration_closed')
    expect((await enter(mailServer.codeTo(ada.email))).location).toBe(portal.url + deepLink)
  })

  it("is passed to the host's registration function with the verified address, not with the claimed one", async () => {
    const asked: unknown[] = []
    await open({
      registration: ({ email, emailTrusted }) => {
        asked.push({ email, emailTrusted })
        return email!.endsWith('@partner.example')
      },
    })
    provider.person = claimed('mallory', 'boss@partner.example')
    await toCode('mallory@evil.example')
    expect((await enter(mailServer.codeTo('mallory@evil.example'))).status).toBe(403)
    expect(asked).toEqual([{ email: 'mallory@evil.example', emailTrusted: false }])
  })
})

/** A response without the parts that differ between users: the address and the entered code. */
function shape({ status, headers, body }: Seen): object {
  const personal = ['date', 'etag', 'content-length', 'set-cookie']
  const cookies = headers
    .getSetCookie()
    .map((line) => line.replace(/=[^;]+;/, '=…;').replace(/Expires=[^;]+/, ''))
  return {
    status,
    headers: [...headers].filter(([name]) => !personal.includes(name)),
    cookies,
    body: body
      .replace(/\w+(<wbr>)?@example\.com/g, 'address')
      .replace(/value="[2-9A-Z]{4}-[2-9A-Z]{4}"/, 'value="code"')
      .replace(/data-draft="[\w-]+"/, '')
      .replace(/data-wait="\d+"|\b0:\d\d\b/g, 'wait'),
  }
}

describe('an attacker who tries to find out who has an account', () => {
  /** A directory that records the queries. */
  function watched(knex: Knex, asked: string[]): UserDirectory {
    const table = new UsersTable({ knex })
    return {
      findById: (id, at) => table.findById(id, at),
      findByEmail: (email, at) => {
        asked.push(email)
        return table.findByEmail(email, at)
      },
      create: (registration, at) => table.create(registration, at),
    }
  }

  it('sees the same pages and mails for the address of an active, an inactive and no user, and causes no query for it', async () => {
    const knex = connect(sqliteConfig(':memory:'))
    const asked: string[] = []
    await open({ database: knex, users: watched(knex, asked) })
    await new UsersTable({ knex }).create({ ...ada, email: 'ivy@example.com' }, 'default')
    await knex('sso_users').where({ email: 'ivy@example.com' }).update({ active: false })
    const seen = new Map<string, object[]>()
    for (const name of ['ada', 'nobody', 'ivy']) {
      const email = `${name}@example.com`
      const person = new Visitor()
      provider.person = claimed('mallory', email)
      const pages = [
        await start(person),
        await send(email, person),
        await person.get(`${portal.url}/register`),
      ]
      const code = mailServer.codeTo(email)
      for (const entered of ['x', wrong(code), wrong(code)]) pages.push(await enter(entered, person))
      pages.push(await sendLater(email, person), await person.get(`${portal.url}/register?sent=again`))
      const mails = mailServer.mails.splice(0).map(({ headers, text, html }) => ({
        headers: headers.map(([header]) => header),
        subject: headers.find(([header]) => header === 'subject'),
        bodies: [text, html].map((body) => body.replace(/[2-9A-Z]{4}-[2-9A-Z]{4}/, 'code')),
      }))
      seen.set(name, [...pages.map(shape), ...mails])
    }
    expect(seen.get('ada')).toHaveLength(10)
    expect(seen.get('nobody')).toEqual(seen.get('ada'))
    expect(seen.get('ivy')).toEqual(seen.get('ada'))
    expect(asked).toEqual([])
  })

  it('sees the same error if no mail can be sent', async () => {
    await open({ mailer: undefined })
    const known = await start()
    provider.person = claimed('mallory', 'nobody@example.com')
    const unknown = await start(new Visitor())
    expect(known.status).toBe(403)
    const plain = ({ body }: Seen) =>
      body
        // The sign-out at the provider has a state, and a hint with the claims that the visitor sent.
        .replace(/&amp;state=[\w-]+&amp;id_token_hint=[\w.-]+/g, '&amp;sign-out')
        .replace(/[2-9A-Z]{8}/g, 'reference')
        .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z|[\d:]+.[AP]M UTC/g, 'time')
    expect(plain(unknown)).toBe(plain(known))
    for (const path of ['/register/code', '/register/verify'])
      expect((await visitor.post(portal.url + path, { email: ada.email })).status).toBe(404)
  })

  it('learns that a user is inactive only with access to the address', async () => {
    await open()
    await portal.knex('sso_users').update({ active: false })
    await toCode()
    const refused = await enter(mailServer.codeTo(ada.email))
    expect(refused.status).toBe(403)
    expect(portal.logs.at(-1)!.fields.code).toBe('user_inactive')
    expect(await links()).toEqual([])
  })
})

describe('an attacker who claims another person’s address (nOAuth)', () => {
  it('cannot continue without the code, which is mailed to the owner', async () => {
    await open()
    await toCode()
    expect(mailServer.codes.map(({ recipients }) => recipients)).toEqual([[ada.email]])
    for (const path of ['/portal', '/register/link'])
      expect((await visitor.get(portal.url + path)).location).toMatch(/\/(login|register)\b/)
    expect((await visitor.post(`${portal.url}/register`, { name: 'Ada' })).location).toBe(
      `${portal.url}/register`,
    )
    expect(await isSignedIn()).toBe(false)
    expect(await links()).toEqual([])
    expect(await users()).toEqual([ada.email])
  })

  it('cannot register it before its owner (pre-hijacking), who can register later', async () => {
    await open()
    provider.person = claimed('mallory', 'grace@example.com')
    await toCode('grace@example.com')
    await visitor.post(`${portal.url}/register`, { name: 'Grace', email: 'grace@example.com' })
    expect(await users()).toEqual([ada.email])
    usual.person = { sub: 'grace', email: 'grace@example.com', email_verified: true, name: 'Grace Hopper' }
    const grace = new Visitor()
    await grace.open(`${portal.url}/login/usual`)
    await grace.post(`${portal.url}/register`, { name: 'Grace Hopper' })
    expect(await isSignedIn(grace)).toBe(true)
    expect(await links()).toMatchObject([{ subject: 'grace' }])
    // The attacker's cookie is useless afterwards, too.
    await visitor.post(`${portal.url}/register`, { name: 'Grace' })
    expect(await isSignedIn()).toBe(false)
  })

  it('cannot enter it after a code for another address was sent', async () => {
    await open()
    await toCode('mallory@evil.example')
    const own = visitor.clone()
    const code = mailServer.codeTo('mallory@evil.example')
    await send(ada.email)
    expect((await enter(code)).status).toBe(422)
    // An earlier cookie does not help either, because the later code has replaced the earlier one.
    expect((await enter(code, own)).status).toBe(422)
    const forged = await visitor.post(`${portal.url}/register/verify`, {
      code,
      email: ada.email,
      proven: ada.email,
    })
    expect(forged.status).toBe(422)
    expect(await links()).toEqual([])
  })

  it('cannot use a code that was sent to the same address for another registration', async () => {
    await open()
    await toCode()
    const owner = new Visitor()
    provider.person = claimed('ada-at-acme', ada.email)
    await toCode(ada.email, owner)
    const code = mailServer.codeTo(ada.email)
    expect((await enter(code)).status).toBe(422)
    expect((await enter(code, owner)).location).toBe(portal.url + deepLink)
    expect(await links()).toMatchObject([{ subject: 'ada-at-acme' }])
  })

  it('gains nothing from a cookie from before the verification and a used code', async () => {
    await open()
    await toCode()
    const thief = visitor.clone()
    const code = mailServer.codeTo(ada.email)
    await enter(code)
    await visitor.post(`${portal.url}/logout`)
    expect((await enter(code, thief)).status).toBe(422)
    expect((await enter(code)).status).toBe(400)
    expect(await isSignedIn(thief)).toBe(false)
  })

  it('gains nothing from a cookie from after the verification, once the owner has registered', async () => {
    await open()
    provider.person = claimed('grace', 'grace@example.com')
    await toCode('grace@example.com')
    await enter(mailServer.codeTo('grace@example.com'))
    const thief = visitor.clone()
    await visitor.post(`${portal.url}/register`, { name: 'Grace' })
    const seen = await thief.post(`${portal.url}/register`, { name: 'Grace' })
    expect(next(seen)).toContain('/login/acme?returnTo=')
    expect(await isSignedIn(thief)).toBe(false)
  })

  it('is not signed in as a user who has registered the verified address in the meantime', async () => {
    await open()
    provider.person = claimed('mallory', 'shared@example.com')
    await toCode('shared@example.com')
    await enter(mailServer.codeTo('shared@example.com'))
    await portal.sso.users.create({ ...ada, email: 'shared@example.com' })
    const seen = await visitor.post(`${portal.url}/register`, { name: 'Mallory' })
    expect(next(seen)).toContain('/login/acme')
    expect((await visitor.follow(seen)).body).toContain('name="email"')
    expect(await isSignedIn()).toBe(false)
    expect(await links()).toEqual([])
  })

  it('is not signed in as a user to whom the identity was linked in the meantime', async () => {
    await open()
    await toCode()
    const earlier = visitor.clone()
    await enter(mailServer.codeTo(ada.email))
    await send('mallory@evil.example', earlier)
    const seen = await enter(mailServer.codeTo('mallory@evil.example'), earlier)
    expect(next(seen)).toContain('/login/acme?returnTo=')
    expect(await isSignedIn(earlier)).toBe(false)
  })

  it('cannot use a proven address after half an hour, when the registration starts again', async () => {
    await open()
    provider.person = claimed('grace', 'grace@example.com')
    await toCode('grace@example.com')
    await enter(mailServer.codeTo('grace@example.com'))
    const clock = takeClock()
    clock.pass(31 * 60_000)
    try {
      const again = await visitor.follow(await visitor.post(`${portal.url}/register`, { name: 'Grace H.' }))
      expect(again.url).toBe(`${portal.url}/register`)
      expect(again.body).toContain('name="email"')
      expect(again.body).toContain('value="grace@example.com"')
      expect(await users()).toEqual([ada.email])
      await send('grace@example.com')
      const form = await visitor.follow(await enter(mailServer.codeTo('grace@example.com')))
      expect(form.body).toContain('value="Grace H."')
    } finally {
      clock.back()
    }
  })

  it('cannot use an expired code', async () => {
    await open()
    await toCode()
    const moments = await portal.knex('sso_email_verifications').first()
    expect(Date.parse(moments.expires_at) - Date.parse(moments.sent_at)).toBe(600_000)
    await portal
      .knex('sso_email_verifications')
      .update({ expires_at: new Date(Date.now() - 1).toISOString() })
    expect((await enter(mailServer.codeTo(ada.email))).status).toBe(422)
    expect(await links()).toEqual([])
  })
})

describe('look-alike addresses', () => {
  it.each([
    ['a CYRILLIC A', '\u0430da@example.com', '\u0430da@example.com'],
    ['a DOTLESS I', 'k\u0131m@example.com', 'k\u0131m@example.com'],
    ['a domain of other letters', 'ada@ex\u0430mple.com', 'ada@xn--exmple-4nf.com'],
    ['a domain with a DOTLESS I', 'kim@k\u0131m.example', 'kim@xn--km-hpa.example'],
  ])('with %s get a mail at their own address and never the account', async (_what, typed, address) => {
    await open()
    await portal.sso.users.create({ ...ada, email: 'kim@example.com' })
    await toCode(typed)
    expect(mailServer.codes.map(({ recipients }) => recipients)).toEqual([[address]])
    const seen = await visitor.follow(await enter(mailServer.codeTo(address)))
    expect(seen.url).toBe(`${portal.url}/register`)
    expect(await links()).toEqual([])
  })

  it.each([
    ['a KELVIN SIGN', '\u212aim@example.com'],
    ['FULLWIDTH letters', '\uff41da@example.com'],
    ['a FULLWIDTH AT SIGN', 'mallory\uff20evil.example@example.com'],
    ['an encoded word', '=?utf-8?q?mallory=40evil.example=3e=20?=@example.com'],
    ['a percent hack', 'mallory%evil.example@example.com'],
    ['a bang path', 'evil.example!mallory@example.com'],
    ['a quoted part', '"mallory@evil.example> "@example.com'],
    ['a group', 'x:mallory@evil.example,ada@example.com'],
    ['a name without a domain', 'root@localhost'],
    ['an IP address', 'x@10.0.0.1'],
    ['an option of a mail program', '-oQ/tmp@example.com'],
    ['a pipe', '|reboot@example.com'],
    ['a second address', 'ada@example.com,mallory@evil.example'],
    ['a display name', 'Ada <ada@example.com>'],
    ['a line break', 'mallory@evil.example\r\nBcc: ada@example.com'],
    ['a header', 'ada@example.com\nBcc: mallory@evil.example'],
  ])('with %s get no mail', async (_what, typed) => {
    await open()
    await start()
    expect((await send(typed)).status).toBe(422)
    expect(mailServer.codes).toHaveLength(0)
  })

  it('in capitals are the same address', async () => {
    await open()
    await toCode('ADA@EXAMPLE.COM')
    expect((await enter(mailServer.codeTo(ada.email))).location).toBe(portal.url + deepLink)
  })

  it('and codes are parsed by one rule each', () => {
    expect(provableEmail(' Ada@Example.com ')).toBe(ada.email)
    expect(provableEmail(['ada@example.com'])).toBeUndefined()
    expect(readCode('abcd-2345')).toBe('ABCD2345')
    expect(readCode(['ABCD2345'])).toBeUndefined()
    expect(readCode('\u0131bcd-2345')).toBeUndefined()
  })
})

describe.each(everyDatabase)('guessing codes and flooding mailboxes (%s)', (_name, fresh) => {
  let database: FreshDatabase
  let knex: Knex
  let second: TestPortal

  beforeEach(async () => {
    database = await fresh()
    knex = connect(database.config)
    await open({ database: knex })
    // A second instance of the same portal, with a separate connection.
    second = await startInstance({ database: knex, baseUrl: portal.url })
  })
  afterEach(async () => {
    await closeAll()
    await database.drop()
  })

  const guess = (code: string, n: number) => {
    const instance = n % 2 === 0 ? portal : second
    return at(instance).post(`${instance.url}/register/verify`, { code }, { origin: portal.url })
  }

  it('is limited to five tries; then even the right code is refused', async () => {
    await toCode()
    const code = mailServer.codeTo(ada.email)
    for (let n = 1; n <= 5; n++) {
      const seen = await enter(wrong(code))
      expect(seen.status).toBe(422)
      expect(seen.body).toContain(
        ['4 more tries', '3 more tries', '2 more tries', 'one more try', 'has expired'][n - 1],
      )
    }
    expect((await enter(code)).status).toBe(422)
    expect(await links()).toEqual([])
    expect((await events()).filter((kind) => kind === 'email-code-failed')).toHaveLength(6)
  })

  it('allows no sixth try, even in parallel on two instances', async () => {
    await toCode()
    const code = mailServer.codeTo(ada.email)
    const seen = await Promise.all(Array.from({ length: 20 }, (_, n) => guess(wrong(code), n)))
    expect(seen.map(({ status }) => status)).toEqual(seen.map(() => 422))
    expect(await knex('sso_email_verifications').select('attempts')).toEqual([{ attempts: 5 }])
    expect(seen.filter(({ body }) => body.includes('This code is incorrect'))).toHaveLength(4)
    expect((await enter(code)).status).toBe(422)
  })

  it('admits one browser if a code is entered ten times in parallel', async () => {
    await toCode()
    const code = mailServer.codeTo(ada.email)
    const seen = await Promise.all(Array.from({ length: 10 }, (_, n) => guess(code, n)))
    expect(seen.filter(({ status }) => status === 303)).toHaveLength(1)
    expect((await events()).filter((kind) => kind === 'email-verified')).toHaveLength(1)
  })

  it('is sent once after a double click, for the first request and for the one that the browser shows', async () => {
    await start()
    const twin = at(second)
    const twinSend = twin.post(`${second.url}/register/code`, { email: ada.email }, { origin: portal.url })
    const seen = await Promise.all([send(ada.email), twinSend])
    expect(seen).toMatchObject([{ status: 303 }, { status: 303 }])
    const late = at(second)
    await late.post(`${second.url}/register/code`, { email: ada.email }, { origin: portal.url })
    expect(mailServer.codes).toHaveLength(1)
    expect((await events()).filter((kind) => kind === 'email-code-sent')).toHaveLength(1)
    const entered = await twin.post(
      `${second.url}/register/verify`,
      { code: mailServer.codeTo(ada.email) },
      { origin: portal.url },
    )
    expect(entered.status).toBe(303)
  })

  it('replaces a code by the next one, and sends at most three for one registration, even to copies of its cookie', async () => {
    await toCode()
    const first = mailServer.codeTo(ada.email)
    const copy = visitor.clone()
    await sendLater(ada.email)
    expect((await enter(first)).status).toBe(422)
    await send('other@example.com', copy)
    for (const who of [visitor, copy, visitor]) {
      const refused = await send('third@example.com', who)
      expect(refused.status).toBe(429)
      expect(refused.body).toContain('We cannot send more codes')
      expect(refused.body).toContain('autocomplete="one-time-code"')
    }
    expect(mailServer.codes).toHaveLength(3)
    expect((await enter(mailServer.codeTo('other@example.com'), copy)).status).toBe(303)
  })

  it('sends at most five mails an hour to one address, even in parallel, without affecting other addresses', async () => {
    const browsers = Array.from({ length: 8 }, () => new Visitor())
    for (const each of browsers) await start(each)
    const sent = await Promise.all(browsers.map((each) => send(' ADA@example.com', each)))
    expect(mailServer.codes.length).toBeLessThanOrEqual(5)
    expect(sent.map(({ status }) => status)).toEqual(sent.map(({ status }) => (status === 303 ? 303 : 429)))
    // Parallel requests can refuse each other. After retries, exactly five mails were sent.
    for (const each of browsers) await send(ada.email, each)
    for (const each of browsers) await send(ada.email, each)
    expect(mailServer.codes).toHaveLength(5)
    const other = new Visitor()
    await start(other)
    expect((await send('grace@example.com', other)).status).toBe(303)

    const anHourAgo = new Date(Date.now() - 3_600_001).toISOString()
    await knex('sso_email_verifications').update({ sent_at: anHourAgo })
    const later = new Visitor()
    await start(later)
    expect((await send(ada.email, later)).status).toBe(303)
  })

  it('counts all spellings of a mailbox’s address together', async () => {
    const sent: number[] = []
    for (const email of ['ada+1@', 'ada+2@', 'a.da@', 'ad.a+x.y@', 'ADA@', 'ada+3@', 'a.d.a@']) {
      const browser = new Visitor()
      await start(browser)
      sent.push((await send(`${email}example.com`, browser)).status)
    }
    expect(sent).toEqual([303, 303, 303, 303, 303, 429, 429])
    expect(mailServer.codes).toHaveLength(5)
    const other = new Visitor()
    await start(other)
    expect((await send('adam@example.com', other)).status).toBe(303)
  })

  it('sends at most ten mails an hour for one identity, without affecting other identities', async () => {
    const sendFromNewBrowser = async (n: number) => {
      const browser = new Visitor()
      await start(browser)
      return (await send(`person-${n}@example.com`, browser)).status
    }
    const sent: number[] = []
    for (let n = 0; n < 12; n++) sent.push(await sendFromNewBrowser(n))
    expect(sent).toEqual([...Array(10).fill(303), 429, 429])
    expect(mailServer.codes).toHaveLength(10)
    provider.person = { ...provider.person, sub: 'somebody-else' }
    expect(await sendFromNewBrowser(12)).toBe(303)
  })

  it('stores neither codes nor addresses in clear text', async () => {
    await toCode('secretive@example.com')
    const code = mailServer.codeTo('secretive@example.com')
    const rows = JSON.stringify(await knex('sso_email_verifications')).toUpperCase()
    for (const text of [code, code.replace('-', ''), 'SECRETIVE']) expect(rows).not.toContain(text)
  })
})

describe('an attacker who tries to send mail to a victim', () => {
  it('cannot cause it with a link, an image, or a post from another site', async () => {
    await open()
    await start()
    for (const path of [
      '/register',
      '/register/code',
      '/register/code?email=ada@example.com',
      '/register/verify',
    ])
      await visitor.get(portal.url + path)
    const crossSite = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
    expect((await visitor.post(`${portal.url}/register/code`, { email: ada.email }, crossSite)).status).toBe(
      403,
    )
    expect(mailServer.codes).toHaveLength(0)
    expect((await new Visitor().post(`${portal.url}/register/code`, { email: ada.email })).status).toBe(400)
  })

  it('cannot write in it: it does not contain the attacker’s name, and a provider’s name cannot add a header', async () => {
    await open({ branding: { name: 'Portal' } })
    await portal
      .knex('sso_providers')
      .where({ slug: 'acme' })
      .update({ display_name: 'Acme\r\nBcc: eve@evil.example\r\n\r\n<b>Hi</b>' })
    provider.person = { ...claimed('mallory', ada.email), name: 'Win a prize at evil.example' }
    await toCode()
    const [mail] = mailServer.codes
    expect(mail!.recipients).toEqual([ada.email])
    expect(mail!.headers.map(([name]) => name)).not.toContain('bcc')
    expect(mail!.text + mail!.html).not.toContain('prize')
    expect(mail!.html).toContain('&lt;b&gt;Hi&lt;/b&gt;')
    expect(mail!.html).not.toContain('<b>Hi')
    expect(mail!.text).toContain('<b>Hi</b>')
    expect(mail!.text).not.toMatch(/^Bcc/m)
  })

  it('cannot add a header with the name of the portal or the sender, with any mailer', async () => {
    const handed: MailMessage[] = []
    const mailer = async (mail: MailMessage) => {
      handed.push(mail)
      await mailServer.transport.sendMail(mail)
    }
    await open({
      mailer,
      branding: { name: 'Portal\r\nBcc: eve@evil.example' },
      mailFrom: 'Portal <no-reply@portal.example>\r\nBcc: eve@evil.example',
    })
    await toCode()
    const [mail] = mailServer.codes
    expect(mail!.recipients).toEqual([ada.email])
    expect(mail!.headers.map(([name]) => name)).not.toContain('bcc')
    for (const header of [handed[0]!.from, handed[0]!.to, handed[0]!.subject])
      expect(header).toMatch(/^\P{Cc}+$/u)
  })
})

describe('a mail that cannot be sent', () => {
  it('is reported to the user and the operator without the code, even if the server quotes the whole mail', async () => {
    await open()
    await start()
    mailServer.faults.refuse = true
    const quoting = mailServer.transport.sendMail({ to: ada.email, text: 'ABCD-2345' })
    await expect(quoting).rejects.toThrow('ABCD-2345')
    const seen = await send(ada.email)
    expect(seen.status).toBe(502)
    expect(seen.body).toContain('could not send')
    expect(seen.body).toContain('value="ada@example.com"')
    const line = portal.logs.findLast(({ level }) => level === 'error')!
    expect(line.message).toBe('no code was sent')
    expect(line.fields.cause).toMatch(/the mail could not be sent: ./)
    const written = JSON.stringify([portal.logs, await portal.knex('sso_events')])
    expect(written).not.toMatch(/(?<![\w-])[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}\b/)
    delete mailServer.faults.refuse
    expect((await send(ada.email)).status).toBe(303)
    expect((await enter(mailServer.codeTo(ada.email))).status).toBe(303)
  })

  it.each([
    ['spelled as in the mail', (code: string) => `refused: ${code}`],
    [
      'in small letters without the dash',
      (code: string) => `refused: ${code.replace('-', '').toLowerCase()}`,
    ],
    ['broken by line breaks', (code: string) => `refused:\n${code.replace('-', '=\n')}`],
    ['encoded', (code: string) => `refused: ${Buffer.from(`${'x'.repeat(40)}${code}`).toString('base64')}`],
  ])('leaves no code in the log that a mailer quotes %s', async (_how, quote) => {
    let code = ''
    await open({
      mailer: async ({ text }) => {
        code = /[2-9A-Z]{4}-[2-9A-Z]{4}/.exec(text)![0]
        throw new Error(quote(code))
      },
    })
    await start()
    expect((await send(ada.email)).status).toBe(502)
    const written = JSON.stringify([portal.logs, await portal.knex('sso_events')])
    expect(written).toContain('the mail could not be sent')
    expect(written.toUpperCase()).not.toContain(code)
    expect(written.toUpperCase()).not.toContain(code.replace('-', ''))
    expect(written).not.toContain(
      Buffer.from(`${'x'.repeat(40)}${code}`)
        .toString('base64')
        .slice(40, 64),
    )
  })

  it('is abandoned after ten seconds if the server does not respond', async () => {
    const asked = signal()
    await open({
      mailer(mail) {
        asked.give()
        return mailServer.transport.sendMail(mail)
      },
    })
    await start()
    mailServer.faults.hang = true
    const timers = takeTimers()
    try {
      let responses = 0
      const sent = send(ada.email).finally(() => responses++)
      await asked.given
      timers.pass(9_999)
      expect((await new Visitor().get(`${portal.url}/login`)).status).toBe(200)
      expect(responses).toBe(0)
      timers.pass(1)
      expect((await sent).status).toBe(502)
    } finally {
      timers.back()
    }
    expect(portal.logs.findLast(({ level }) => level === 'error')!.fields.cause).toContain(
      'no response within',
    )
  })

  it('causes the same error if the mailer throws synchronously', async () => {
    await open({
      mailer: () => {
        throw new TypeError('no connection')
      },
    })
    await start()
    expect((await send(ada.email)).status).toBe(502)
  })

  it('counts against the limits, because it may arrive', async () => {
    await open()
    await start()
    mailServer.faults.refuse = true
    for (const status of [502, 502, 502, 429]) expect((await send(ada.email)).status).toBe(status)
  })
})

describe('the steps of an email verification', () => {
  it('show markup in names and claims as text', async () => {
    const markup = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    await open()
    await portal.sso.providers.update('acme', { displayName: markup })
    await portal.sso.providers.update('usual', { displayName: markup })
    provider.person = { ...claimed('mallory', `"><script>alert(1)</script>@example.com`), name: markup }
    const pages = [
      await start(),
      await send('"><script>alert(1)</script>@x'),
      await toCode("o'hara&co@example.com"),
      await enter('"><script>alert(1)</script>'),
    ]
    await visitor.open(`${portal.url}/login/usual?proving=1`)
    pages.push(await visitor.get(`${portal.url}/register/link`))
    for (const { body } of pages) {
      expect(body).toContain('&lt;script&gt;')
      expect(body).not.toContain('<script>alert')
      expect(body).not.toContain('<img src=x')
    }
    expect(mailServer.codes[0]!.html).not.toContain('<script')
  })

  it.each([
    ['disabled', () => portal.sso.providers.disable('acme')],
    ['changed', () => portal.sso.providers.update('acme', { displayName: 'Acme AG' })],
    [
      'replaced',
      async () => {
        await portal.sso.providers.remove('acme')
        await portal.connect(provider)
      },
    ],
  ])('are refused if the provider was %s in the meantime', async (_how, change) => {
    await open()
    await toCode()
    const code = mailServer.codeTo(ada.email)
    await change()
    for (const seen of [
      await send(ada.email),
      await enter(code),
      await visitor.get(`${portal.url}/register`),
    ])
      expect(seen.status).toBe(409)
    expect(mailServer.codes).toHaveLength(1)
    expect(await links()).toEqual([])
  })

  it('are valid for one portal', async () => {
    await open({ portal: (req) => req.get('x-portal') ?? 'default' })
    await portal.connect(provider, { portal: 'south' })
    await portal.sso.users.create(ada, { portal: 'south' })
    await toCode()
    const code = mailServer.codeTo(ada.email)
    const south = { 'x-portal': 'south' }
    const seen = [
      await visitor.post(`${portal.url}/register/verify`, { code }, south),
      await visitor.post(`${portal.url}/register/code`, { email: ada.email }, south),
      await visitor.get(`${portal.url}/register`, south),
    ]
    expect(seen.map(({ status }) => status)).toEqual([400, 400, 400])
    expect(mailServer.codes).toHaveLength(1)
    expect((await enter(code)).status).toBe(303)
  })

  it('are refused from another site (CSRF), even with cookies', async () => {
    await open()
    await toCode()
    const crossSite = { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }
    const code = mailServer.codeTo(ada.email)
    const post = (path: string, form: Record<string, string>) =>
      visitor.post(portal.url + path, form, crossSite)
    expect((await post('/register/verify', { code })).status).toBe(403)
    await proveByUsual()
    expect((await post('/register/link', { answer: 'link' })).status).toBe(403)
    expect((await links()).map(({ subject }) => subject)).toEqual(['ada'])
  })

  it('fit into a cookie, even with all values at their maximum length', async () => {
    await open()
    provider.person = {
      sub: 's'.repeat(255),
      email: `${'e'.repeat(60)}@${'d'.repeat(60)}.example`,
      name: '名'.repeat(200),
    }
    await start(visitor, `/${'p'.repeat(1400)}`)
    await send(`${'f'.repeat(60)}@${'d'.repeat(60)}.${'d'.repeat(60)}.example`)
    const cookie = visitor.cookies.get(portal.url)!.get('sso-registration')!
    expect(cookie.length).toBeLessThan(4000)
    expect((await visitor.get(`${portal.url}/register`)).body).toContain('one-time-code')
  })

  it('write no code and no verification ID to a page, a log or an event', async () => {
    await open()
    const page = await toCode()
    const code = mailServer.codeTo(ada.email)
    const failed = await enter(wrong(code))
    await enter(code)
    const { id } = await portal.knex('sso_email_verifications').first()
    const written = JSON.stringify([portal.logs, await portal.knex('sso_events'), page.body, failed.body])
    for (const secret of [code, code.replace('-', ''), id]) expect(written).not.toContain(secret)
  })
})

/** Ada signs in with her linked method, from the page that asks for the code. */
async function proveByUsual(who = visitor): Promise<Seen> {
  return await who.open(`${portal.url}/login/usual?returnTo=${encodeURIComponent('/portal/usual')}&proving=1`)
}

describe('signing in with a linked method, instead of entering a code,', () => {
  const answer = (value: string, who = visitor) => who.post(`${portal.url}/register/link`, { answer: value })
  const subjects = async () => (await links()).map(({ subject }) => subject).sort()

  it('is offered to every user, and links after a confirmation', async () => {
    await open()
    const page = await start()
    const [, way] = /href="([^"]*login\/usual[^"]*)"/.exec(page.body)!
    const asked = await visitor.open(portal.url + way!.replaceAll('&amp;', '&'))
    expect(asked).toMatchObject({ status: 200, url: `${portal.url}/register/link` })
    expect(asked.body).toContain('Ada Lovelace (ada@example.com)')
    expect(asked.body).toContain('Mallory')
    expect(asked.body).toContain('ada@example.com (not confirmed)')
    expect(await isSignedIn()).toBe(true)
    expect(await subjects()).toEqual(['ada'])
    expect((await answer('link')).location).toBe(portal.url + deepLink)
    expect(await subjects()).toEqual(['ada', 'mallory'])
    expect((await start(new Visitor())).url).toBe(portal.url + deepLink)
    expect(mailServer.codes).toHaveLength(0)
    expect((await events()).filter((kind) => kind === 'linked')).toHaveLength(2)
  })

  it('names the account on every page before, so that nobody confirms it for another user of the machine', async () => {
    await open()
    const pages = [await start(), await toCode(), await enter('x')]
    for (const { body } of pages) {
      expect(body).toContain('Account at Acme')
      expect(body).toContain('<bdi>Mallory</bdi>')
    }
    provider.person = claimed('nameless', ada.email)
    delete provider.person.name
    expect((await start(new Visitor())).body).toContain('<bdi>nameless</bdi>')
  })

  it.each(['later', '', 'LINK', 'yes'])(
    'links nothing if the form contains %j, and deletes the registration',
    async (value) => {
      await open()
      await start()
      await proveByUsual()
      expect((await answer(value)).location).toBe(portal.url + deepLink)
      await answer('link')
      expect(await subjects()).toEqual(['ada'])
    },
  )

  it('does not offer a registration that another user of the machine left', async () => {
    await open()
    await toCode()
    const seen = await visitor.open(`${portal.url}/login/usual?returnTo=/portal/usual`)
    expect(seen.url).toBe(`${portal.url}/portal/usual`)
    expect(visitor.cookieNames(portal.url)).not.toContain('sso-registration')
    expect((await visitor.get(`${portal.url}/register/link`)).location).toBe(`${portal.url}/`)
    await answer('link')
    expect(await subjects()).toEqual(['ada'])
    await visitor.post(`${portal.url}/logout`)
    expect((await visitor.get(`${portal.url}/register`)).status).toBe(400)
  })

  it('asks for a confirmation, in case another user left the page open', async () => {
    await open()
    await start()
    expect((await proveByUsual()).url).toBe(`${portal.url}/register/link`)
    await visitor.get(`${portal.url}/portal`)
    expect((await visitor.get(`${portal.url}/register`)).location).toBe(`${portal.url}/`)
    await answer('link')
    expect(await subjects()).toEqual(['ada'])
  })

  it('offers only the registration for which it was started, whatever the query contains', async () => {
    await open()
    await start()
    const begun = await visitor.get(`${portal.url}/login/usual?proving=1`)
    // Another registration replaces it while Ada is at her provider.
    provider.person = claimed('eve', 'eve@example.com')
    await start()
    expect((await visitor.follow(begun)).url).toBe(`${portal.url}/`)
    await answer('link')
    expect(await subjects()).toEqual(['ada'])
  })

  it('is an ordinary sign-in if no registration is pending', async () => {
    await open()
    expect((await proveByUsual()).url).toBe(`${portal.url}/portal/usual`)
  })

  it('links the user who signed in, not the next user of this browser', async () => {
    await open()
    await portal.sso.users.create({ ...ada, email: 'bob@example.com' })
    await start()
    await proveByUsual()
    const proved = visitor.clone()
    usual.person = { sub: 'bob', email: 'bob@example.com', email_verified: true }
    await visitor.open(`${portal.url}/login/usual`)
    // Bob's session, and Ada's earlier cookie.
    const cookies = visitor.cookies.get(portal.url)!
    cookies.set('sso-registration', proved.cookies.get(portal.url)!.get('sso-registration')!)
    await answer('link')
    expect(await subjects()).toEqual(['ada', 'bob'])
    // The cookie is useless without a session, too.
    cookies.delete('portal-sso')
    cookies.set('sso-registration', proved.cookies.get(portal.url)!.get('sso-registration')!)
    expect((await answer('link')).location).toBe(`${portal.url}/register`)
    expect(await subjects()).toEqual(['ada', 'bob'])
  })

  it('links nothing if the identity was linked to another user in the meantime', async () => {
    await open()
    await start()
    const elsewhere = visitor.clone()
    await proveByUsual()
    await send('mallory@evil.example', elsewhere)
    await enter(mailServer.codeTo('mallory@evil.example'), elsewhere)
    await elsewhere.post(`${portal.url}/register`, { name: 'Mallory' })
    expect((await answer('link')).status).toBe(400)
    const [owner] = await portal.knex('sso_identities').where({ subject: 'mallory' })
    const { email }: User = await portal.knex('sso_users').where({ id: owner.user_id }).first()
    expect(email).toBe('mallory@evil.example')
  })

  it('links nothing if the provider was disabled in the meantime', async () => {
    await open()
    await start()
    await proveByUsual()
    await portal.sso.providers.disable('acme')
    expect((await answer('link')).status).toBe(409)
    expect(await subjects()).toEqual(['ada'])
  })

  it('offers nothing to an inactive user', async () => {
    await open()
    await start()
    await portal.knex('sso_users').update({ active: false })
    expect((await proveByUsual()).status).toBe(403)
    await answer('link')
    expect(await links()).toEqual([])
  })
})
