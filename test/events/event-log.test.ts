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
function collect<Kind extends EventKind>(kind: Kind): EventOf<Kind>[] {
  const received: EventOf<Kind>[] = []
  const listen = (event: PortalEvent) => received.push(event as EventOf<Kind>)
  portal.sso.events.on(kind, listen as never)
  return received
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
  it('registration, sign-out, link, failed sign-in, and a changed and removed provider', async () => {
    await open()
    const received: string[] = []
    for (const kind of all) portal.sso.events.on(kind, () => received.push(kind))
    const visitor = new Visitor()
    await visitor.open(`${portal.url}/login/acme`)
    await visitor.post(`${portal.url}/register`, { name: 'Ada' })
    await visitor.post(`${portal.url}/logout`)
    const other = await startFaultyProvider()
    await portal.connect(other, { slug: 'other' })
    await new Visitor().open(`${portal.url}/login/other`)
    await other.close()
    provider.faults.claims = { nonce: 'another' }
    await new Visitor().open(`${portal.url}/login/acme`)
    await portal.sso.providers.disable('acme')
    await portal.sso.providers.remove('acme')
    expect(received).toEqual([
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
    expect(rows.sort()).toEqual(received.sort())
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
    const received = collect('sign-in-failed')
    const { status, body } = await new Visitor().post(portal.url + path, {}, headers)
    expect(status).toBe(403)
    expect(received).toMatchObject([{ portal: 'default', clientAddress: '127.0.0.0/24', detail: { code } }])
    expect(body).toContain(received[0]!.reference)
    expect(await portal.knex('sso_events').where({ reference: received[0]!.reference })).toHaveLength(1)
  })

  it('has the exact reason under the reference that the user saw', async () => {
    await open()
    const received = collect('sign-in-failed')
    provider.faults.signature = 'bad'
    const { body } = await new Visitor().open(`${portal.url}/login/acme`)
    expect(received).toHaveLength(1)
    expect(body).toContain(received[0]!.reference)
    expect(received[0]!.detail).toMatchObject({
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
  /** The addresses in the rows and events of a failed sign-in, a registration, a sign-in and a sign-out. */
  async function storedAddresses(address: string, options: TestPortalOptions): Promise<unknown[]> {
    await open({ ...behindProxy, ...options })
    const received = [
      collect('sign-in-failed'),
      collect('registered'),
      collect('signed-in'),
      collect('signed-out'),
    ]
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
        ...received.flat().map((e) => e.clientAddress ?? null),
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
  ] as const)('%s, with the option %s, is stored as %s', async (address, clientAddress, stored) => {
    const events = clientAddress && { clientAddress }
    expect(await storedAddresses(address, events ? { events } : {})).toEqual([stored])
  })
})

describe('untrusted text', () => {
  const nasty =
    'x\r\n2026-01-01 [admin] signed in\u001b[2J\u001b]0;pwned\u0007\u2028\u2029\u0085\u202e\u0000\ud800'
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the test looks for these characters
  const invisible = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u200b-\u200f\ud800-\udfff]/

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
    const received = collect('sign-in-failed')
    const encoded = encodeURIComponent(nasty.slice(0, -1))
    const visitor = new Visitor({ 'user-agent': 'x\u0085\u009b2J' })
    await visitor.get(`${portal.url}/login/${encoded}`)
    await visitor.get(`${portal.url}/login/acme?returnTo=${encoded}&account=${encoded}`)
    await visitor.get(`${portal.url}/login/acme/callback?code=x&state=${encoded}`)
    await visitor.get(`${portal.url}/login/acme/callback?code=x&state=x&${encoded}=1&${encoded}=2`)
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
    const details = received.flatMap(({ detail: { code, reason } }) => [code, reason])
    const rows = (await portal.knex('sso_events')).flatMap((row) => Object.values(row)) as unknown[]
    const texts = [...lines, ...details, ...rows.filter((value) => typeof value === 'string')]
    expect(received.length).toBeGreaterThan(10)
    expect(lines.length).toBeGreaterThan(received.length)
    expect(texts.filter((text) => invisible.test(text))).toEqual([])
    expect(texts.filter((text) => text.length > 2000)).toEqual([])
    // The rest of the text is still readable.
    expect(texts.some((text) => text.includes('[admin]'))).toBe(true)
  })
})
