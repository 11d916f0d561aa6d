/** `npm run test:providers`: a user of real providers, each of which is installed if this machine can do that. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { configFromUrl, connectDatabase } from '../../lib/database/connect.ts'
import { openBrowser } from '../support/chromium.ts'
import { type Cli, cliSecret, startCli } from '../support/cli.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { progress } from '../support/services/programs.ts'
import { glewlwyd } from './glewlwyd.ts'
import { hydra } from './hydra.ts'
import { keycloak } from './keycloak.ts'
import { lemonldap } from './lemonldap.ts'
import { oidcProvider } from './oidc-provider.ts'
import { ada, client, type RealProvider, type StartedProvider } from './real-provider.ts'

/** `PROVIDERS=hydra,keycloak` chooses some of them. */
const chosen = process.env.PROVIDERS?.split(',')
const providers = [oidcProvider, glewlwyd, lemonldap, hydra, keycloak].filter(
  ({ slug }) => !chosen || chosen.includes(slug),
)

/** A step that hangs fails after this time, and one click of it earlier. */
const stepTimeoutMs = 30_000
const clickTimeoutMs = 10_000
const startTimeoutMs = 120_000

const prepared = await Promise.all(
  providers.map(async (provider) => {
    const reason = await provider.prepare().catch((error: Error) => error.message)
    return { provider, missing: reason?.trim().replace(/\s+/g, ' ').slice(0, 300) }
  }),
)
function reportMissing(): void {
  for (const { provider, missing } of prepared)
    if (missing !== undefined) progress(`not found: ${provider.name}: ${missing}`)
}
reportMissing()
afterAll(reportMissing)

let browser: Browser
const contexts: BrowserContext[] = []
beforeAll(async () => {
  browser = await openBrowser()
})
afterAll(() => browser.close())
afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close()
})

async function newPage(): Promise<Page> {
  const context = await browser.newContext({ locale: 'en' })
  context.setDefaultTimeout(clickTimeoutMs)
  contexts.push(context)
  return await context.newPage()
}

/** Adds the page to the error of an action that fails there. */
async function inBrowser(page: Page, action: (page: Page) => Promise<void>): Promise<void> {
  try {
    await action(page)
  } catch (error) {
    const text = await page.locator('body').innerText()
    throw new Error(`${(error as Error).message}\nThe browser shows ${page.url()}\n${text}`)
  }
}

interface Metadata {
  authorization_endpoint: string
  jwks_uri: string
}

/** A real provider, and a portal that knows nothing but its command line. */
class Scene {
  private readonly provider: RealProvider
  private readonly started: StartedProvider
  private readonly portal: TestPortal
  private readonly cli: Cli
  readonly close: () => Promise<void>

  private constructor(
    provider: RealProvider,
    started: StartedProvider,
    { portal, cli, close }: { portal: TestPortal; cli: Cli; close: () => Promise<void> },
  ) {
    this.provider = provider
    this.started = started
    this.portal = portal
    this.cli = cli
    this.close = close
  }

  static async start(provider: RealProvider): Promise<Scene> {
    const cli = await startCli(client.secret)
    await cli.renew()
    const { knex } = connectDatabase(configFromUrl(cli.databaseUrl))
    const portal = await startPortal({ database: knex, secret: [cliSecret] })
    progress(`Starting ${provider.name}`)
    const { slug } = provider
    const urls = portal.sso.providers
    const started = await provider.start({
      redirectUri: urls.redirectUri(slug),
      postLogoutRedirectUri: urls.postLogoutRedirectUri(),
      backChannelLogoutUri: urls.backChannelLogoutUri(slug),
      frontChannelLogoutUri: urls.frontChannelLogoutUri(slug),
    })
    const close = async () => {
      await started.stop()
      await portal.close()
      await knex.destroy()
      cli.close()
    }
    return new Scene(provider, started, { portal, cli, close })
  }

  private async command(...args: string[]): Promise<string> {
    const env = { BASE_URL: this.portal.url, PORTAL_SSO_CLIENT_SECRET: client.secret }
    const { code, stdout, stderr } = await this.cli.run(args, { env })
    if (process.env.VERBOSE) progress(`$ portal-sso ${args.join(' ')}\n${stdout}${stderr}`)
    expect(stdout + stderr).not.toContain(client.secret)
    if (code !== 0) throw new Error(`portal-sso ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`)
    return stdout
  }

  async connect(): Promise<void> {
    const { slug, email = ada.email } = this.provider
    await this.command('users', 'add', '--email', email, '--name', ada.name)
    const flags = [...this.started.flags, '--slug', slug, '--client-id', client.id]
    await this.command('providers', 'add', ...flags)
    await this.command('providers', 'test', slug)
  }

  async testSignIn(): Promise<void> {
    const { slug } = this.provider
    const [link] = (await this.command('providers', 'test-sign-in', slug, '--no-wait', '--json')).split('\n')
    const page = await newPage()
    await page.goto((JSON.parse(link!) as { url: string }).url)
    await page.getByRole('button').click()
    await inBrowser(page, this.started.signIn)
    await page.waitForURL(`${this.portal.url}/**`)
    if (process.env.VERBOSE) progress(await page.locator('body').innerText())
    await this.command('providers', 'enable', slug)
  }

