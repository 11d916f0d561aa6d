import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import express from 'express'
import { createPortalSso } from '../../lib/index.ts'
import { startPortal, type TestPortal, type TestPortalOptions, testSecret } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { press, textOf } from '../support/test-sign-in.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let visitor: Visitor

beforeEach(() => {
  visitor = new Visitor()
})
afterEach(() => portal.close())

/** Starts two portals, each with a provider that replaces its classic login. */
async function open(options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortal({
    // Tests select the portal with a header.
    portal: (req) => req.get('x-portal') ?? 'default',
    ...options,
    mount(app, sso) {
      app.use(sso.session())
      app.use(sso.router())
      app.get('/login', (_req, res) => {
        res.send('classic login page')
      })
      app.post('/password-login', sso.classicLoginGate(), express.urlencoded(), (_req, res) => {
        res.send('password accepted')
      })
    },
  })
  await portal.connect(provider)
  await portal.connect(provider, { portal: 'south' })
}

const scene = () => ({ portal, visitor })
const link = async (options = {}) => (await portal.sso.breakGlass.link({ actor: 'cli', ...options })).url
const tokenIn = (url: string) => new URL(url).searchParams.get('token')!
const use = (token: string, browser = visitor, headers = {}) =>
  browser.post(`${portal.url}/login/break-glass`, { token }, headers)

/** Whether this browser can open the classic login page and post a password. */
async function classicLogin(browser = visitor, headers = {}): Promise<{ page: boolean; password: boolean }> {
  const page = await browser.get(`${portal.url}/login`, headers)
  const posted = await browser.post(`${portal.url}/password-login`, { password: 'x' }, headers)
  return { page: page.body === 'classic login page', password: posted.body === 'password accepted' }
}
const closed = { page: false, password: false }
const opened = { page: true, password: true }

const events = async () => {
  const rows = await portal.knex('sso_events').where({ kind: 'break-glass' }).orderBy('at')
  return rows.map(({ portal: name, actor, detail, client_address }: Record<string, string>) => ({
    portal: name,
    actor,
    from: client_address,
    ...(JSON.parse(detail!) as object),
  }))
}

describe('a break-glass link', () => {
  it('opens the classic login to one browser for half an hour, and is recorded with warnings', async () => {
    await open({ events: { clientAddress: 'full' } })
    expect(await classicLogin()).toEqual(closed)
    const { url, expiresAt } = await portal.sso.breakGlass.link({ actor: 'cli' })
    expect(url).toMatch(new RegExp(`^${portal.url}/login/break-glass\\?token=[\\w-]{43}$`))
    expect(Math.abs(expiresAt.getTime() - Date.now() - 15 * 60_000)).toBeLessThan(60_000)
    const page = await visitor.get(url)
    expect(textOf(page.body)).toContain('You need a password for it.')
    const response = await press(scene(), url)
    expect(response).toMatchObject({ status: 303, location: `${portal.url}/login` })
    expect(response.headers.getSetCookie().join()).toMatch(
      /sso-break-glass=[^;]+; Max-Age=1800;.*HttpOnly; SameSite=Lax/,
    )
    expect(await classicLogin()).toEqual(opened)
    expect(await classicLogin()).toEqual(opened)
    expect(await classicLogin(new Visitor())).toEqual(closed)
    const by = { portal: 'default', actor: 'cli', from: '127.0.0.1' }
    expect(await events()).toEqual([
      { ...by, from: null, step: 'made' },
      { ...by, step: 'used' },
      { ...by, step: 'password-posted' },
      { ...by, step: 'password-posted' },
    ])
    expect(portal.logs.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        'a link was created that opens the classic login',
        'the classic login was opened to one browser',
        'a password was posted under break-glass access',
      ]),
    )
  })

  it('leads to a page in the language of the browser', async () => {
    await open()
    visitor = new Visitor({ 'accept-language': 'de' })
    expect((await visitor.get(await link())).body).toContain('Die klassische Anmeldung öffnen?')
  })

  it('does not change the providers', async () => {
    await open()
    await press(scene(), await link())
    expect((await visitor.get(`${portal.url}/login/acme`)).status).toBe(302)
  })

  it('works without the providers table', async () => {
    await open()
    await press(scene(), await link())
    await portal.knex.schema.renameTable('sso_providers', 'gone')
    expect((await visitor.post(`${portal.url}/password-login`, { password: 'x' })).body).toBe(
      'password accepted',
    )
    expect((await new Visitor().post(`${portal.url}/password-login`, {})).status).toBeGreaterThanOrEqual(500)
  })

  it('is neither applied nor used up by a program that opens every link in an e-mail', async () => {
    await open()
    const url = await link()
    const scanner = new Visitor()
    for (let at = 0; at < 5; at++) expect((await scanner.get(url)).status).toBe(200)
    expect(await classicLogin(scanner)).toEqual(closed)
    expect((await press(scene(), url)).status).toBe(303)
  })
})

