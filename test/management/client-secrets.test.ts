import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
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
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} }, 'default')
})
afterEach(() => portal.close())

async function signsIn(): Promise<boolean> {
  const who = new Visitor()
  await who.open(`${portal.url}/login/acme`)
  return (await who.get(`${portal.url}/portal`)).status === 200
}

/** The client secrets with which tokens were asked for in a sign-in. */
async function sentIn(act: () => Promise<unknown>): Promise<string[]> {
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
const causes = () => JSON.stringify(portal.logs)

describe('two client secrets that are live at once', () => {
  const connect = (settings: Partial<ProviderInput> = {}) =>
    portal.connect(provider, { secondClientSecret: newSecret, ...settings })

  it.each(['client_secret_basic', 'client_secret_post'] as const)(
    'outlast their exchange at the provider without one sign-in that fails, with %s',
    async (clientAuthentication) => {
      await connect({ clientAuthentication })
      expect(await sentIn(signsIn)).toEqual([oldSecret])
      provider.faults.clientSecrets = [newSecret]
      const { version } = await stored()
      // Within the same sign-in, with the same code.
      expect(await sentIn(async () => expect(await signsIn()).toBe(true))).toEqual([oldSecret, newSecret])
      // From then on the one that works comes first.
      expect(await sentIn(async () => expect(await signsIn()).toBe(true))).toEqual([newSecret])
      expect(await stored()).toMatchObject({ secretInUse: 'second', version })
      // And back.
      provider.faults.clientSecrets = [oldSecret]
      expect(await sentIn(async () => expect(await signsIn()).toBe(true))).toEqual([newSecret, oldSecret])
      expect(await stored()).toMatchObject({ secretInUse: 'first', version })
    },
  )

  it('are remembered by the row: an instance that starts anew begins with the one that works', async () => {
    await connect()
    provider.faults.clientSecrets = [newSecret]
    await signsIn()
    const another = await startPortal({ database: portal.knex })
    const who = new Visitor()
    expect(await sentIn(() => who.open(`${another.url}/login/acme`))).toEqual([newSecret])
    await another.close()
  })

  it('have the second one try for what Keycloak says of a wrong secret, too', async () => {
    await connect()
    Object.assign(provider.faults, { clientSecrets: [newSecret], likeKeycloak: true })
    expect(await signsIn()).toBe(true)
  })

  it.each<[what: string, faults: Faults]>([
    ['the code is not good', { tokenError: { body: { error: 'invalid_grant' } } }],
    ['the client may not do this', { tokenError: { body: { error: 'unauthorized_client' } } }],
    [
      'invalid_client comes with another status',
      { tokenError: { status: 403, body: { error: 'invalid_client' } } },
    ],
    ['a challenge says nothing', { tokenResponse: { status: 401, body: '' } }],
    ['the provider is out of order', { tokenResponse: { status: 500, body: '{"error":"invalid_client"}' } }],
    ['it hangs up', { tokenDrop: true }],
    ['the ID token is not right', { claims: { nonce: 'other' } }],
  ])('are not both sent where %s: a code goes out once', async (_what, faults) => {
    await connect()
    Object.assign(provider.faults, faults)
    expect(await sentIn(async () => expect(await signsIn()).toBe(false))).toEqual([oldSecret])
  })

  it('are both refused with one page, and neither is in the log, though the provider quotes them', async () => {
    await connect()
    const error_description = `neither ${oldSecret} nor ${newSecret}`
    provider.faults.tokenError = { body: { error: 'invalid_client', error_description } }
    expect(await sentIn(async () => expect(await signsIn()).toBe(false))).toEqual([oldSecret, newSecret])
    expect(causes()).toContain('neither … nor …')
    for (const secret of [oldSecret, newSecret]) expect(causes()).not.toContain(secret)
    expect(await stored()).toMatchObject({ secretInUse: 'first' })
  })

  it.each<[taken: string[], result: string, finding: RegExp, inUse: string]>([
    [[oldSecret, newSecret], 'ok', /by both of its secrets/, 'first'],
    [[oldSecret], 'warning', /by its first secret, and does not take the second one/, 'first'],
    [[newSecret], 'warning', /by its second secret, and does not take the first one/, 'second'],
  ])('are told apart by the test: %j is %s', async (taken, result, finding, secretInUse) => {
    provider.faults.clientSecrets = taken
    await connect()
    const { checks } = await portal.sso.providers.test('acme')
    const found = checks.find(({ name }) => name === 'credentials')!
    expect([found.result, found.finding]).toEqual([result, expect.stringMatching(finding)])
    expect(await stored()).toMatchObject({ secretInUse })
    expect(await signsIn()).toBe(true)
  })

  it('may be one that stands in the second place', async () => {
    await portal.connect(provider, { clientSecret: undefined, secondClientSecret: oldSecret })
    const { checks } = await portal.sso.providers.test('acme')
    expect(checks.find(({ name }) => name === 'credentials')).toMatchObject({
      result: 'ok',
      finding: 'the provider knows the client by its secret',
    })
    expect(await signsIn()).toBe(true)
  })

  it('are not saved where both are wrong', async () => {
    provider.faults.clientSecrets = ['a third one']
    await expect(connect()).rejects.toThrow('both client secrets or the client ID are wrong')
    expect(await portal.sso.providers.list()).toEqual([])
  })

  it('become one again', async () => {
    await connect()
    provider.faults.clientSecrets = [newSecret]
    await signsIn()
    await portal.sso.providers.update('acme', { clientSecret: newSecret, secondClientSecret: null })
    expect(await stored()).toMatchObject({ secretInUse: 'first' })
    expect(await sentIn(async () => expect(await signsIn()).toBe(true))).toEqual([newSecret])
  })

  it('do not go along to another origin, neither of them', async () => {
    await connect()
    const other = await startFaultyProvider({ clientSecret: oldSecret })
    const change = portal.sso.providers.update('acme', { issuer: other.issuer, clientSecret: oldSecret })
    await expect(change).rejects.toThrow(
      'secondClientSecret: give the second client secret again when the issuer moves',
    )
    expect(other.requests).toEqual([])
    await other.close()
  })

  it('do not go along to another path of the same origin, which may be somebody else’s', async () => {
    await connect()
    provider.requests.length = 0
    for (const issuer of [`${provider.issuer}/mallory`, `${provider.issuer}/mallory/`])
      await expect(portal.sso.providers.update('acme', { issuer })).rejects.toThrow(
        'clientSecret: give the client secret again when the issuer moves',
      )
    expect(provider.requests).toEqual([])
    // That is the same one.
    await portal.sso.providers.update('acme', { issuer: `${provider.issuer}/` })
  })
})

describe('a client secret that was sealed under a secret that is gone', () => {
  it('can be set again', async () => {
    await portal.connect(provider)
    const secret = 'quite-another-secret-longer-than-32-characters'
    const another = await startPortal({ database: portal.knex, secret })
    await expect(another.sso.providers.update('acme', { displayName: 'x' })).rejects.toThrow(
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

  it.each<[reads: string, faults: Faults, encoding: string, asked: number]>([
    ['as a form', {}, 'form', 1],
    ['as it is', { rawCredentials: true }, 'raw', 2],
  ])(
    'is read %s: the test finds it out, and the row remembers it',
    async (_reads, faults, secretEncoding, asked) => {
      Object.assign(odd.faults, faults)
      await portal.connect(odd)
      expect(tokenRequests()).toBe(asked)
      expect(await stored()).toMatchObject({ clientAuthentication: 'client_secret_basic', secretEncoding })
      expect(await signsIn()).toBe(true)
    },
  )

  it('is remembered anew by a test, when the provider has come to read it otherwise', async () => {
    await portal.connect(odd)
    odd.faults.rawCredentials = true
    expect(await signsIn()).toBe(false)
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(await stored()).toMatchObject({ secretEncoding: 'raw', lastTest: { checks: expect.any(Array) } })
    expect(await signsIn()).toBe(true)
    const { before, after } = JSON.parse(
      (await portal.knex('sso_events').where({ kind: 'provider-changed' }).first()).detail,
    )
    expect([before, after]).toEqual(['form', 'raw'])
  })

  it('is asked in one spelling only where both are the same, or where there is none', async () => {
    provider.faults.clientSecrets = ['x']
    const testUnsaved = (settings: object) =>
      portal.sso.providers.testUnsaved({
        slug: 'acme',
        issuer: provider.issuer,
        clientId: provider.clientId,
        ...settings,
      })
    expect(await sentIn(() => testUnsaved({ clientSecret: 'plain-secret_1.0' }))).toHaveLength(1)
    expect(
      await sentIn(() => testUnsaved({ clientSecret: 'a b', clientAuthentication: 'client_secret_post' })),
    ).toHaveLength(1)
    expect(await sentIn(() => testUnsaved({ clientSecret: 'a b' }))).toHaveLength(2)
  })
})
