import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { EventKind, EventOf, PortalEvent, ProblemCode } from '../../lib/index.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { mountDefault, startPortal, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(() => provider.reset())
afterEach(() => portal.close())

async function open(options: TestPortalOptions = {}): Promise<void> {
  portal = await startPortal(options)
  await portal.connect(provider)
}

/** Collects the events of a kind. */
function hear<Kind extends EventKind>(kind: Kind): EventOf<Kind>[] {
  const heard: EventOf<Kind>[] = []
  const listen = (event: PortalEvent) => heard.push(event as EventOf<Kind>)
  portal.sso.events.on(kind, listen as never)
  return heard
}

const all = [
  'signed-in',
  'signed-out',
  'sign-in-failed',
  'linked',
  'registered',
  'provider-changed',
  'provider-removed',
] as const

describe('every action is one row and one event', () => {
  it('a registration, a sign-out, a link, a failed sign-in, a changed and a removed provider', async () => {
    await open()
    const heard: string[] = []
    for (const kind of all) portal.sso.events.on(kind, () => heard.push(kind))
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    await visitor.post(`${portal.url}/register`, { name: 'Ada' })
    await visitor.post(`${portal.url}/logout`)
    provider.person = { sub: 'ada at another one', email: 'ada@example.com', email_verified: true }
    await new Visitor().open(`${portal.url}/login/acme`)
    provider.faults.claims = { nonce: 'another' }
    await new Visitor().open(`${portal.url}/login/acme`)
    await portal.sso.providers.disable('acme')
    await portal.sso.providers.remove('acme')
    expect(heard).toEqual([
      'registered',
      'signed-in',
      'signed-out',
      'linked',
      'signed-in',
      'sign-in-failed',
      'provider-changed',
      'provider-removed',
    ])
    const rows = await portal.knex('sso_events').whereNot({ kind: 'provider-connected' }).pluck('kind')
    expect(rows.sort()).toEqual(heard.sort())
  })

  it('has the fields of its kind in TypeScript, without a cast', async () => {
    await open()
    const codes: (ProblemCode | 'logout_token_invalid')[] = []
    const users: string[] = []
    const changes: string[] = []
    portal.sso.events.on('sign-in-failed', (event) => codes.push(event.detail.code))
    portal.sso.events.on('signed-in', (event) => users.push(event.userId))
    portal.sso.events.on('provider-changed', (event) => changes.push(event.provider + event.detail.change))
    const ada = await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada', fields: {} })
    await new Visitor().open(`${portal.url}/login/acme`)
    await new Visitor().get(`${portal.url}/login/acme/callback?code=x&state=x`)
    await portal.sso.providers.disable('acme')
    expect({ codes, users, changes }).toEqual({
      codes: ['attempt_expired'],
      users: [ada.id],
      changes: ['acmedisabled'],
    })
  })

  it.each([
    ['a post from another site', '/logout', 'cross_site_request', { 'sec-fetch-site': 'cross-site' }],
    ['a post to the classic login', '/password-login', 'classic_login_disabled', {}],
  ])('a refusal of %s', async (_what, path, code, headers) => {
    await open({
      mount(app, sso) {
        mountDefault(app, sso)
        app.post('/password-login', sso.classicLoginGate())
      },
    })
    const heard = hear('sign-in-failed')
    const { status, body } = await new Visitor().post(portal.url + path, {}, headers)
    expect(status).toBe(403)
    expect(heard).toMatchObject([{ portal: 'default', clientAddress: '127.0.0.0/24', detail: { code } }])
    expect(body).toContain(heard[0]!.reference)
    expect(await portal.knex('sso_events').where({ reference: heard[0]!.reference })).toHaveLength(1)
  })

  it('has the exact reason under the reference that the user saw', async () => {
    await open()
    const heard = hear('sign-in-failed')
    provider.faults.signature = 'bad'
    const { body } = await new Visitor().open(`${portal.url}/login/acme`)
    expect(heard).toHaveLength(1)
    expect(body).toContain(heard[0]!.reference)
    expect(heard[0]!.detail).toMatchObject({
      code: 'response_invalid',
      reason: expect.stringMatching(/signature/),
    })
  })
})

