import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import type { Request } from 'express'
import { RefusalLog } from '../../lib/events/refusal-log.ts'
import { consoleLogger } from '../../lib/shared/logger.ts'
import { type Clock, takeClock } from '../support/clock.ts'
import { mountDefault, type TestPortal, type TestPortalOptions } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
let portal: TestPortal
let clock: Clock

const options: TestPortalOptions = {
  rateLimits: { records: 5 },
  mount(app, sso) {
    app.set('trust proxy', 'loopback')
    app.use('/admin', sso.admin({ authorize: () => false }))
    mountDefault(app, sso)
    app.post('/password-login', sso.classicLoginGate())
  },
  portal(req) {
    const name = req.get('x-portal') ?? 'default'
    if (name === 'unknown') throw new Error('no portal has this host')
    return name
  },
}

beforeEach(async () => {
  provider.person.sid = 'session-1'
  portal = await startPortalWithAda(provider, options)
  await portal.sso.providers.update('acme', { frontChannelLogout: true })
  portal.logs.length = 0
  clock = takeClock()
})
afterEach(async () => {
  clock.back()
  await portal.close()
})

const attacker = () => new Visitor({ 'x-forwarded-for': '203.0.113.7' })
const get = async (path: string, headers?: Record<string, string>) =>
  await attacker().get(portal.url + path, headers)
const frontChannel = (sid: string) =>
  `/logout/acme/frontchannel?${new URLSearchParams({ iss: provider.issuer, sid })}`

const refusals = () => portal.knex('sso_events').whereIn('kind', ['sign-in-failed', 'rate-limited'])
const notices = () => portal.knex('sso_logout_tokens')
const summaries = async () =>
  (await portal.knex('sso_events').where({ kind: 'rate-limited' })).map(
    ({ portal, client_address, detail }) => ({
      portal,
      client_address,
      ...(JSON.parse(detail) as object),
    }),
  )

/** Without the line about the time, which jumps in these tests, but not in the database. */
const withoutClock = (logs: TestPortal['logs']) =>
  logs.filter(({ message }) => !message.startsWith('the clock of this server'))

/** A request that no session is needed for, and the records that its first one causes. */
const requests: [
  what: string,
  send: (n: number) => Promise<unknown>,
  events: number,
  logs: number,
  rows: number,
][] = [
  ['a malformed path', () => get('/login/%ff'), 0, 1, 0],
  ['an unknown host', () => get('/login', { 'x-portal': 'unknown' }), 0, 1, 0],
  ['an invalid host', () => get('/login', { 'x-portal': 'PORTAL' }), 0, 1, 0],
  ['a hidden admin page', () => get('/admin/acme'), 0, 1, 0],
  ['an unknown provider', (n) => get(`/login/nope-${n}`), 1, 1, 0],
  ['a forged authorization response', (n) => get(`/login/acme/callback?code=x&state=${n}`), 1, 1, 0],
  ['an image of another site', () => get('/login/acme', { 'sec-fetch-mode': 'no-cors' }), 1, 1, 0],
  ['a guessed link', (n) => get(`/login/break-glass?token=${n}`), 1, 1, 0],
  ['a forged consent', () => get('/login/acme/admin-consent/callback?error=x'), 1, 1, 0],
  ['a front-channel logout', (n) => get(frontChannel(`made-up-${n}`)), 0, 0, 1],
  ['a refused front-channel logout', () => get('/logout/acme/frontchannel?sid=x'), 0, 1, 0],
  [
    'a cross-site post',
    () => attacker().post(`${portal.url}/logout`, {}, { 'sec-fetch-site': 'cross-site' }),
    1,
    1,
    0,
  ],
  ['a password', () => attacker().post(`${portal.url}/password-login`, {}), 1, 1, 0],
  [
    'a forged logout token',
    (n) => attacker().post(`${portal.url}/logout/acme/backchannel`, { logout_token: `${n}` }),
    1,
    1,
    0,
  ],
]

