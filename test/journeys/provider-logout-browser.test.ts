/** @slow drives Chromium */
import { once } from 'node:events'
import http from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import knexModule from 'knex'
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import { UsersTable } from '../../lib/users/users-table.ts'
import { openBrowser } from '../support/chromium.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import { freshPostgres } from '../support/databases.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { responded } from '../support/http-requests.ts'
import { mountDefault, startPortal } from '../support/portal.ts'
import { freePort } from '../support/services/server.ts'
import { type Instance, startInstance } from '../support/start-instance.ts'

let browser: Browser
const open = closedAfterEach()
const contexts: BrowserContext[] = []

beforeAll(async () => {
  browser = await openBrowser()
})
afterAll(() => browser.close())
afterEach(async () => {
  for (const each of contexts.splice(0)) await each.close()
})

async function newPage(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext(options)
  contexts.push(context)
  return await context.newPage()
}

async function isIn(page: Page, url: string): Promise<boolean> {
  await page.goto(`${url}/portal`)
  return new URL(page.url()).pathname === '/portal'
}

describe('two browsers on different instances (Redis, PostgreSQL), with a real provider (oidc-provider),', () => {
  const clientSecret = 'a secret of the portal at the provider'
  const redirectUris = (url: string) => ({
    redirectUris: [`${url}/login/acme/callback`],
    postLogoutRedirectUris: [`${url}/logout/done`],
  })

  /** A header of the browser chooses the instance. Requests without it, such as the provider's, go to the second. */
  async function twoInstances(names: 'session' | 'person'): Promise<string> {
    let instances: Instance[] = []
    const front = http.createServer((req, res) => {
      const { port } = instances[req.headers['x-on'] === 'first' ? 0 : 1]!
      const onward = http.request({
        port,
        host: '127.0.0.1',
        method: req.method,
        path: req.url,
        headers: req.headers,
      })
      onward.on('response', (answer) => answer.pipe(res.writeHead(answer.statusCode!, answer.headers)))
      onward.on('error', (error) => res.writeHead(504).end(String(error)))
      req.pipe(onward)
    })
    const port = await freePort()
    front.listen(port, '127.0.0.1')
    await once(front, 'listening')
    open.push({ close: async () => [front.closeAllConnections(), front.close()] })
    const url = `http://127.0.0.1:${port}`
    const database = await freshPostgres()
    open.push({ close: database.drop })
    const identityProvider = await startIdentityProvider({
      name: 'Northwind ID',
      port: 0,
      clientId: 'portal',
      clientName: 'Portal',
      clientSecret,
      ...redirectUris(url),
      backChannelLogout: { uri: `${url}/logout/acme/backchannel`, names },
      people: [{ id: 'ada', name: 'Ada', email: 'ada@example.com', emailVerified: true, hint: '' }],
    })
    open.push(identityProvider)
    instances = await Promise.all([startInstance(url, database), startInstance(url, database)])
    for (const { kill } of instances) open.push({ close: kill })
    const { issuer } = identityProvider
    await instances[0]!.act('connect', {
      slug: 'acme',
      displayName: 'Acme',
      issuer,
      clientId: 'portal',
      clientSecret,
    })
    const knex = knexModule(database.config)
    await new UsersTable({ knex }).create({ email: 'ada@example.com', name: 'Ada', fields: {} }, 'default')
    await knex.destroy()
    return url
  }

  async function signIn(
    url: string,
    on: 'first' | 'second',
    options: BrowserContextOptions = {},
  ): Promise<Page> {
    const page = await newPage({ ...options, extraHTTPHeaders: { 'x-on': on } })
    await page.goto(`${url}/login/acme?returnTo=/portal`)
    if (page.url() !== `${url}/portal`) await page.getByRole('button', { name: /^Ada/ }).click()
    await page.waitForURL(`${url}/portal`)
    return page
  }

  /** Resolves when the portal has responded to the provider's logout token. */
  async function signOut(page: Page, url: string): Promise<void> {
    const delivered = responded('/logout/acme/backchannel')
    await page.goto(`${url}/logout`)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('button', { name: 'Yes, sign out' }).click()
    await page.waitForURL(/\/logout\/done/)
    await delivered
  }

  it('sign in as one user: signing out in one signs out the other as soon as the logout token is accepted', async () => {
    const url = await twoInstances('person')
    const [one, other] = await Promise.all([signIn(url, 'first'), signIn(url, 'second')])
    expect([await isIn(one, url), await isIn(other, url)]).toEqual([true, true])
    await signOut(one, url)
    expect(await isIn(other, url)).toBe(false)
    expect(await isIn(one, url)).toBe(false)
  })

  it('share one session at the provider: signing out in one signs out the other, but not a third with a separate session', async () => {
    const url = await twoInstances('session')
    const one = await signIn(url, 'first')
    const profile = await one.context().storageState()
    // The browser has the same session at the provider, but a separate session here.
    const ofProvider = profile.cookies.filter(({ domain }) => domain === 'localhost')
    const [other, third] = [
      await signIn(url, 'second', { storageState: { cookies: ofProvider, origins: [] } }),
      await signIn(url, 'first'),
    ]
    await signOut(one, url)
    expect(await isIn(other, url)).toBe(false)
    expect(await isIn(third, url)).toBe(true)
  })
})

