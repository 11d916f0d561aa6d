import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import type { Check } from '../../lib/providers/provider.ts'
import { type Faults, type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  portal = await startPortal()
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterEach(() => portal.close())

const keysAt = () => portal.sso.providers.jwksUri('acme')
const stored = () => portal.sso.providers.find('acme')
const tokenForms = () =>
  provider.requests.filter(({ path }) => path === '/token').map(({ body }) => new URLSearchParams(body))

async function checkNamed(name: string, settings: Partial<ProviderInput> = {}): Promise<Check> {
  const { issuer, clientId, clientSecret } = provider
  const input = { slug: 'acme', issuer, clientId, clientSecret, ...settings }
  const { checks } = await portal.sso.providers.testUnsaved(input)
  return checks.find((check) => check.name === name)!
}

async function signsIn(): Promise<boolean> {
  const user = new Visitor()
  await user.open(`${portal.url}/login/acme`)
  return (await user.get(`${portal.url}/portal`)).status === 200
}

/** The header and claims of each client assertion. */
function assertions(): Record<string, unknown>[] {
  return tokenForms().map((form) => {
    const parts = form.get('client_assertion')!.split('.').slice(0, 2)
    const [header, claims] = parts.map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
    return { ...header, ...claims }
  })
}

describe('a client that is registered for', () => {
  it.each(['client_secret_basic', 'client_secret_post', 'client_secret_jwt'] as const)(
    '%s is connected with it, and its users sign in',
    async (clientMethod) => {
      provider.faults.clientMethod = clientMethod
      await portal.connect(provider)
      expect(await stored()).toMatchObject({ clientAuthentication: clientMethod })
      const { lastTest } = (await stored())!
      expect(lastTest!.checks.find(({ name }) => name === 'authentication')).toMatchObject({
        result: 'ok',
        message: `the client authenticates with ${clientMethod}`,
      })
      expect(await signsIn()).toBe(true)
    },
  )

  it('none is found where a secret was entered, with a warning', async () => {
    provider.faults.clientMethod = 'none'
    await portal.connect(provider)
    expect(await stored()).toMatchObject({ clientAuthentication: 'none' })
    expect((await stored())!.lastTest!.checks).toContainEqual(
      expect.objectContaining({
        name: 'credentials',
        result: 'warning',
        message: expect.stringContaining('it is a public client'),
      }),
    )
    expect(await signsIn()).toBe(true)
  })

  it('a method that the portal lacks is not connected; the provider’s message names it', async () => {
    provider.faults.clientMethod = 'tls_client_auth'
    expect(await checkNamed('credentials')).toMatchObject({
      result: 'failed',
      message: expect.stringContaining(
        `the client is registered for a client certificate (mutual TLS) (status 401, invalid_client, "The client supports the authentication method 'tls_client_auth'.")`,
      ),
      hint: expect.stringContaining('mutual TLS is not supported'),
    })
    // Each method once, and both audiences of the assertion.
    expect(tokenForms()).toHaveLength(6)
  })

  it('keys is not connected with a secret; the message names the method', async () => {
    provider.faults.clientMethod = 'private_key_jwt'
    expect(await checkNamed('credentials')).toMatchObject({
      result: 'failed',
      message: expect.stringContaining('the client is registered for private_key_jwt (status 401'),
      hint: expect.stringContaining('choose private_key_jwt here'),
    })
  })

  it('another method is found where the provider responds with 403 instead of 401', async () => {
    Object.assign(provider.faults, {
      clientMethod: 'client_secret_post',
      refusalStatus: 403,
    } satisfies Faults)
    await portal.connect(provider)
    expect(await stored()).toMatchObject({ clientAuthentication: 'client_secret_post' })
  })

  it('client_secret_basic is accepted where the provider responds with 403 to a wrong code, too', async () => {
    const wrongCode = { status: 403, body: { error: 'invalid_code' } }
    Object.assign(provider.faults, {
      clientMethod: 'client_secret_basic',
      refusalStatus: 403,
      wrongCode,
    } satisfies Faults)
    expect((await checkNamed('credentials')).result).toBe('ok')
    expect((await checkNamed('credentials', { clientSecret: 'wrong' })).result).toBe('failed')
  })

  it('another method later is found by the next connection test, never by a sign-in', async () => {
    await portal.connect(provider)
    provider.faults.clientMethod = 'client_secret_post'
    provider.requests.length = 0
    expect(await signsIn()).toBe(false)
    expect(tokenForms()).toHaveLength(1)
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(await stored()).toMatchObject({ clientAuthentication: 'client_secret_post' })
    expect(await signsIn()).toBe(true)
  })

  it('keys never sends a secret, although the provider announces that', async () => {
    provider.faults.clientKeysAt = keysAt()
    await portal.connect(provider, { clientSecret: 'kept', clientAuthentication: 'private_key_jwt' })
    provider.faults.clientMethod = 'client_secret_post'
    provider.requests.length = 0
    expect((await portal.sso.providers.test('acme')).ok).toBe(false)
    for (const form of tokenForms()) expect(form.has('client_secret')).toBe(false)
    expect(tokenForms().length).toBeGreaterThan(0)
  })

  it('a method that is no longer announced is connected with the one that is', async () => {
    await portal.connect(provider, { clientAuthentication: 'client_secret_basic' })
    provider.faults.discovery = { token_endpoint_auth_methods_supported: ['client_secret_post'] }
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(await stored()).toMatchObject({ clientAuthentication: 'client_secret_post' })
    provider.faults.clientSecrets = ['x']
    provider.faults.discovery = { token_endpoint_auth_methods_supported: ['client_secret_basic'] }
    expect((await portal.sso.providers.test('acme')).ok).toBe(false)
    // A method that was refused is not saved.
    expect(await stored()).toMatchObject({ clientAuthentication: 'client_secret_post' })
  })

  it('a method that needs credentials is not tried without them', async () => {
    provider.faults.discovery = { token_endpoint_auth_methods_supported: ['client_secret_basic'] }
    const check = await checkNamed('authentication', { clientSecret: undefined as never })
    expect(check).toMatchObject({ result: 'failed', message: 'client_secret_basic needs a client secret' })
    expect(tokenForms()).toEqual([])
  })
})

describe('the error of a provider that refuses the client', () => {
  it('is quoted in one line, without secrets and links', async () => {
    const { clientSecret } = provider
    provider.faults.tokenError = {
      status: 401,
      body: {
        error: 'invalid_client',
        error_description: `not ${clientSecret}\n${encodeURIComponent(clientSecret)} see https://evil.example/x and call us`,
      },
    }
    const { message } = await checkNamed('credentials')
    expect(message).toContain('(status 401, invalid_client, "not …\\n… see … and call us")')
  })

  it('is explained by the sign-in page, which knows the client or says why not', async () => {
    provider.faults.clientSecrets = ['x']
    const cause = async (settings = {}) => (await checkNamed('credentials', settings)).message
    expect(await cause()).toContain('the client secret is wrong or has expired, or')
    expect(await cause({ clientId: 'another' })).toContain('the client ID is unknown to the provider (')
    provider.faults.authorizeResponse = { status: 403 }
    expect(await cause()).toContain('the client secret or the client ID is wrong (')
    delete provider.faults.authorizeResponse
    provider.faults.clientDisabled = true
    expect(await cause()).toContain('the client is disabled (')
  })
})

describe('a public client', () => {
  it('is connected with a warning where the provider announces no public clients', async () => {
    Object.assign(provider.faults, {
      publicClient: true,
      discovery: { token_endpoint_auth_methods_supported: ['client_secret_basic'] },
    } satisfies Faults)
    await portal.connect(provider, { clientSecret: undefined, clientAuthentication: 'none' })
    const { checks } = (await stored())!.lastTest!
    expect(checks.find(({ name }) => name === 'authentication')).toMatchObject({
      result: 'warning',
      message: 'the provider does not announce public clients (none), only client_secret_basic',
      hint: expect.any(String),
    })
    expect(await signsIn()).toBe(true)
  })

  it('is not assumed where a secret is merely missing', async () => {
    Object.assign(provider.faults, {
      publicClient: true,
      discovery: { token_endpoint_auth_methods_supported: ['client_secret_basic'] },
    } satisfies Faults)
    await expect(portal.connect(provider, { clientSecret: undefined })).rejects.toThrow(
      'needs a client secret',
    )
  })
})

describe('a client assertion', () => {
  const connect = () => portal.connect(provider, { clientSecret: undefined })

  beforeEach(() => {
    provider.faults.clientKeysAt = keysAt()
  })

  it('has the issuer as its audience, and the token endpoint where the provider accepts only that', async () => {
    await connect()
    provider.faults.assertionAudience = `${provider.issuer}/token`
    expect(await signsIn()).toBe(false)
    provider.requests.length = 0
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(assertions().map(({ aud }) => aud)).toEqual([provider.issuer, `${provider.issuer}/token`])
    expect(await stored()).toMatchObject({ assertionAudience: 'token_endpoint' })
    provider.requests.length = 0
    expect(await signsIn()).toBe(true)
    expect(assertions().map(({ aud }) => aud)).toEqual([`${provider.issuer}/token`])
  })

  it('never names a token endpoint on another origin, where another provider could accept it', async () => {
    const other = await startFaultyProvider()
    try {
      await connect()
      await portal.knex('sso_providers').update({ assertion_audience: 'token_endpoint', version: 9 })
      provider.faults.discovery = { token_endpoint: `${other.issuer}/token` }
      await signsIn()
      await portal.sso.providers.test('acme')
      const sent = other.requests.filter(({ path }) => path === '/token')
      provider.requests.push(...sent)
      expect(sent.length).toBeGreaterThan(1)
      expect(assertions().map(({ aud }) => aud)).toEqual(sent.map(() => provider.issuer))
    } finally {
      await other.close()
    }
  })

  it('is signed with the algorithm that the client is registered for', async () => {
    provider.faults.discovery = {
      token_endpoint_auth_signing_alg_values_supported: ['HS256', 'ES256', 'RS256', 'PS256', 'PS512'],
    }
    provider.faults.assertionAlgorithm = 'PS256'
    await connect()
    const states = async () =>
      (await portal.sso.providers.clientKeys('acme')).map(({ alg, state }) => `${alg} ${state}`)
    expect(await states()).toEqual(['ES256 signing', 'PS256 spare', 'RS256 spare'])
    expect(await signsIn()).toBe(false)
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(await states()).toEqual(['ES256 retired', 'PS256 signing'])
    provider.requests.length = 0
    expect(await signsIn()).toBe(true)
    expect(assertions()).toMatchObject([{ alg: 'PS256' }])
    // The client is registered for it, so the next key has it, too.
    expect(await portal.sso.providers.rotateClientKey('acme')).toMatchObject({ alg: 'PS256', state: 'next' })
  })

  it('is signed with keys of its own row', async () => {
    await connect()
    await portal.connect(provider, {
      slug: 'second',
      clientSecret: undefined,
      clientAuthentication: 'private_key_jwt',
    })
    const [one, other] = await Promise.all(
      ['acme', 'second'].map((slug) => portal.sso.providers.clientKeys(slug)),
    )
    const ids = [...one!, ...other!].map(({ kid }) => kid)
    expect(new Set(ids).size).toBe(ids.length)
  })
})
