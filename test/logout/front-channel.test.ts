import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import session, { MemoryStore } from 'express-session'
import { contoso, type EntraLookAlike, fabrikam, startEntraLookAlike } from '../support/entra-look-alike.ts'
import { startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal

beforeEach(() => {
  provider.person.sid = 'session-1'
})
afterEach(() => portal.close())

async function open(settings = {}, options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortal(options)
  await portal.connect(provider, { frontChannelLogout: true, ...settings })
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
}

async function signIn(sid = 'session-1', slug = 'acme'): Promise<Visitor> {
  provider.person.sid = sid
  const visitor = new Visitor()
  await visitor.open(`${portal.url}/login/${slug}`)
  expect(await isIn(visitor)).toBe(true)
  return visitor
}

const isIn = async (visitor: Visitor) => (await visitor.get(`${portal.url}/portal`)).status === 200

type Query = string | string[][] | Record<string, string>
const right = () => ({ iss: provider.issuer, sid: 'session-1' })

/** Requests the frame like another site's page: without our cookies. */
const frame = (query: Query = right(), actor = new Visitor(), slug = 'acme'): Promise<Seen> =>
  actor.get(`${portal.url}/logout/${slug}/frontchannel?${new URLSearchParams(query)}`, {
    'sec-fetch-site': 'cross-site',
    'sec-fetch-dest': 'iframe',
  })

describe('a front-channel logout request', () => {
  it('ends only the named session, in any browser', async () => {
    await open()
    const [one, other] = [await signIn('session-1'), await signIn('session-2')]
    expect((await frame()).status).toBe(200)
    expect([await isIn(one), await isIn(other)]).toEqual([false, true])
    const [event, ...more] = await portal.knex('sso_events').where({ kind: 'signed-out' })
    expect([JSON.parse(event.detail), event.provider, more]).toEqual([
      { actor: 'provider', sessions: 1 },
      'acme',
      [],
    ])
  })

  it('gets the same response if no session was ended', async () => {
    await open()
    await signIn()
    const withoutDate = ({ status, body, headers }: Seen) => {
      const { date: _, ...others } = Object.fromEntries(headers)
      return { status, body, others }
    }
    const ended = withoutDate(await frame())
    expect(withoutDate(await frame())).toEqual(ended)
    expect(withoutDate(await frame({ ...right(), sid: 'unknown' }))).toEqual(ended)
  })

  it('may name a session id of 2000 characters', async () => {
    await open()
    const sid = 'x'.repeat(2000)
    const [named, bystander] = [await signIn(sid), await signIn(`${sid}2`)]
    expect((await frame({ ...right(), sid })).status).toBe(200)
    expect([await isIn(named), await isIn(bystander)]).toEqual([false, true])
  })

  it('gets an empty document without caching and cookies, which only the provider’s pages may frame', async () => {
    provider.faults.discovery = { end_session_endpoint: 'https://out.example.com:8443/bye?x=1' }
    await open({}, withHelmetLike)
    const { headers, body } = await frame()
    expect(headers.get('content-security-policy')).toBe(
      `default-src 'none'; frame-ancestors ${provider.issuer} https://out.example.com:8443`,
    )
    expect(headers.get('x-frame-options')).toBeNull()
    expect(headers.get('cache-control')).toBe('no-store')
    expect(headers.get('referrer-policy')).toBe('no-referrer')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-type')).toContain('text/html')
    expect(headers.getSetCookie()).toEqual([])
    expect(body).toBe('<!doctype html><title>.</title>')
    // All other pages keep the header.
    for (const path of ['/logout', '/login', '/portal']) {
      const other = await new Visitor().get(portal.url + path)
      expect(other.headers.get('x-frame-options')).toMatch(/^(SAMEORIGIN|DENY)$/)
    }
  })

  it('ends the session even if the provider is unavailable: then only its issuer may frame the document', async () => {
    await open()
    const visitor = await signIn()
    // After an update, the provider's metadata must be read again.
    await portal.sso.providers.update('acme', { prompt: 'login' }, { withoutTestSignIn: true } as object)
    provider.faults.discoveryResponse = { status: 500 }
    const seen = await frame()
    expect(seen.status).toBe(200)
    expect(seen.headers.get('content-security-policy')).toBe(
      `default-src 'none'; frame-ancestors ${provider.issuer}`,
    )
    expect(await isIn(visitor)).toBe(false)
  })

  it('is not found for a provider without the option, for an unknown one, and for a POST', async () => {
    await open({ frontChannelLogout: false })
    const visitor = await signIn()
    for (const slug of ['acme', 'nobody', '%00', 'new']) {
      const seen = await frame(right(), undefined, slug)
      expect([slug, seen.status]).toEqual([slug, 404])
      expect(seen.headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
    }
    await portal.sso.providers.update('acme', { frontChannelLogout: true })
    const posted = await new Visitor().post(
      `${portal.url}/logout/acme/frontchannel?${new URLSearchParams(right())}`,
    )
    expect(posted.status).toBe(404)
    expect(await isIn(visitor)).toBe(true)
    expect((await frame()).status).toBe(200)
    expect(await isIn(visitor)).toBe(false)
  })

  it('is accepted for a disabled provider', async () => {
    await open()
    const visitor = await signIn()
    await portal.sso.providers.disable('acme')
    expect((await frame()).status).toBe(200)
    expect(await isIn(visitor)).toBe(false)
  })

  it('stops a sign-in in progress for its session', async () => {
    await open()
    let goOn = () => {}
    provider.faults.tokenWaitsFor = new Promise<void>((resolve) => {
      goOn = resolve
    })
    provider.requests.length = 0
    const visitor = new Visitor()
    const arriving = visitor.open(`${portal.url}/login/acme`)
    while (!provider.requests.some(({ path }) => path === '/token')) await sleep(5)
    expect((await frame()).status).toBe(200)
    goOn()
    expect((await arriving).status).toBe(403)
    expect(await isIn(visitor)).toBe(false)
  })

  it('fails while our database is unavailable, and can be repeated', async () => {
    await open()
    const visitor = await signIn()
    await portal.knex.schema.renameTable('sso_logout_tokens', 'away')
    expect((await frame()).status).toBe(503)
    await portal.knex.schema.renameTable('away', 'sso_logout_tokens')
    expect((await frame()).status).toBe(200)
    expect(await isIn(visitor)).toBe(false)
  })
})

const withHelmetLike: TestPortalOptions = {
  mount(app, sso) {
    app.use((_req, res, next) => {
      res.set({ 'x-frame-options': 'SAMEORIGIN', 'content-security-policy': "default-src 'self'" })
      next()
    })
    mountDefault(app, sso)
  },
}

describe('refused: front-channel logout', () => {
  const iss = () => provider.issuer
  it.each<[fault: string, clause: string, query: () => Query]>([
    ['no parameters', 'Front-Channel Logout 2', () => ''],
    ['no sid', 'Front-Channel Logout 2', () => ({ iss: iss() })],
    ['no iss', 'Front-Channel Logout 2', () => ({ sid: 'session-1' })],
    ['another issuer', 'Front-Channel Logout 2', () => ({ iss: 'https://evil.example', sid: 'session-1' })],
    [
      'the issuer with an extra slash',
      'Front-Channel Logout 2',
      () => ({ iss: `${iss()}/`, sid: 'session-1' }),
    ],
    ['an empty issuer', 'Front-Channel Logout 2', () => ({ iss: '', sid: 'session-1' })],
    ['an empty sid', 'Front-Channel Logout 2', () => ({ iss: iss(), sid: '' })],
    [
      'two sids',
      'RFC 6749 3.1',
      () => [
        ['iss', iss()],
        ['sid', 'session-1'],
        ['sid', 'x'],
      ],
    ],
    [
      'two issuers',
      'RFC 6749 3.1',
      () => [
        ['iss', iss()],
        ['iss', 'x'],
        ['sid', 'session-1'],
      ],
    ],
    ['sid as an array', 'RFC 6749 3.1', () => ({ iss: iss(), 'sid[]': 'session-1' })],
    ['sid as an object', 'RFC 6749 3.1', () => ({ iss: iss(), 'sid[$ne]': 'x' })],
    ['a subject instead of a session', 'Front-Channel Logout 2', () => ({ iss: iss(), sub: 'ada' })],
  ])('%s (%s)', async (_fault, _clause, query) => {
    await open()
    const visitor = await signIn()
    const seen = await frame(query())
    expect([seen.status, seen.headers.getSetCookie()]).toEqual([400, []])
    expect(await isIn(visitor)).toBe(true)
    expect(await portal.knex('sso_logout_tokens')).toEqual([])
    const line = portal.logs.find(({ message }) => message === 'a front-channel logout was refused')!
    // The log must not contain session IDs.
    expect(JSON.stringify(line)).not.toContain('session-1')
  })

  it('a session of another provider or portal', async () => {
    await open({}, { portal: (req) => req.get('x-portal') ?? 'default' })
    const other = await startFaultyProvider({ clientId: 'other' })
    await portal.connect(other, { slug: 'other', frontChannelLogout: true })
    await portal.connect(provider, { portal: 'south', frontChannelLogout: true })
    const visitor = await signIn()
    expect((await frame(right(), undefined, 'other')).status).toBe(400)
    expect((await frame({ iss: other.issuer, sid: 'session-1' }, undefined, 'other')).status).toBe(200)
    expect((await frame(right(), new Visitor({ 'x-portal': 'south' }))).status).toBe(200)
    expect(await isIn(visitor)).toBe(true)
    await other.close()
  })
})

describe('cookies of a front-channel logout request from the same site', () => {
  it('have no effect: the named session ends, and that of the browser stays valid', async () => {
    await open()
    const [bystander, named] = [await signIn('session-2'), await signIn('session-1')]
    const before = bystander.clone()
    const seen = await frame(right(), bystander)
    expect([seen.status, seen.headers.getSetCookie()]).toEqual([200, []])
    expect([await isIn(before), await isIn(named)]).toEqual([true, false])
    // A request without parameters does not end the browser's session either.
    expect((await frame('', bystander)).status).toBe(400)
    expect(await isIn(bystander)).toBe(true)
  })

  it('have no effect in the host’s own session store either', async () => {
    await open(
      {},
      {
        mount(app, sso) {
          const store = new MemoryStore()
          const more = { resave: true, saveUninitialized: true, rolling: true, unset: 'destroy' } as const
          app.use(session({ store, secret: 'of the host', ...more }))
          app.use(sso.router())
          app.use('/portal', sso.guard(), (_req, res) => {
            res.send('in')
          })
        },
      },
    )
    const [bystander, named] = [await signIn('session-2'), await signIn('session-1')]
    for (const who of [bystander, new Visitor()])
      expect((await frame(right(), who)).headers.getSetCookie()).toEqual([])
    expect([await isIn(bystander), await isIn(named)]).toEqual([true, false])
    expect((await frame({ ...right(), sid: 'session-2' }, bystander)).status).toBe(200)
    expect(await isIn(bystander)).toBe(false)
  })
})

describe('a front-channel logout request of Microsoft Entra ID, which sends no iss,', () => {
  let entra: EntraLookAlike

  beforeAll(async () => {
    entra = await startEntraLookAlike()
  })
  afterAll(() => entra.close())

  async function signInFrom(tid: string): Promise<Visitor> {
    entra.signsIn({ tid, email: 'ada@contoso.example', xms_edov: true, sid: `session-of-${tid}` })
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/entra`)
    expect(await isIn(visitor)).toBe(true)
    return visitor
  }

  it.each<[rows: string, tenant: string]>([
    ['one tenant', contoso],
    ['many tenants', 'organizations'],
  ])('ends only the named session (a row for %s)', async (_rows, tenant) => {
    await open()
    const row = { slug: 'entra', frontChannelLogout: true, ...entra.row(tenant) }
    await portal.connect(entra, row)
    await portal.sso.users.create({ email: 'ada@contoso.example', name: 'Ada', fields: {} })
    const ada = await signInFrom(contoso)
    const sid = `session-of-${contoso}`
    expect((await frame({ sid: 'another' }, undefined, 'entra')).status).toBe(200)
    expect((await frame({ iss: entra.issuerOf(fabrikam), sid }, undefined, 'entra')).status).toBe(
      tenant === contoso ? 400 : 200,
    )
    expect(await isIn(ada)).toBe(true)
    expect((await frame({ sid }, undefined, 'entra')).status).toBe(200)
    expect(await isIn(ada)).toBe(false)
    const again = await signInFrom(contoso)
    expect((await frame({ iss: entra.issuerOf(contoso), sid }, undefined, 'entra')).status).toBe(200)
    expect(await isIn(again)).toBe(false)
  })

  it('ends no session with the same ID from another provider, and stops a sign-in in progress', async () => {
    await open()
    await portal.connect(entra, { slug: 'entra', frontChannelLogout: true, ...entra.row('organizations') })
    await portal.sso.users.create({ email: 'ada@contoso.example', name: 'Ada', fields: {} })
    const elsewhere = await signIn('session-1')
    let goOn = () => {}
    entra.faults.tokenWaitsFor = new Promise<void>((resolve) => {
      goOn = resolve
    })
    entra.signsIn({ email: 'ada@contoso.example', xms_edov: true, sid: 'session-1' })
    entra.requests.length = 0
    const visitor = new Visitor()
    const arriving = visitor.open(`${portal.url}/login/entra`)
    while (!entra.requests.some(({ path }) => path.endsWith('/token'))) await sleep(5)
    expect((await frame({ sid: 'session-1' }, undefined, 'entra')).status).toBe(200)
    goOn()
    expect((await arriving).status).toBe(403)
    expect([await isIn(visitor), await isIn(elsewhere)]).toEqual([false, true])
  })
})

describe('the option frontChannelLogout', () => {
  it('is off by default, is exported with the provider, and does not affect sign-in', async () => {
    portal = await startPortal()
    await portal.connect(provider)
    const { providers } = portal.sso
    expect(await providers.find('acme')).toMatchObject({ frontChannelLogout: false })
    const before = await providers.find('acme')
    const after = await providers.update('acme', { frontChannelLogout: true })
    expect(after).toMatchObject({ frontChannelLogout: true, testSignInAt: before!.testSignInAt })
    expect(JSON.stringify(await providers.export())).toContain('"frontChannelLogout":true')
    expect((await providers.update('acme', { frontChannelLogout: null })).frontChannelLogout).toBe(false)
    expect(providers.frontChannelLogoutUri('acme')).toBe(`${portal.url}/logout/acme/frontchannel`)
  })

  it('is mentioned by the connection test if the provider announces only this kind', async () => {
    provider.faults.discovery = { frontchannel_logout_supported: true }
    await open({ frontChannelLogout: false })
    const { checks } = await portal.sso.providers.test('acme')
    expect(checks.find(({ name }) => name === 'back-channel')!.message).toMatch(/but front-channel logout/)
  })

  it('is reported as enabled by the connection test if it is', async () => {
    provider.faults.discovery = { frontchannel_logout_supported: true }
    await open()
    const { checks } = await portal.sso.providers.test('acme')
    expect(checks.find(({ name }) => name === 'back-channel')).toMatchObject({
      result: 'ok',
      message: expect.stringContaining('announces front-channel logout'),
    })
  })
})