describe('the client address', () => {
  const behindProxy: TestPortalOptions = {
    mount(app, sso) {
      app.set('trust proxy', 'loopback')
      mountDefault(app, sso)
    },
  }
  /** Addresses in the rows and events of a failed sign-in, a registration, a sign-in and a sign-out. */
  async function keptOf(address: string, options: TestPortalOptions): Promise<unknown[]> {
    await open({ ...behindProxy, ...options })
    const heard = [hear('sign-in-failed'), hear('registered'), hear('signed-in'), hear('signed-out')]
    const visitor = new Visitor({ 'x-forwarded-for': address })
    await visitor.get(`${portal.url}/login/nope`)
    await visitor.open(`${portal.url}/login/acme`)
    await visitor.post(`${portal.url}/register`, { name: 'Ada' })
    await visitor.post(`${portal.url}/logout`)
    const rows = await portal.knex('sso_events').whereNot({ kind: 'provider-connected' })
    expect(rows).toHaveLength(4)
    return [
      ...new Set([
        ...rows.map((row) => row.client_address),
        ...heard.flat().map((e) => e.clientAddress ?? null),
      ]),
    ]
  }

  it.each([
    ['203.0.113.77', undefined, '203.0.113.0/24'],
    ['203.0.113.77', 'shortened', '203.0.113.0/24'],
    ['203.0.113.77', 'full', '203.0.113.77'],
    ['203.0.113.77', 'none', null],
    ['::ffff:203.0.113.77', 'shortened', '203.0.113.0/24'],
    ['::ffff:203.0.113.77', 'full', '203.0.113.77'],
    ['2001:db8:12:34:56:78:9a:bc', 'shortened', '2001:db8:12::/48'],
    ['2001:DB8:12:34:56:78:9a:bc', 'full', '2001:db8:12:34:56:78:9a:bc'],
    ['2001:db8:12:34:56:78:9a:bc', 'none', null],
    ["'; drop table sso_events --", 'full', null],
  ] as const)('%s, with the option %s, is stored as %s', async (address, clientAddress, kept) => {
    const events = clientAddress && { clientAddress }
    expect(await keptOf(address, events ? { events } : {})).toEqual([kept])
  })
})

describe('untrusted text', () => {
  const nasty =
    'x\r\n2026-01-01 [admin] signed in\u001b[2J\u001b]0;pwned\u0007\u2028\u2029\u0085\u202e\u0000\ud800'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must not be there
  const unseen = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u200b-\u200f\ud800-\udfff]/

  /** A host's logger that writes plain text. */
  function plainLogger() {
    const lines: string[] = []
    const write = (fields: object, message: string) => {
      lines.push(
        `${message} ${Object.entries(fields)
          .map(([name, value]) => `${name}=${String(value)}`)
          .join(' ')}`,
      )
    }
    return { lines, logger: { info: write, warn: write, error: write } }
  }

  it('cannot forge log lines or events', async () => {
    const { lines, logger } = plainLogger()
    await open({ logger, portal: (req) => (req.get('x-portal') ? nasty : 'default') })
    const heard = hear('sign-in-failed')
    const written = encodeURIComponent(nasty.slice(0, -1))
    const visitor = new Visitor({ 'user-agent': 'x\u0085\u009b2J' })
    await visitor.get(`${portal.url}/login/${written}`)
    await visitor.get(`${portal.url}/login/acme?returnTo=${written}&account=${written}`)
    await visitor.get(`${portal.url}/login/acme/callback?code=x&state=${written}`)
    await visitor.get(`${portal.url}/login/acme/callback?code=x&state=x&${written}=1&${written}=2`)
    await visitor.post(`${portal.url}/logout`, {}, { 'sec-fetch-site': 'x\u0085y', origin: 'x\u009b2J' })
    await visitor.get(`${portal.url}/login`, { 'x-portal': '1' })
    for (const faults of [
      { authorizeError: { error: nasty, error_description: nasty } },
      { tokenError: { status: 400, body: { error: nasty, error_description: nasty } } },
      { tokenError: { status: 401, body: { error: 'invalid_client', error_description: nasty } } },
      { tokenResponse: { status: 400, body: nasty } },
      { tokenResponse: { status: 200, body: `{"id_token": ${nasty}` } },
      { claims: { iss: nasty } },
      { claims: { sub: nasty } },
      { claimsInUserinfoOnly: true as const, userinfoResponse: { status: 400, body: nasty } },
      { header: { kid: nasty, alg: nasty } },
    ]) {
      provider.reset()
      Object.assign(provider.faults, faults)
      await visitor.open(`${portal.url}/login/acme`)
    }
    const details = heard.flatMap(({ detail }) => Object.values(detail))
    const rows = (await portal.knex('sso_events')).flatMap((row) => Object.values(row)) as unknown[]
    const texts = [...lines, ...details, ...rows.filter((value) => typeof value === 'string')]
    expect(heard.length).toBeGreaterThan(10)
    expect(lines.length).toBeGreaterThan(heard.length)
    expect(texts.filter((text) => unseen.test(text))).toEqual([])
    expect(texts.filter((text) => text.length > 2000)).toEqual([])
    // The attempt is still readable.
    expect(texts.some((text) => text.includes('[admin]'))).toBe(true)
  })
})
