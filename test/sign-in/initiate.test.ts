import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { contoso, type EntraLookAlike, fabrikam, startEntraLookAlike } from '../support/entra-look-alike.ts'
import type { TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

// OpenID Connect Core 1.0, 4

const provider = await useProvider()
let entra: EntraLookAlike
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  entra = await startEntraLookAlike()
})
afterAll(() => entra.close())
beforeEach(async () => {
  entra.reset()
  portal = await startPortalWithAda(provider)
  visitor = new Visitor()
})
afterEach(() => portal.close())

type Asked = Record<string, string>

const initiate = (asked: Asked) => visitor.get(`${portal.url}/login/initiate?${new URLSearchParams(asked)}`)
const isSignedIn = async () => (await visitor.get(`${portal.url}/portal`)).status === 200
const isAt = ({ status, location }: Seen, path: string) =>
  expect([status, location]).toEqual([303, portal.url + path])
const fromElsewhere = { 'sec-fetch-site': 'cross-site', origin: 'https://dashboard.example' }

describe('a sign-in started by a provider’s dashboard (third-party initiated login)', () => {
  it('signs the user in and opens the named page', async () => {
    const target_link_uri = `${portal.url}/portal/reports?year=2026#top`
    const seen = await visitor.follow(await initiate({ iss: provider.issuer, target_link_uri }))
    expect(seen.status).toBe(200)
    expect(JSON.parse(seen.body)).toMatchObject({ path: '/portal/reports?year=2026' })
    expect(await isSignedIn()).toBe(true)
  })

  it('can be a POST from another site without our cookies', async () => {
    const form = { iss: provider.issuer, target_link_uri: `${portal.url}/portal` }
    const seen = await visitor.follow(await visitor.post(`${portal.url}/login/initiate`, form, fromElsewhere))
    expect(JSON.parse(seen.body)).toMatchObject({ path: '/portal' })
  })

  it('opens the start page if it names no page', async () => {
    const seen = await visitor.follow(await initiate({ iss: provider.issuer }))
    expect(seen.body).toBe('home of ada@example.com')
  })

  it('passes the login hint to the provider unchanged', async () => {
    const login_hint = 'ada+tag@example.com & "Co"'
    const started = await initiate({ iss: provider.issuer, login_hint })
    const { searchParams } = new URL((await visitor.get(started.location!)).location!)
    expect(searchParams.getAll('login_hint')).toEqual([login_hint])
    await visitor.follow(started)
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toContain('ada+tag')
  })

  it('redirects a signed-in user to the page, and changes nothing', async () => {
    await visitor.follow(await initiate({ iss: provider.issuer }))
    provider.requests.length = 0
    isAt(await initiate({ iss: provider.issuer, target_link_uri: `${portal.url}/portal/x` }), '/portal/x')
    isAt(await initiate({ iss: 'https://nobody.example' }), '/')
    isAt(await visitor.post(`${portal.url}/login/initiate`, { iss: provider.issuer }, fromElsewhere), '/')
    expect(provider.requests).toEqual([])
    expect(await isSignedIn()).toBe(true)
  })

  it('has no effect before the redirect: no cookie, no row, no request to the provider', async () => {
    provider.requests.length = 0
    const before = await portal.knex('sso_events')
    const { headers } = await visitor.post(
      `${portal.url}/login/initiate`,
      { iss: provider.issuer, login_hint: 'ada' },
      fromElsewhere,
    )
    expect(headers.getSetCookie()).toEqual([])
    expect(provider.requests).toEqual([])
    expect(await portal.knex('sso_events')).toEqual(before)
  })

  it('of Entra names the issuer of a tenant, and finds the row for many tenants', async () => {
    await portal.connect(entra, { slug: 'entra', ...entra.row(`${contoso} ${fabrikam}`) })
    isAt(await initiate({ iss: entra.issuerOf(fabrikam) }), '/login/entra')
    isAt(await initiate({ iss: entra.issuer }), '/login/entra')
    const stranger = '33333333-aaaa-4bbb-8ccc-000000000003'
    expect((await initiate({ iss: entra.issuerOf(stranger) })).status).toBe(404)
  })
})

