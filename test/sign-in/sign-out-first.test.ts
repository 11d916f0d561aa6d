import { beforeEach, describe, expect, it } from '@jest/globals'
import { closedAfterEach } from '../support/closed-after-each.ts'
import type { Faults, ReceivedRequest } from '../support/faulty-provider.ts'
import type { TestPortal, TestPortalOptions } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { next, type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()
let portal: TestPortal
let visitor: Visitor

beforeEach(async () => {
  provider.faults.keepsSession = true
  portal = await start()
  visitor = new Visitor()
})

async function start(options: TestPortalOptions = {}): Promise<TestPortal> {
  const started = await startPortalWithAda(provider, options)
  open.push(started)
  await started.sso.users.create({ email: 'grace@example.com', name: 'Grace', fields: {} })
  return started
}

const signedInAs = async () =>
  (JSON.parse((await visitor.get(`${portal.url}/portal`)).body) as { user: { email: string } }).user.email

const paths = () => provider.requests.map(({ path }) => path)
const buttons = ({ body }: Seen) =>
  [...body.matchAll(/<a class="sso-button[^"]*" href="([^"]*)">([^<]*)/g)].map(
    ([, href = '', label = '']) => ({
      label,
      href: href.replaceAll('&amp;', '&'),
    }),
  )

describe('“Use another account”', () => {
  beforeEach(async () => {
    // Ada's account is deactivated, so she has to use the one that Grace has at the same provider.
    const users = portal.knex('sso_users').where({ email: 'ada@example.com' })
    await visitor.open(`${portal.url}/login/acme`)
    await visitor.post(`${portal.url}/logout`, { where: 'here' })
    visitor = new Visitor()
    await users.update({ active: false })
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true }
    provider.requests.length = 0
  })

  it.each<[what: string, discovery: Faults['discovery'], firstRequest: RegExp]>([
    [
      'is asked to let the user choose, if it announces that',
      { prompt_values_supported: ['login', 'select_account'] },
      /^\/authorize\?.*&prompt=select_account/,
    ],
    [
      'signs the user out first, if it announces other prompts',
      { prompt_values_supported: ['login'] },
      /^\/logout\?/,
    ],
    ['signs the user out first, if it announces no prompts', {}, /^\/logout\?/],
  ])('leads to another account: the provider %s', async (_what, discovery, firstRequest) => {
    provider.faults.discovery = discovery ?? {}
    // Read the metadata again.
    await portal.sso.providers.update('acme', { displayName: 'Acme Corp' })
    const refused = await visitor.open(`${portal.url}/login/acme?returnTo=/portal`)
    expect(refused.body).toContain('Your account is deactivated')
    const [other] = buttons(refused)
    expect(other!.label).toBe('Use another account')
    const href = new URL(other!.href, portal.url).href
    provider.requests.length = 0
    const seen = await visitor.open(href)
    const [{ path, query }] = provider.requests as [ReceivedRequest]
    expect(`${path}?${query}`).toMatch(firstRequest)
    expect([seen.url, await signedInAs()]).toEqual([`${portal.url}/portal`, 'grace@example.com'])
  })

  it('works at a provider that returns nobody without id_token_hint (Hydra)', async () => {
    provider.faults.logoutNeedsHint = true
    const [other] = buttons(await visitor.open(`${portal.url}/login/acme?returnTo=/portal`))
    const seen = await visitor.open(other!.href)
    expect([seen.url, await signedInAs()]).toEqual([`${portal.url}/portal`, 'grace@example.com'])
    // The hint is an ID token.
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toContain('eyJ')
  })

  it('asks with prompt=login where the provider has no logout, or the row says that sign-out ends only ours', async () => {
    await portal.sso.providers.update('acme', { logout: 'portal' })
    expect((await visitor.get(`${portal.url}/login/acme?account=other`)).location).toMatch(/&prompt=login/)
    provider.faults.discovery = { end_session_endpoint: undefined }
    await portal.sso.providers.update('acme', { logout: 'provider' })
    expect((await visitor.get(`${portal.url}/login/acme?account=other`)).location).toMatch(/&prompt=login/)
  })
})

describe('signing out at the provider before a sign-in', () => {
  // The only one that is known to return the user without an `id_token_hint`.
  const usePreset = (preset: string) => portal.knex('sso_providers').update({ preset }).increment('version')
  beforeEach(() => usePreset('keycloak'))

  it('is not done without a hint at a provider that may then return nobody', async () => {
    await usePreset('generic')
    const there = await begin()
    expect(there.pathname).toBe('/authorize')
    expect(there.searchParams.get('prompt')).toBe('login')
  })

  const begin = async (query = 'account=other&returnTo=/portal', who = visitor) =>
    new URL((await who.get(`${portal.url}/login/acme?${query}`)).location!)

  it('returns to us only, with a state of this browser, and keeps what the sign-in needs', async () => {
    const { origin, pathname, searchParams } = await begin(
      'account=other&max_age=900&returnTo=/portal?of=mine',
    )
    expect(origin + pathname).toBe(`${provider.issuer}/logout`)
    // Without a hint the provider asks, so that a link on another site signs nobody out.
    expect(Object.fromEntries(searchParams)).toEqual({
      client_id: provider.clientId,
      post_logout_redirect_uri: `${portal.url}/logout/done`,
      state: expect.stringMatching(/^[\w-]{32}$/),
    })
    const back = await visitor.get(`${portal.url}/logout/done?state=${searchParams.get('state')}`)
    expect(back.location).toBe(`${portal.url}/login/acme?returnTo=%2Fportal%3Fof%3Dmine&max_age=900`)
  })

  it.each([
    'https://evil.example',
    '//evil.example',
    'https:evil.example',
    '/\\evil.example',
    'javascript:alert(1)',
  ])('redirects to no other site: returnTo=%s', async (returnTo) => {
    const there = await begin(`account=other&returnTo=${encodeURIComponent(returnTo)}`)
    const done = await visitor.get(`${portal.url}/logout/done?state=${there.searchParams.get('state')}`)
    expect(done.location).toBe(`${portal.url}/login/acme`)
  })

  it('is continued once, and only in the browser and with the state that it was started with', async () => {
    const state = (await begin()).searchParams.get('state')
    const done = `${portal.url}/logout/done`
    const other = new Visitor()
    const otherState = (await begin(undefined, other)).searchParams.get('state')
    for (const [who, query] of [
      [visitor, ''],
      [visitor, '?state='],
      [visitor, `?state=${otherState}`],
      [visitor, `?state=${state}&state=${state}`],
      [new Visitor(), `?state=${state}`],
    ] as const) {
      const seen = await who.get(done + query)
      expect([seen.status, seen.location]).toEqual([200, undefined])
    }
    expect((await visitor.get(`${done}?state=${state}`)).location).toContain('/login/acme')
    expect((await visitor.get(`${done}?state=${state}`)).location).toBeUndefined()
  })

  it('does not make an authorization response valid that has its kept state', async () => {
    await begin()
    const [kept] = visitor.cookieNames(portal.url).filter((name) => name.startsWith('sso-attempt-'))
    const state = kept!.slice('sso-attempt-'.length)
    provider.requests.length = 0
    await visitor.get(`${portal.url}/login/acme/callback?code=stolen&state=${state}`)
    expect(paths()).not.toContain('/token')
  })

  it('does not start from another site, which could cancel a sign-out of the user that way', async () => {
    await visitor.open(`${portal.url}/login/acme`)
    const atProvider = next(await visitor.post(`${portal.url}/logout`))!
    const foreign = await visitor.get(`${portal.url}/login/acme?account=other`, {
      'sec-fetch-site': 'cross-site',
    })
    expect(foreign.location).toMatch(/\/authorize\?.*&prompt=login/)
    const { location } = await visitor.get(atProvider)
    expect((await visitor.get(location!)).body).toContain('also signed out of Acme')
  })

  it('does not start with a restart, which needs no click', async () => {
    expect((await begin('account=other&restarted=1')).pathname).toBe('/authorize')
  })

  it('causes no loop at a provider that keeps its session', async () => {
    provider.faults.logoutKeepsSession = true
    const seen = await visitor.open(`${portal.url}/login/acme?account=other&returnTo=/portal`)
    expect(seen.url).toBe(`${portal.url}/portal`)
    expect(paths().filter((path) => path === '/logout')).toHaveLength(1)
  })

  it('leads to the login page, if the provider was disabled in between', async () => {
    const state = (await begin()).searchParams.get('state')
    await portal.sso.providers.disable('acme')
    const done = await visitor.get(`${portal.url}/logout/done?state=${state}`)
    expect(done.location).toBe(`${portal.url}/login?returnTo=%2Fportal`)
  })

  it('also works for a user who is still signed in here, and has to authenticate again', async () => {
    Object.assign(provider.faults, { ignoresMaxAge: true, ignoresPromptLogin: true })
    const guarded = await start({
      mount(app, sso) {
        app.use(sso.session())
        app.use('/recent', sso.guard({ maxAge: 30 }), (_req, res) => void res.send('in'))
        app.use(sso.router())
      },
    })
    provider.faults.claims = { auth_time: Math.floor(Date.now() / 1000) - 3600 }
    await visitor.open(`${guarded.url}/login/acme`)
    const refused = await visitor.open(`${guarded.url}/recent`)
    expect([refused.status, refused.body]).toEqual([
      403,
      expect.stringContaining('did not ask you to sign in again'),
    ])
    const [first] = buttons(refused)
    expect(first!.label).toBe('Sign out at Acme, then sign in')
    delete provider.faults.claims
    const seen = await visitor.open(first!.href)
    expect([seen.status, seen.body]).toEqual([200, 'in'])
  })

  it('is not offered where the test sign-in found that it cannot help', async () => {
    await portal.sso.providers.update('acme', { maxAge: 30 })
    provider.faults.authTimeOnlyForMaxAge = true
    provider.faults.claims = { auth_time: undefined }
    const labels = async () =>
      buttons(await visitor.open(`${portal.url}/login/acme`)).map(({ label }) => label)
    expect(await labels()).toEqual(['Sign out at Acme, then sign in', 'Choose a sign-in service'])
    await portal.knex('sso_providers').update({ reauthentication: 'unreported' })
    expect(await labels()).toEqual(['Choose a sign-in service'])
  })

  it('sends the hint of a registration that waits here, but not for a link on another site', async () => {
    provider.person = { sub: 'mallory', email: 'mallory@example.com', email_verified: false }
    const waiting = await start({ mailer: async () => {} })
    await visitor.open(`${waiting.url}/login/acme`)
    const hintFrom = async (site: string, query = 'account=other&proving=1') => {
      const seen = await visitor.get(`${waiting.url}/login/acme?${query}`, { 'sec-fetch-site': site })
      return new URL(seen.location!).searchParams.get('id_token_hint')
    }
    expect(await hintFrom('same-origin')).toMatch(/^eyJ/)
    expect(await hintFrom('cross-site')).toBeNull()
    expect(await hintFrom('same-origin', 'account=other')).toBeNull()
  })
})