describe('a client address without a session causes a limited number of records a minute', () => {
  it.each(requests)('by %s', async (_what, send, events, logs, rows) => {
    const number = async () => [(await refusals()).length, portal.logs.length, (await notices()).length]
    await send(0)
    expect(await number()).toEqual([events, logs, rows])
    for (let n = 1; n < 9; n++) await send(n)
    expect(await number()).toEqual([5 * events, 5 * logs, 5 * rows])
  })

  it('by all of them together', async () => {
    for (let round = 0; round < 2; round++)
      for (const [n, [, send]] of requests.entries()) await send(round * 100 + n)
    expect([(await refusals()).length, portal.logs.length, (await notices()).length]).toEqual([1, 5, 0])
  })

  it('and one summary', async () => {
    for (let n = 0; n < 12; n++) await get('/login/nope')
    await portal.sso.runMaintenance()
    expect(await summaries()).toEqual([])
    clock.pass(60_000)
    await portal.sso.runMaintenance()
    await portal.sso.runMaintenance()
    expect(await summaries()).toEqual([
      { portal: 'default', client_address: '203.0.113.0/24', limit: 'records', omitted: 7 },
    ])
    expect(withoutClock(portal.logs).slice(5)).toEqual([
      {
        level: 'warn',
        message: 'records of refused requests were omitted',
        fields: {
          reference: expect.any(String),
          portal: 'default',
          clientAddress: '203.0.113.0/24',
          omitted: 7,
        },
      },
    ])
  })

  it('and then again, after a summary, if it continues', async () => {
    for (let n = 0; n < 7; n++) await get('/login/nope')
    clock.pass(60_000)
    for (let n = 0; n < 6; n++) await get('/login/nope')
    clock.pass(60_000)
    await portal.sso.runMaintenance()
    expect(await summaries()).toMatchObject([{ omitted: 2 }, { omitted: 1 }])
    expect(await refusals().where({ kind: 'sign-in-failed' })).toHaveLength(10)
  })

  it('of which the log line is the only summary for hosts that are no portal', async () => {
    for (let n = 0; n < 7; n++) await get('/login', { 'x-portal': 'unknown' })
    clock.pass(60_000)
    await portal.sso.runMaintenance()
    expect(await summaries()).toEqual([])
    expect(withoutClock(portal.logs).slice(5)).toMatchObject([{ fields: { omitted: 2 } }])
  })
})

describe('beyond the budget of a client address', () => {
  beforeEach(async () => {
    for (let n = 0; n < 5; n++) await get('/login/nope')
  })

  it('pages show no reference, because there is no record with it', async () => {
    const page = await get('/login/nope')
    expect(page.status).toBe(404)
    expect(page.body).toContain('href="/login"')
    expect(page.body).not.toContain('sso-reference')
  })

  it('other client addresses have their own', async () => {
    const page = await new Visitor({ 'x-forwarded-for': '203.0.113.8' }).get(`${portal.url}/login/nope`)
    expect(page.body).toContain('sso-reference')
    expect(await refusals()).toHaveLength(6)
  })

  it('requests of signed-in users are recorded', async () => {
    const visitor = attacker()
    await visitor.open(`${portal.url}/login/acme`)
    const page = await visitor.get(`${portal.url}/login/nope`)
    expect(page.body).toContain('sso-reference')
    expect(await refusals()).toHaveLength(6)
  })

  it('sign-ins, registrations and sign-outs are recorded', async () => {
    const visitor = attacker()
    await visitor.open(`${portal.url}/login/acme`)
    await visitor.post(`${portal.url}/logout`)
    const kinds = await portal.knex('sso_events').whereIn('kind', ['signed-in', 'signed-out']).pluck('kind')
    expect(kinds.sort()).toEqual(['signed-in', 'signed-out'])
  })

  it('a front-channel logout still ends its session', async () => {
    const visitor = attacker()
    await visitor.open(`${portal.url}/login/acme`)
    expect((await get(frontChannel('session-1'))).status).toBe(200)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
    expect(await notices()).toEqual([])
  })
})

it('more than 10,000 client addresses in a minute share one budget, so that memory is bounded', () => {
  const log = new RefusalLog({ logger: consoleLogger, breakers: undefined as never }, undefined as never, 2)
  const admits = (n: number) => log.admits({ ip: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` } as Request)
  expect(Array.from({ length: 10_000 }, (_, n) => admits(n))).not.toContain(false)
  expect([admits(10_000), admits(10_001), admits(10_002), admits(0), admits(0)]).toEqual([
    true,
    true,
    false,
    true,
    false,
  ])
})
