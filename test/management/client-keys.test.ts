import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { JWK } from 'jose'
import { startIdentityProvider } from '../../examples/identity-provider.ts'
import { ProviderTestError } from '../../lib/management/save-provider.ts'
import { type ClientKey, keyAlgorithmFor, keysWithState } from '../../lib/providers/client-key.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import { type Clock, takeClock } from '../support/clock.ts'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { formIn, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal
let clock: Clock | undefined

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  portal = await startPortal()
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterEach(async () => {
  clock?.back()
  clock = undefined
  await portal.close()
})

const hour = 3_600_000
const visitor = () => new Visitor()
const keysAt = () => portal.sso.providers.jwksUri('acme')
const published = async () =>
  (JSON.parse((await visitor().get(keysAt())).body) as { keys: (JWK & { kid: string })[] }).keys

/** The provider accepts only client assertions, and fetches the keys from the portal's JWKS URI. */
async function connect(settings: object = {}): Promise<void> {
  provider.faults.clientKeysAt = keysAt()
  await portal.connect(provider, { clientSecret: undefined, ...settings })
}

async function signsIn(): Promise<boolean> {
  const user = visitor()
  await user.open(`${portal.url}/login/acme`)
  return (await user.get(`${portal.url}/portal`)).status === 200
}

/** The header and claims of the last client assertion. */
function lastAssertion(): Record<string, unknown>[] {
  const { body } = provider.requests.findLast(({ path }) => path === '/token')!
  const parts = new URLSearchParams(body).get('client_assertion')!.split('.').slice(0, 2)
  return parts.map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>)
}

/** Moves the clock of the portal and the provider forward. */
function advanceClock(milliseconds: number): void {
  clock ??= takeClock()
  clock.pass(milliseconds)
}