describe('an attacker who tries to open the classic login', () => {
  it('cannot guess a link or use one from the database, and each attempt is an event', async () => {
    await open()
    const token = tokenIn(await link())
    const [row] = await portal.knex('sso_one_time_links')
    expect(JSON.stringify(row)).not.toContain(token)
    for (const guess of ['', 'x', row.id, token.slice(0, -1), `${token}x`, token.toLowerCase(), '%00'])
      expect([guess, (await use(guess)).status]).toEqual([guess, 410])
    expect((await visitor.post(`${portal.url}/login/break-glass`)).status).toBe(410)
    expect(await classicLogin()).toEqual(closed)
    const refused = await portal.knex('sso_events').where({ kind: 'sign-in-failed' }).pluck('detail')
    expect(refused.filter((detail: string) => detail.includes('link_expired'))).toHaveLength(8)
  })

  it('cannot try more tokens than the rate limit of the routes below /login allows', async () => {
    await open({ rateLimits: { start: 3 } })
    const statuses = []
    for (let at = 0; at < 5; at++) statuses.push((await use(`guess-${at}`)).status)
    expect(statuses).toEqual([410, 410, 410, 429, 429])
  })

  it('cannot use a link a second time', async () => {
    await open()
    const url = await link()
    await press(scene(), url)
    const thief = new Visitor()
    expect((await thief.get(url)).status).toBe(410)
    expect((await use(tokenIn(url), thief)).status).toBe(410)
    expect(await classicLogin(thief)).toEqual(closed)
  })

  it('cannot open it for more than one browser with ten concurrent uses of a link', async () => {
    await open()
    const token = tokenIn(await link())
    const browsers = Array.from({ length: 10 }, () => new Visitor())
    const statuses = await Promise.all(browsers.map(async (each) => (await use(token, each)).status))
    expect(statuses.sort()).toEqual([303, ...Array.from({ length: 9 }, () => 410)])
    const seen = await Promise.all(browsers.map((each) => classicLogin(each)))
    expect(seen.filter(({ password }) => password)).toHaveLength(1)
  })

  it('cannot use a link after 15 minutes', async () => {
    await open()
    const url = await link()
    await portal.knex('sso_one_time_links').update({ expires_at: new Date(Date.now() - 1000).toISOString() })
    expect((await visitor.get(url)).status).toBe(410)
    expect((await use(tokenIn(url))).status).toBe(410)
  })

  it('cannot make a victim’s browser use a link from another site (CSRF)', async () => {
    await open()
    const token = tokenIn(await link())
    for (const headers of [
      { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
      { 'sec-fetch-site': '', origin: 'null' },
    ])
      expect((await use(token, visitor, headers)).status).toBe(403)
    expect(await classicLogin()).toEqual(closed)
    expect((await use(token)).status).toBe(303)
  })

  it('cannot use the link or the cookie of one portal in another', async () => {
    await open()
    const token = tokenIn(await link())
    const south = { 'x-portal': 'south' }
    expect((await use(token, visitor, south)).status).toBe(410)
    expect((await use(token)).status).toBe(303)
    expect(await classicLogin()).toEqual(opened)
    expect(await classicLogin(visitor, south)).toEqual(closed)
  })

  it('cannot use the cookie of one instance in another of the same app with the same secret', async () => {
    await open()
    const { app, knex, url } = portal
    const logger = { info() {}, warn() {}, error() {} }
    const options = { baseUrl: url, secret: testSecret, database: knex, logger }
    const staff = await createPortalSso({ ...options, mountPath: '/staff' })
    app.post('/staff/password-login', staff.session(), staff.classicLoginGate())
    await press(scene(), await link())
    expect(await classicLogin()).toEqual(opened)
    expect((await visitor.post(`${url}/staff/password-login`, { password: 'x' })).status).toBe(403)
    await staff.close()
  })

  it('cannot use the link of a test sign-in', async () => {
    await open()
    const { token } = await portal.sso.testSignIns.link('acme')
    expect((await use(token)).status).toBe(410)
  })

  it('cannot forge the cookie or substitute another sealed cookie', async () => {
    await open()
    await visitor.get(`${portal.url}/login/acme`)
    const jar = visitor.cookies.get(portal.url)!
    const [attempt] = [...jar].filter(([name]) => name.startsWith('sso-attempt-')).map(([, value]) => value)
    for (const value of [attempt!, 'true', '{"portal":"default"}']) {
      jar.set('sso-break-glass', value)
      expect(await classicLogin()).toEqual(closed)
    }
  })

  it('cannot use the cookie for longer than half an hour', async () => {
    await open()
    await press(scene(), await link())
    const { now } = Date
    Date.now = () => now() + 30 * 60_000
    try {
      expect(await classicLogin()).toEqual(closed)
    } finally {
      Date.now = now
    }
  })

  it('cannot create a link for an unknown portal', async () => {
    await open({ baseUrl: { default: 'http://127.0.0.1', south: 'http://127.0.0.1' } })
    await expect(portal.sso.breakGlass.link({ portal: 'nobody' })).rejects.toThrow('no baseUrl')
    expect(await portal.knex('sso_one_time_links')).toEqual([])
  })
})
