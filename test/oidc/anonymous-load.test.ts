import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { type Clock, takeClock, takeTimers } from '../support/clock.ts'
import { closedAfterEach } from '../support/closed-after-each.ts'
import type { Faults } from '../support/faulty-provider.ts'
import { signLogoutToken } from '../support/logout-token.ts'
import { mountDefault, type TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { signal } from '../support/signal.ts'
import { type Seen, Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open = closedAfterEach()
let portal: TestPortal

beforeEach(async () => {
  portal = await startPortalWithAda(provider, {
    rateLimits: {},
    mount(app, sso) {
      app.set('trust proxy', 'loopback')
      mountDefault(app, sso)
    },
  })
  open.push(portal)
  provider.requests.length = 0
})

const from = (address: string) => new Visitor({ 'x-forwarded-for': address })
const attackers = ['198.51.100.1', '198.51.100.2', '198.51.100.3']
const office = '203.0.113.7'

/** Starts a sign-in, and returns the URL of the callback with the provider's code or a made-up one. */
async function startSignIn(
  visitor: Visitor,
  { code, slug = 'acme' }: { code?: string; slug?: string | undefined } = {},
) {
  const start = await visitor.get(`${portal.url}/login/${slug}?returnTo=/portal`)
  const callback = new URL((await visitor.get(start.location!)).location!)
  if (code !== undefined) callback.searchParams.set('code', code)
  return callback.href
}

async function sendMadeUpCode(address: string, slug?: string): Promise<Seen> {
  const visitor = from(address)
  return await visitor.get(await startSignIn(visitor, { code: `made-up-by-${address}`, slug }))
}

const signIn = async (address: string) =>
  await from(address).open(`${portal.url}/login/acme?returnTo=/portal`)
const sent = (path: string) => provider.requests.filter((request) => request.path === path)

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate()
}

describe('made-up codes at an honest but slow provider', () => {
  /** Each lets the provider answer one token request, oldest first. */
  let held: (() => void)[]
  let timers: Clock
  afterEach(() => timers.back())
  beforeEach(() => {
    timers = takeTimers()
    held = []
    Object.defineProperty(provider.faults, 'tokenWaitsFor' satisfies keyof Faults, {
      configurable: true,
      enumerable: true,
      get() {
        const { given, give } = signal()
        held.push(give)
        return given
      },
    })
  })

  it.each([1, 3])(
    'from %i address(es) do not delay a sign-in from another one',
    async (count) => {
      const attack = (codes: number) =>
        attackers
          .slice(0, count)
          .flatMap((address) => Array.from({ length: codes }, () => sendMadeUpCode(address)))
      // Three quarters of the 32 connections, then more codes that wait.
      const attacks = attack(24 / count)
      await until(() => held.length === 24)
      attacks.push(...attack(30))
      const visitor = from(office)
      const signedIn = visitor.open(await startSignIn(visitor))
      await until(() => sent('/token').some(({ body }) => !body.includes('made-up')))
      // The provider has not answered any of them.
      expect(sent('/token')).toHaveLength(25)
      delete provider.faults.tokenWaitsFor
      for (const answer of held) answer()
      expect((await signedIn).url).toBe(`${portal.url}/portal`)
      expect(new Set((await Promise.all(attacks)).map(({ status }) => status))).toEqual(new Set([400]))
    },
    30_000,
  )
})

describe('the budget for failed code exchanges', () => {
  let clock: Clock
  beforeEach(() => {
    clock = takeClock()
  })
  afterEach(() => clock.back())

  const failures = async (times: number, slug?: string) => {
    const seen = Array.from({ length: times }, () => sendMadeUpCode(office, slug))
    return (await Promise.all(seen)).map(({ status }) => status)
  }
  const signInStatus = async (address = office) => (await signIn(address)).status

  it('refuses further codes of the address before they reach the provider', async () => {
    expect(await failures(61)).toEqual(Array(61).fill(400))
    const visitor = from(office)
    const callback = await startSignIn(visitor)
    const page = await visitor.get(callback)
    expect([page.status, page.headers.get('retry-after')]).toEqual([429, '60'])
    expect(await failures(10)).toEqual(Array(10).fill(429))
    expect(sent('/token')).toHaveLength(61)
    // Other addresses are not affected.
    expect(await signInStatus('203.0.113.8')).toBe(200)
    const events = await portal.knex('sso_events').where({ kind: 'rate-limited' })
    expect(events.map(({ detail }) => detail)).toEqual(['{"limit":"failed-exchange"}'])
    // The refused sign-in was not used up.
    clock.pass(60_000)
    expect((await visitor.open(callback)).url).toBe(`${portal.url}/portal`)
  })

  it('is not used up by 60 failures, by successes or by another provider', async () => {
    await portal.connect(provider, { slug: 'other' })
    expect(await failures(61, 'other')).toEqual(Array(61).fill(400))
    expect(await failures(60)).toEqual(Array(60).fill(400))
    for (let n = 0; n < 3; n++) expect(await signInStatus()).toBe(200)
    expect((await sendMadeUpCode(office, 'other')).status).toBe(429)
  })

  it.each<[string, Faults]>([
    ['HTML', { tokenResponse: { headers: { 'content-type': 'text/html' }, body: '<!doctype html>' } }],
    ['an error without a name', { tokenError: { body: { message: 'wrong code' } } }],
  ])('is used up by a malformed token response: %s', async (_what, faults) => {
    Object.assign(provider.faults, faults)
    await failures(61)
    provider.reset()
    expect(await signInStatus()).toBe(429)
  })

  it.each<[string, number, Faults]>([
    ['a wrong client secret', 502, { tokenError: { body: { error: 'invalid_client' } } }],
    ['a wrong client secret, with a challenge', 502, { clientSecrets: ['another one'] }],
    ['a wrong client secret, without a body', 502, { tokenError: { status: 401, body: {} } }],
    ['a refused scope', 502, { tokenError: { body: { error: 'invalid_scope' } } }],
    ['status 503', 502, { tokenResponse: { status: 503, body: 'down' } }],
    ['status 429', 502, { tokenResponse: { status: 429, body: 'slow down' } }],
    ['no response', 502, { tokenDrop: true }],
    ['an invalid ID token', 400, { claims: { nonce: 'another' } }],
  ])('is not used up by %s', async (_what, status, faults) => {
    Object.assign(provider.faults, faults)
    const seen = await Promise.all(Array.from({ length: 62 }, () => signIn(office)))
    expect(seen.map((each) => each.status)).toEqual(Array(62).fill(status))
    provider.reset()
    // The circuit breaker closes. If a probe has confirmed an outage, the user continues anyway.
    clock.pass(10_000)
    const page = await from(office).open(`${portal.url}/login/acme?returnTo=/portal&anyway=1`)
    expect(page.status).toBe(200)
  })
})

describe('the keys of a provider', () => {
  it('are cached: a returning user’s callback sends one request to the provider', async () => {
    await signIn(office)
    provider.requests.length = 0
    expect((await signIn(office)).status).toBe(200)
    const requests = provider.requests.map(({ method, path }) => `${method} ${path}`)
    expect(requests).toEqual(['GET /authorize', 'POST /token'])
  })

  it('are requested after the token response has arrived, so that a key of this moment is found', async () => {
    const { given, give } = signal()
    provider.faults.tokenWaitsFor = given
    const signedIn = signIn(office)
    await until(() => sent('/token').length === 1)
    for (let n = 0; n < 20; n++) await setImmediate()
    expect(sent('/jwks')).toEqual([])
    give()
    expect((await signedIn).status).toBe(200)
    expect(sent('/jwks')).toHaveLength(1)
  })

  it('are kept when the metadata is read again, and dropped when the provider is enabled or changed', async () => {
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    await signIn(office)
    clock.pass(3_599_000)
    await signIn(office)
    clock.pass(2000)
    provider.requests.length = 0
    await signIn(office)
    expect(sent('/.well-known/openid-configuration')).toHaveLength(1)
    expect(sent('/jwks')).toEqual([])
    await portal.sso.providers.enable('acme')
    provider.requests.length = 0
    await signIn(office)
    expect(sent('/jwks')).toHaveLength(1)
  })

  it.each([429, 500, 503])('that respond with status %i make the provider unavailable', async (status) => {
    provider.faults.jwksResponse = { status, body: '{}' }
    expect((await signIn(office)).status).toBe(502)
    expect(portal.logs.at(-1)!.fields).toMatchObject({ code: 'provider_unavailable' })
    expect(portal.logs.at(-1)!.fields.cause).toContain(`the key set responded with status ${status}`)
  })

  it('stay in use for an hour while the provider cannot publish them', async () => {
    const clock = takeClock()
    open.push({ close: () => clock.back() })
    await signIn(office)
    provider.faults.jwksResponse = { status: 503, body: '{}' }
    clock.pass(3_599_000)
    expect((await signIn(office)).status).toBe(200)
    clock.pass(1000)
    expect((await signIn(office)).status).toBe(502)
  })
})

describe('100 forged logout tokens', () => {
  async function deliver(token: string): Promise<number> {
    const seen = await new Visitor().post(`${portal.url}/logout/acme/backchannel`, { logout_token: token })
    return seen.status
  }

  async function forge(): Promise<number[]> {
    const tokens = Array.from({ length: 100 }, async (_, n) => {
      const fault = n % 2 ? ({ kid: 'unknown' } as const) : ({ signature: 'foreign-key' } as const)
      return await deliver(await signLogoutToken(provider, { sub: 'ada' }, fault))
    })
    return await Promise.all(tokens)
  }

  it.each(['before', 'after'])('cause one request for keys %s the first sign-in', async (when) => {
    if (when === 'after') await signIn(office)
    provider.requests.length = 0
    expect(await forge()).toEqual(Array(100).fill(400))
    expect(await forge()).toEqual(Array(100).fill(400))
    expect(sent('/jwks')).toHaveLength(1)
  })

  it('cause one request for keys that the provider does not send', async () => {
    provider.faults.jwksResponse = { status: 503, body: '{}' }
    expect(await forge()).toEqual(Array(100).fill(503))
    expect(sent('/jwks')).toHaveLength(1)
  })

  it('do not delay a sign-in just after a key rotation', async () => {
    await signIn(office)
    await forge()
    await provider.rotateKeys()
    await forge()
    expect((await signIn(office)).status).toBe(200)
    // The sign-in has fetched the new key for logout tokens, too.
    expect(await deliver(await signLogoutToken(provider, { sub: 'ada' }))).toBe(200)
  })
})