describe('a provider that is connected with private_key_jwt', () => {
  it('signs users in without a client secret; only the portal has the private key', async () => {
    await connect()
    expect(await portal.sso.providers.find('acme')).toMatchObject({ clientAuthentication: 'private_key_jwt' })
    expect(await signsIn()).toBe(true)
    const [header, claims] = lastAssertion()
    const [key] = await published()
    expect(header).toMatchObject({ alg: 'RS256', kid: key!.kid })
    expect(claims).toMatchObject({ iss: provider.clientId, sub: provider.clientId, aud: provider.issuer })
    expect(Number(claims!.exp) - Number(claims!.iat)).toBeLessThanOrEqual(300)
  })

  it.each([
    [
      ['ES256', 'RS256'],
      ['ES256', 'RS256'],
    ],
    [['PS256'], ['PS256']],
    [['HS256', 'RS512'], ['RS512']],
  ])('that announces %j gets keys for %j, and signs with the first', async (announced, algs) => {
    provider.faults.discovery = { token_endpoint_auth_signing_alg_values_supported: announced }
    await connect()
    expect(await published()).toMatchObject(algs.map((alg) => ({ alg, use: 'sig' })))
    expect(await signsIn()).toBe(true)
    expect(lastAssertion()[0]).toMatchObject({ alg: algs[0] })
  })

  it('has only public members in its JWKS, cacheable for five minutes, even while it is disabled', async () => {
    await connect({ enabled: false })
    const { status, headers, body } = await visitor().get(keysAt())
    expect([status, headers.get('cache-control')]).toEqual([200, 'private, max-age=300'])
    expect(headers.get('content-type')).toContain('application/json')
    const { keys } = JSON.parse(body) as { keys: JWK[] }
    expect(keys.map((key) => Object.keys(key).sort())).toEqual([['alg', 'e', 'kid', 'kty', 'n', 'use']])
  })

  it('has only public members of an elliptic-curve key in its JWKS', async () => {
    provider.faults.discovery = { token_endpoint_auth_signing_alg_values_supported: ['ES256'] }
    await connect()
    const [key] = await published()
    expect(Object.keys(key!).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
  })

  it.each(['acme', 'nobody', 'ACME', '%00'])(
    'has no JWKS at the slug %s before it has keys',
    async (slug) => {
      await portal.connect(provider)
      const { status, headers } = await visitor().get(`${portal.url}/login/${slug}/jwks.json`)
      expect([status, headers.get('cache-control')]).toEqual([404, 'no-store'])
    },
  )

  it('has its private key sealed, bound to its row and column', async () => {
    await connect()
    const { id, client_keys } = await portal.knex('sso_providers').first()
    expect(client_keys).toMatch(/^eyJ[\w-]+\.\.[\w-]+\.[\w-]+\.[\w-]+$/)
    const [key] = await published()
    expect(JSON.stringify(await portal.knex('sso_providers'))).not.toContain(key!.n)
    // In the column of the client secret, the portal would send the key to the provider.
    await portal.knex('sso_providers').where({ id }).update({ client_secret: client_keys })
    await expect(portal.sso.providers.test('acme')).rejects.toThrow('was sealed under another SSO_SECRET')
  })

  it('has a test result that shows whether the provider has fetched the keys', async () => {
    const credentials = (checks: { name: string }[]) => checks.find(({ name }) => name === 'credentials')
    provider.faults.clientKeysAt = keysAt()
    const { issuer, clientId } = provider
    const draft = await portal.sso.providers.testUnsaved({ slug: 'acme', issuer, clientId })
    expect(credentials(draft.checks)).toMatchObject({
      result: 'warning',
      message: expect.stringMatching(/^not tested yet/),
    })
    await connect()
    expect(credentials((await portal.sso.providers.test('acme')).checks)).toMatchObject({
      result: 'ok',
      message: 'the provider knows the client by its key',
    })
    provider.faults.clientKeysAt = `${portal.url}/login/nobody/jwks.json`
    expect(credentials((await portal.sso.providers.test('acme')).checks)).toMatchObject({
      result: 'failed',
      hint: expect.stringContaining('enter the URL of the public keys'),
    })
  })

  it('is tested when its settings change: an unknown client ID is not saved', async () => {
    provider.faults.clientKeysAt = keysAt()
    await connect()
    const change = (changes: object) => portal.sso.providers.update('acme', changes)
    await expect(change({ clientId: 'another-client' })).rejects.toThrow(ProviderTestError)
    await change({ prompt: 'login' })
    const { lastTest } = (await portal.sso.providers.find('acme'))!
    expect(lastTest!.checks.find(({ name }) => name === 'credentials')).toMatchObject({ result: 'ok' })
  })

  it('may have had a client secret before, and keeps its key when the method changes back and forth', async () => {
    await portal.connect(provider)
    provider.faults.clientKeysAt = keysAt()
    const { providers } = portal.sso
    await providers.update('acme', { clientAuthentication: 'private_key_jwt' })
    const keys = await published()
    expect(await signsIn()).toBe(true)
    delete provider.faults.clientKeysAt
    await providers.update('acme', { clientAuthentication: 'client_secret_post' })
    expect(await signsIn()).toBe(true)
    provider.faults.clientKeysAt = keysAt()
    await providers.update('acme', { clientAuthentication: 'private_key_jwt', clientSecret: null })
    expect(await published()).toEqual(keys)
    expect(await signsIn()).toBe(true)
  })

  it('that quotes the assertion leaves no part of it in the log', async () => {
    await connect()
    provider.faults.tokenQuotes = true
    expect(await signsIn()).toBe(false)
    const { body } = provider.requests.findLast(({ path }) => path === '/token')!
    const assertion = new URLSearchParams(body).get('client_assertion')!
    const logged = JSON.stringify(portal.logs)
    expect(logged).toContain('invalid_grant')
    for (const part of assertion.split('.')) expect(logged).not.toContain(part.slice(0, 30))
  })
})

describe('a key rotation', () => {
  it('publishes the new key first, signs with it an hour later, and keeps the old key for a day', async () => {
    await connect()
    const [old] = await published()
    const { version } = (await portal.sso.providers.find('acme'))!
    const next = await portal.sso.providers.rotateClientKey('acme', { actor: 'grace' })
    expect(next).toMatchObject({ state: 'next', alg: 'RS256' })
    expect((await published()).map(({ kid }) => kid)).toEqual([old!.kid, next.kid])
    expect(await signsIn()).toBe(true)
    expect(lastAssertion()[0]).toMatchObject({ kid: old!.kid })
    advanceClock(hour + 1000)
    expect(await signsIn()).toBe(true)
    expect(lastAssertion()[0]).toMatchObject({ kid: next.kid })
    expect(await portal.sso.providers.clientKeys('acme')).toMatchObject([
      { kid: old!.kid, state: 'retired' },
      { kid: next.kid, state: 'signing' },
    ])
    advanceClock(25 * hour)
    expect((await published()).map(({ kid }) => kid)).toEqual([next.kid])
    // The version is unchanged, so the rotation interrupts no sign-in.
    expect(await portal.sso.providers.find('acme')).toMatchObject({ version })
    const event = await portal.knex('sso_events').where({ kind: 'provider-changed' }).first()
    expect(event).toMatchObject({ actor: 'grace', detail: expect.stringContaining(next.kid) })
  })

  it('applies on all instances at the same time', async () => {
    await connect()
    const another = await startPortal({ database: portal.knex })
    expect(await signsIn()).toBe(true)
    const { kid } = await another.sso.providers.rotateClientKey('acme')
    advanceClock(hour)
    expect(await signsIn()).toBe(true)
    expect(lastAssertion()[0]).toMatchObject({ kid })
    await another.close()
  })

  it('is refused while the next key is already published, if run twice concurrently, and without keys', async () => {
    await connect()
    const both = await Promise.allSettled([1, 2].map(() => portal.sso.providers.rotateClientKey('acme')))
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await published()).toHaveLength(2)
    await expect(portal.sso.providers.rotateClientKey('acme')).rejects.toThrow('is already published')
    await portal.connect(await startFaulty(), { slug: 'other' })
    const without = portal.sso.providers.rotateClientKey('other')
    await expect(without).rejects.toThrow(ManagementError)
    await expect(without).rejects.toThrow('"other" authenticates with client_secret_basic')
  })

  const others: FaultyProvider[] = []
  async function startFaulty(): Promise<FaultyProvider> {
    const other = await startFaultyProvider()
    others.push(other)
    return other
  }
  afterAll(() => Promise.all(others.map((other) => other.close())))
})