describe('an initiated sign-in with an issuer', () => {
  it.each<[what: string, iss: string | undefined]>([
    ['that is unknown', 'https://nobody.example'],
    ['that has an extra slash', '/'],
    ['that is empty', ''],
    ['that is missing', undefined],
  ])('%s leads to a page that says so, with a way on', async (_what, iss) => {
    const asked: Asked = iss === undefined ? {} : { iss: iss === '/' ? `${provider.issuer}/` : iss }
    const seen = await initiate({ ...asked, target_link_uri: `${portal.url}/portal` })
    expect(seen.status).toBe(404)
    expect(seen.body).toContain('href="/login?returnTo=%2Fportal"')
    expect(portal.logs.at(-1)!.fields.code).toBe('provider_not_found')
  })

  it('of a disabled provider is refused', async () => {
    await portal.sso.providers.disable('acme')
    expect((await initiate({ iss: provider.issuer })).status).toBe(404)
  })

  it('of several providers shows the picker', async () => {
    await portal.connect(provider, { slug: 'second' })
    const target_link_uri = `${portal.url}/portal`
    isAt(await initiate({ iss: provider.issuer, target_link_uri }), '/login?returnTo=%2Fportal')
  })

  it('that appears twice ignores it', async () => {
    const twice = `iss=${encodeURIComponent(provider.issuer)}&iss=${encodeURIComponent(provider.issuer)}`
    expect((await visitor.get(`${portal.url}/login/initiate?${twice}`)).status).toBe(404)
  })
})

describe('a target page of an initiated sign-in', () => {
  it.each([
    'https://evil.example/',
    '//evil.example/',
    '/portal',
    'javascript:alert(1)',
    'PORTAL.evil.example/portal',
    'PORTAL@evil.example/portal',
    'PORTAL//evil.example/',
    'PORTAL/.//evil.example/',
    'PORTAL/\\evil.example/',
    `PORTAL/${'x'.repeat(2000)}`,
  ])('leads home where it is none of ours: %s', async (target) => {
    const target_link_uri = target.replace('PORTAL', portal.url)
    isAt(await initiate({ iss: provider.issuer, target_link_uri }), '/login/acme')
  })
})

describe('a login hint of an initiated sign-in', () => {
  const hintOf = async (path: string) => {
    const { location } = await visitor.get(portal.url + path)
    return new URL(location!).searchParams.get('login_hint')
  }

  it.each<[what: string, hint: string]>([
    ['with more than 500 characters', 'x'.repeat(501)],
    ['with a line break', 'ada\r\nSet-Cookie: x'],
    ['with a bidirectional control character', 'ada\u202egpj.exe'],
    ['that is empty', ''],
  ])('%s is not told to the provider', async (_what, login_hint) => {
    expect(await hintOf(`/login/acme?${new URLSearchParams({ login_hint })}`)).toBeNull()
    isAt(await initiate({ iss: provider.issuer, login_hint }), '/login/acme')
  })

  it('that appears twice is not sent to the provider', async () => {
    expect(await hintOf('/login/acme?login_hint=ada&login_hint=grace')).toBeNull()
  })

  it('is not sent if the user has to choose an account', async () => {
    expect(await hintOf('/login/acme?login_hint=ada')).toBe('ada')
    expect(await hintOf('/login/acme?login_hint=ada&account=other')).toBeNull()
    await portal.sso.providers.update('acme', { prompt: 'select_account' })
    expect(await hintOf('/login/acme?login_hint=ada')).toBeNull()
  })

  it('replaces no parameter of ours', async () => {
    const hint = encodeURIComponent('ada&redirect_uri=https://evil.example&state=evil')
    const { location } = await visitor.get(`${portal.url}/login/acme?login_hint=${hint}`)
    const { searchParams } = new URL(location!)
    expect(searchParams.getAll('redirect_uri')).toEqual([`${portal.url}/login/acme/callback`])
    expect(searchParams.get('state')).not.toBe('evil')
  })
})
