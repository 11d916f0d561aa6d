import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type Faults, type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'

const [oldSecret, newSecret] = ['the old secret', 'the new secret']

let provider: FaultyProvider
let portal: TestPortal

beforeAll(async () => {
  provider = await startFaultyProvider({ clientSecret: oldSecret })
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  portal = await startPortal()
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterEach(() => portal.close())

async function signsIn(): Promise<boolean> {
  const user = new Visitor()
  await user.open(`${portal.url}/login/acme`)
  return (await user.get(`${portal.url}/portal`)).status === 200
}

/** The client secrets in the token requests that `act` causes. */
async function secretsSentIn(act: () => Promise<unknown>): Promise<string[]> {
  provider.requests.length = 0
  await act()
  return provider.requests
    .filter(({ path }) => path === '/token')
    .map(({ headers, body }) => {
      const basic = Buffer.from(headers.authorization?.slice('Basic '.length) ?? '', 'base64').toString()
      return (
        new URLSearchParams(body).get('client_secret') ??
        new URLSearchParams(`=${basic.split(':')[1]}`).get('')!
      )
    })
}

const stored = async () => (await portal.sso.providers.find('acme'))!

describe('a client secret', () => {
  it.each(['client_secret_basic', 'client_secret_post'] as const)(
    'can be replaced while the provider accepts both, without a failed sign-in, with %s',
    async (clientAuthentication) => {
      await portal.connect(provider, { clientAuthentication })
      provider.faults.clientSecrets = [oldSecret, newSecret]
      expect(await secretsSentIn(async () => expect(await signsIn()).toBe(true))).toEqual([oldSecret])
      await portal.sso.providers.update('acme', { clientSecret: newSecret })
      expect(await secretsSentIn(async () => expect(await signsIn()).toBe(true))).toEqual([newSecret])
    },
  )

  it.each<[what: string, faults: Faults]>([
    ['the client secret is wrong', { clientSecrets: ['another secret'] }],
    ['Keycloak reports a wrong secret', { clientSecrets: ['another secret'], likeKeycloak: true }],
    ['the code is invalid', { tokenError: { body: { error: 'invalid_grant' } } }],
    ['the client lacks a permission', { tokenError: { body: { error: 'unauthorized_client' } } }],
    ['invalid_client has another status', { tokenError: { status: 403, body: { error: 'invalid_client' } } }],
    ['a challenge has no body', { tokenResponse: { status: 401, body: '' } }],
    ['the provider fails', { tokenResponse: { status: 500, body: '{"error":"invalid_client"}' } }],
    ['the provider drops the connection', { tokenDrop: true }],
    ['the ID token is invalid', { claims: { nonce: 'other' } }],
  ])('is sent only once with the code if %s', async (_what, faults) => {
    await portal.connect(provider)
    Object.assign(provider.faults, faults)
    expect(await secretsSentIn(async () => expect(await signsIn()).toBe(false))).toEqual([oldSecret])
  })

  it('is not in the log, even if the provider quotes it', async () => {
    await portal.connect(provider)
    const error_description = `not ${oldSecret}`
    provider.faults.tokenError = { body: { error: 'invalid_client', error_description } }
    expect(await signsIn()).toBe(false)
    const logs = JSON.stringify(portal.logs)
    expect(logs).toContain('not …')
    expect(logs).not.toContain(oldSecret)
  })

  it('is not sent to another issuer, even at the same origin', async () => {
    await portal.connect(provider)
    const other = await startFaultyProvider({ clientSecret: oldSecret })
    provider.requests.length = 0
    for (const issuer of [other.issuer, `${provider.issuer}/mallory`, `${provider.issuer}/mallory/`])
      await expect(portal.sso.providers.update('acme', { issuer })).rejects.toThrow(
        'clientSecret: enter the client secret again, because the issuer changes',
      )
    expect([...provider.requests, ...other.requests]).toEqual([])
    // A trailing slash makes no difference.
    await portal.sso.providers.update('acme', { issuer: `${provider.issuer}/` })
    await other.close()
  })
})

describe('a client secret whose sealing secret is lost', () => {
  it('can be replaced', async () => {
    await portal.connect(provider)
    const secret = 'quite-another-secret-longer-than-32-characters'
    const another = await startPortal({ database: portal.knex, secret })
    await another.sso.providers.update('acme', { displayName: 'x' })
    await expect(another.sso.providers.update('acme', { prompt: 'login' })).rejects.toThrow(
      'set the client secret again',
    )
    await another.sso.providers.update('acme', { clientSecret: oldSecret })
    expect((await another.sso.providers.test('acme')).ok).toBe(true)
    await another.close()
  })
})

describe('client_secret_basic', () => {
  let odd: FaultyProvider

  beforeAll(async () => {
    odd = await startFaultyProvider({ clientId: 'portal@acme', clientSecret: 'p%20+ä/=&:x' })
  })
  afterAll(() => odd.close())
  beforeEach(() => odd.reset())

  const tokenRequests = () => odd.requests.filter(({ path }) => path === '/token').length

  it.each<[encoding: 'form' | 'raw', faults: Faults, requests: number]>([
    ['form', {}, 1],
    ['raw', { rawCredentials: true }, 2],
  ])(
    'encoded as %s: the connection test detects the encoding, and the row stores it',
    async (secretEncoding, faults, requests) => {
      Object.assign(odd.faults, faults)
      await portal.connect(odd)
      expect(tokenRequests()).toBe(requests)
      expect(await stored()).toMatchObject({ clientAuthentication: 'client_secret_basic', secretEncoding })
      expect(await signsIn()).toBe(true)
    },
  )

  it('is sent once in a sign-in; a connection test detects that the provider has changed the encoding', async () => {
    await portal.connect(odd)
    odd.faults.rawCredentials = true
    odd.requests.length = 0
    expect(await signsIn()).toBe(false)
    expect(tokenRequests()).toBe(1)
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(await stored()).toMatchObject({ secretEncoding: 'raw', lastTest: { checks: expect.any(Array) } })
    expect(await signsIn()).toBe(true)
    const { before, after } = JSON.parse(
      (await portal.knex('sso_events').where({ kind: 'provider-changed' }).first()).detail,
    )
    expect([before, after]).toEqual(['{"secretEncoding":"form"}', '{"secretEncoding":"raw"}'])
  })

  it('is tested in one encoding if both are the same, or if the method has none', async () => {
    provider.faults.clientSecrets = ['x']
    const basicOnly = { token_endpoint_auth_methods_supported: ['client_secret_basic'] }
    const postOnly = { token_endpoint_auth_methods_supported: ['client_secret_post'] }
    provider.faults.discovery = basicOnly
    const testUnsaved = (settings: object) =>
      portal.sso.providers.testUnsaved({
        slug: 'acme',
        issuer: provider.issuer,
        clientId: provider.clientId,
        ...settings,
      })
    expect(await secretsSentIn(() => testUnsaved({ clientSecret: 'plain-secret_1.0' }))).toHaveLength(1)
    provider.faults.discovery = postOnly
    expect(
      await secretsSentIn(() =>
        testUnsaved({ clientSecret: 'a b', clientAuthentication: 'client_secret_post' }),
      ),
    ).toHaveLength(1)
    provider.faults.discovery = basicOnly
    expect(await secretsSentIn(() => testUnsaved({ clientSecret: 'a b' }))).toHaveLength(2)
  })
})