describe('a front-channel logout frame on the provider’s page', () => {
  interface Framed {
    url: string
    /** the Cookie header of each request for the frame */
    cookies: (string | undefined)[]
    provider: Awaited<ReturnType<typeof startFaultyProvider>>
    frame: string
  }

  /** The portal and the provider are different sites, as in production. */
  async function signedIn(): Promise<Framed & { page: Page }> {
    const provider = await startFaultyProvider()
    open.push(provider)
    provider.person.sid = 'a session'
    const cookies: (string | undefined)[] = []
    const portal = await startPortal({
      host: 'localhost',
      mount(app, sso) {
        app.use('/logout/acme/frontchannel', (req, _res, next) => {
          cookies.push(req.headers.cookie)
          next()
        })
        mountDefault(app, sso)
      },
    })
    open.push(portal)
    const { url, sso } = portal
    await portal.connect(provider, { frontChannelLogout: true })
    await sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    const page = await newPage()
    await page.goto(`${url}/login/acme?returnTo=/portal`)
    expect(await isIn(page, url)).toBe(true)
    const names = new URLSearchParams({ iss: provider.issuer, sid: 'a session' })
    return { url, cookies, provider, page, frame: `${sso.providers.frontChannelLogoutUri('acme')}?${names}` }
  }

  /** The frames of a page, and the errors of those that the browser has blocked. */
  async function openFrames(page: Page, address: string) {
    const refused: string[] = []
    page.on('requestfailed', (request) => refused.push(`${request.failure()?.errorText}`))
    await page.goto(address, { waitUntil: 'load' })
    // Chromium 156 shows the error page of a blocked frame after the load event.
    await Promise.all(page.frames().map((frame) => frame.waitForURL(/./)))
    return {
      frames: page
        .frames()
        .slice(1)
        .map((frame) => frame.url()),
      refused,
    }
  }

  it('ends the session without a cookie, and is displayed by the browser', async () => {
    const { url, cookies, provider, page, frame } = await signedIn()
    provider.faults.logoutFrames = [frame]
    const { frames, refused } = await openFrames(await page.context().newPage(), `${provider.issuer}/logout`)
    expect({ frames, refused, cookies }).toEqual({ frames: [frame], refused: [], cookies: [undefined] })
    expect(await isIn(page, url)).toBe(false)
  })

  it('is blocked by the browser on a page of another origin, like every page of ours', async () => {
    const { url, provider, page, frame } = await signedIn()
    const attacker = await startFaultyProvider()
    open.push(attacker)
    const ours = [frame.replace('a+session', 'a+guess'), `${url}/login`, `${url}/logout`, `${url}/register`]
    attacker.faults.logoutFrames = ours
    const { frames, refused } = await openFrames(page, `${attacker.issuer}/logout`)
    expect(frames).toEqual(ours.map(() => 'chrome-error://chromewebdata/'))
    expect(refused).toEqual(ours.map(() => 'net::ERR_BLOCKED_BY_RESPONSE'))
    expect(await isIn(page, url)).toBe(true)
    // The provider's page may display this frame, but no other page of ours.
    provider.faults.logoutFrames = ours
    const there = await openFrames(page, `${provider.issuer}/logout`)
    expect(there.frames).toEqual(
      ours.map((address, at) => (at === 0 ? address : 'chrome-error://chromewebdata/')),
    )
    expect(await isIn(page, url)).toBe(true)
  })
})