describe('the signing key', () => {
  const at = (hours: number): ClientKey => {
    return { from: new Date(hours * hour).toISOString(), kid: String(hours), alg: 'ES256', jwk: {} }
  }
  const states = (keys: ClientKey[], now: number) =>
    keysWithState(keys, now * hour).map(({ key, state }) => `${key.kid} ${state}`)

  it.each([
    [[], 5, []],
    [[0], 0, ['0 signing']],
    [[0, 10], 9.99, ['0 signing', '10 next']],
    [[0, 10], 10, ['0 retired', '10 signing']],
    [[0, 10], 33.99, ['0 retired', '10 signing']],
    [[0, 10], 34, ['10 signing']],
    [[10, 0, 20], 20, ['0 retired', '10 retired', '20 signing']],
    [[0, 10, 20], 34, ['10 retired', '20 signing']],
    // After the clock is set back, sign with the oldest key: the provider knows it longest.
    [[10, 20], 5, ['10 signing', '20 next']],
  ])('of keys valid from hours %j, at hour %d: %j', (from, now, expected) => {
    expect(states(from.map(at), now)).toEqual(expected)
  })

  it.each([
    [undefined, 'RS256'],
    ['RS256', 'RS256'],
    [['EdDSA', 'PS256'], 'PS256'],
    [['HS256'], undefined],
    [[], undefined],
  ])('uses an algorithm that the provider announces: for %j it is %s', (announced, alg) => {
    expect(keyAlgorithmFor(announced)).toBe(alg)
  })
})

describe('a real provider (oidc-provider)', () => {
  it('accepts the keys that the portal publishes', async () => {
    const real = await startIdentityProvider({
      name: 'Northwind ID',
      port: 0,
      clientId: 'portal',
      clientName: 'Portal',
      clientSecret: 'unused',
      clientKeysAt: keysAt(),
      redirectUris: [portal.sso.providers.redirectUri('acme')],
      people: [{ id: 'ada', name: 'Ada', email: 'ada@example.com', emailVerified: true, hint: '' }],
    })
    await portal.sso.providers.connect({ slug: 'acme', issuer: real.issuer, clientId: 'portal' })
    const { ok, checks } = await portal.sso.providers.test('acme')
    expect([ok, checks.find(({ name }) => name === 'credentials')!.message]).toEqual([
      true,
      'the provider knows the client by its key',
    ])
    const user = visitor()
    const page = await user.open(`${portal.url}/login/acme`)
    const { action, fields } = formIn(page.body)
    await user.follow(await user.post(new URL(action, page.url).href, [...fields, ['person', 'ada']]))
    expect((await user.get(`${portal.url}/portal`)).status).toBe(200)
    await real.close()
  })
})