  /** Signs in with a new browser. */
  async signIn(): Promise<Page> {
    const { slug, email = ada.email } = this.provider
    const page = await newPage()
    await page.goto(`${this.portal.url}/login/${slug}?returnTo=/portal`)
    await inBrowser(page, this.started.signIn)
    await page.waitForURL(`${this.portal.url}/**`)
    expect(await this.signedInAs(page)).toBe(email)
    return page
  }

  /** @returns the user's address that `/portal` shows, or `undefined` if it redirects to the login page */
  async signedInAs(page: Page): Promise<string | undefined> {
    await page.goto(`${this.portal.url}/portal`)
    if (new URL(page.url()).pathname !== '/portal') return undefined
    const { user } = JSON.parse(await page.locator('body').innerText()) as { user: { email: string } }
    return user.email
  }

  async signOut(page: Page): Promise<void> {
    await page.goto(`${this.portal.url}/logout`)
    await page.getByRole('button').click()
    await inBrowser(page, async () => {
      await this.started.confirmSignOut?.(page)
      await page.waitForURL(`${this.portal.url}/logout/done**`)
    })
  }

  signOutAtProvider(page: Page): Promise<void> {
    return inBrowser(page, this.started.signOut)
  }

  /** Asks for a code without a page (`prompt=none`), as any client of this browser may, unless the provider cannot do that. */
  async hasSessionAtProvider(page: Page): Promise<boolean> {
    if (this.started.hasSession) return await this.started.hasSession(page)
    const redirectUri = this.portal.sso.providers.redirectUri(this.provider.slug)
    const atLeastEight = '12345678'
    const query = {
      ...{ response_type: 'code', client_id: client.id, redirect_uri: redirectUri, scope: 'openid' },
      ...{ prompt: 'none', state: atLeastEight, nonce: atLeastEight },
    }
    let url = new URL((await this.metadata()).authorization_endpoint)
    url.search = new URLSearchParams(query).toString()
    for (let redirects = 0; redirects < 10; redirects++) {
      // The request uses the browser's cookies.
      const response = await page.context().request.get(url.href, { maxRedirects: 0 })
      const { location } = response.headers()
      // The provider shows a page instead, such as its login page.
      if (location === undefined) return false
      url = new URL(location, url)
      if (url.href.startsWith(redirectUri)) return url.searchParams.has('code')
    }
    throw new Error(`The provider redirects without end: ${url.href}`)
  }

  async rotateKey(): Promise<void> {
    const before = await this.keyIds()
    await this.started.rotateKey()
    const after = await this.keyIds()
    expect(after.filter((kid) => !before.includes(kid))).toHaveLength(1)
    expect(before.filter((kid) => !after.includes(kid))).toHaveLength(1)
  }

  private async keyIds(): Promise<(string | undefined)[]> {
    const { keys } = (await (await fetch((await this.metadata()).jwks_uri)).json()) as {
      keys: { kid?: string; use?: string }[]
    }
    return keys.filter(({ use }) => use !== 'enc').map(({ kid }) => kid)
  }

  private async metadata(): Promise<Metadata> {
    return (await (await fetch(`${this.started.issuer}/.well-known/openid-configuration`)).json()) as Metadata
  }
}

describe.each(prepared)('$provider.name', ({ provider, missing }) => {
  // The servers start while the browser is with another provider.
  const starting = missing === undefined ? Scene.start(provider) : undefined
  starting?.catch(() => {})
  let scene: Scene
  let isConnected = false

  beforeAll(async () => {
    if (starting) scene = await starting
  }, startTimeoutMs)
  afterAll(() => scene?.close(), startTimeoutMs)

  const step = (title: string, action: () => Promise<unknown>) =>
    (missing === undefined ? it : it.skip)(
      title,
      async () => {
        progress(`${provider.name} ${title}`)
        await action()
      },
      stepTimeoutMs,
    )
  /** A step that fails immediately if nobody can sign in. */
  const signInStep = (title: string, action: () => Promise<unknown>) =>
    step(title, () => {
      if (!isConnected) throw new Error('The provider is not connected')
      return action()
    })

  step('is connected by the command line', () => scene.connect())

  step('passes the test sign-in, and is enabled', async () => {
    await scene.testSignIn()
    isConnected = true
  })

  signInStep('signs the user in on its own pages', () => scene.signIn())

  signInStep('signs the user in after it has replaced its signing key', async () => {
    await scene.rotateKey()
    await scene.signIn()
  })

  signInStep('ends its session when the user signs out here', async () => {
    const page = await scene.signIn()
    expect(await scene.hasSessionAtProvider(page)).toBe(true)
    await scene.signOut(page)
    expect(await scene.signedInAs(page)).toBeUndefined()
    expect(await scene.hasSessionAtProvider(page)).toBe(false)
  })

  signInStep('ends the session here when the user signs out there', async () => {
    const page = await scene.signIn()
    await scene.signOutAtProvider(page)
    expect(await scene.signedInAs(page)).toBeUndefined()
  })
})
