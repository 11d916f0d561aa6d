import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { type FaultyProvider, startFaultyProvider } from '../support/faulty-provider.ts'
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
  portal = await startPortal({
    mount(app, sso) {
      app.use(sso.session())
      app.use(sso.router())
      app.use('/admin/sso', sso.admin({ authorize: () => true }))
      app.use('/portal', sso.guard(), (_req, res) => void res.end('portal'))
    },
  })
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
})
afterEach(() => portal.close())

const metadataUrl = () => `${provider.issuer}/.well-known/openid-configuration?p=policy`
const stored = () => portal.sso.providers.find('acme')
const documents = () => provider.requests.filter(({ path }) => path.endsWith('openid-configuration'))

async function signsIn(): Promise<boolean> {
  const user = new Visitor()
  await user.open(`${portal.url}/login/acme`)
  return (await user.get(`${portal.url}/portal`)).status === 200
}

describe('a metadata URL with a query', () => {
  beforeEach(() => {
    provider.faults.metadataQuery = 'p=policy'
  })

  it('that is entered as the issuer is used unchanged, in tests and sign-ins', async () => {
    await portal.connect(provider, { issuer: metadataUrl() })
    expect(await stored()).toMatchObject({ issuer: provider.issuer, metadataUrl: metadataUrl() })
    expect(await signsIn()).toBe(true)
    expect((await portal.sso.providers.test('acme')).ok).toBe(true)
    expect(documents().map(({ query }) => query.toString())).toEqual(documents().map(() => 'p=policy'))
  })

  it('can be entered and edited on the admin pages', async () => {
    const admin = new Visitor()
    const { clientId, clientSecret } = provider
    const form = { slug: 'acme', displayName: 'Acme', issuer: metadataUrl(), clientId, clientSecret }
    expect(await admin.post(`${portal.url}/admin/sso/new/generic`, form)).toMatchObject({ status: 303 })
    expect(await stored()).toMatchObject({ issuer: provider.issuer, metadataUrl: metadataUrl() })
    const { body } = await admin.get(`${portal.url}/admin/sso/acme/edit`)
    expect(body).toContain(`value="${metadataUrl()}"`)
  })

  it('names its issuer itself, on the same origin', async () => {
    const issuer = `${provider.issuer}/tenant/v2.0/`
    provider.faults.discovery = { issuer }
    provider.faults.claims = { iss: issuer }
    provider.faults.callbackParams = { iss: issuer }
    await portal.connect(provider, { issuer: metadataUrl() })
    expect(await stored()).toMatchObject({ issuer, metadataUrl: metadataUrl() })
    expect(await signsIn()).toBe(true)
    await portal.sso.providers.update('acme', { displayName: 'Policy' })
    // From now on, it is the issuer of this provider.
    provider.faults.discovery = { issuer: `${provider.issuer}/other/v2.0/` }
    expect((await portal.sso.providers.test('acme')).ok).toBe(false)
  })

  it('of one site cannot name the issuer of another, as whose users it could sign in', async () => {
    provider.faults.discovery = { issuer: 'https://accounts.google.com' }
    await expect(portal.connect(provider, { issuer: metadataUrl() })).rejects.toThrow('names another issuer')
    const both = { issuer: 'https://accounts.google.com', metadataUrl: metadataUrl() }
    await expect(portal.connect(provider, both)).rejects.toThrow('names another issuer')
    expect(await stored()).toBeUndefined()
  })

  it.each(['/\u001b[2J', '/a b', '/\n', '/ä', `/${'x'.repeat(255)}`])(
    'cannot name an issuer that would control a terminal, or that no row can contain: %j',
    async (path) => {
      provider.faults.discovery = { issuer: provider.issuer + path }
      await expect(portal.connect(provider, { issuer: metadataUrl() })).rejects.toThrow(
        'names another issuer',
      )
    },
  )

  it('that named its own issuer cannot name another one of the same origin later', async () => {
    await portal.connect(provider, { issuer: metadataUrl() })
    // A sign-in would refuse even another slash.
    for (const issuer of [`${provider.issuer}/`, `${provider.issuer}/victim`]) {
      provider.faults.discovery = { issuer }
      expect((await portal.sso.providers.test('acme')).ok).toBe(false)
    }
    for (const changes of [
      { prompt: 'login' as const },
      { issuer: provider.issuer, metadataUrl: metadataUrl() },
    ])
      await expect(portal.sso.providers.update('acme', changes)).rejects.toThrow('names another issuer')
    expect(await stored()).toMatchObject({ issuer: provider.issuer })
  })

  it.each([
    '/uploads/a.json?/.well-known/x',
    '/.well-known/../uploads/a.json',
    '/uploads/a.json#/.well-known/x',
  ])('cannot lead to any document of a site, as whose users its author could sign in: %s', async (path) => {
    const document = (await (await fetch(metadataUrl())).json()) as object
    const site = createServer((_req, res) => {
      res.setHeader('Content-Type', 'application/json').end(JSON.stringify({ ...document, issuer: origin }))
    }).listen(0, '127.0.0.1')
    await once(site, 'listening')
    const origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`
    try {
      for (const input of [{ issuer: origin + path }, { issuer: origin, metadataUrl: origin + path }])
        await expect(portal.connect(provider, input)).rejects.toThrow(
          /names another issuer|enter the whole URL|no usable discovery document/,
        )
      expect(await stored()).toBeUndefined()
    } finally {
      site.close()
    }
  })

  it('requires the client secret again when it changes', async () => {
    await portal.connect(provider, { issuer: metadataUrl() })
    provider.requests.length = 0
    for (const changed of [`${provider.issuer}/mallory/.well-known/openid-configuration`, null])
      await expect(portal.sso.providers.update('acme', { metadataUrl: changed })).rejects.toThrow(
        'enter the client secret again, because the metadata URL changes',
      )
    expect(provider.requests).toEqual([])
  })

  it('without the query leads to no document: the message asks for the path and the realm', async () => {
    await expect(portal.connect(provider)).rejects.toThrow(
      `${provider.issuer}/.well-known/openid-configuration responded with 404: is a part of the path missing, or the realm misspelled?`,
    )
  })
})

describe('the realm of a Keycloak', () => {
  it.each(['Acme Corp', 'größe', 'a-b.c~d_1', '公司', 'Acme%20Corp'])('%s is accepted', async (realm) => {
    const path = `/realms/${encodeURIComponent(decodeURIComponent(realm))}`
    const keycloak = await startFaultyProvider({ issuerPath: path })
    try {
      const { clientId, clientSecret } = keycloak
      const address = keycloak.issuer.slice(0, -path.length)
      const more = { slug: 'acme', clientId, clientSecret }
      await portal.sso.providers.connect({ ...more, preset: 'keycloak', answers: { address, realm } })
      expect(await stored()).toMatchObject({ issuer: keycloak.issuer })
      expect(await signsIn()).toBe(true)
      // The same issuer, typed as people read it.
      const issuer = `${address}/realms/${decodeURIComponent(realm)}`
      await portal.sso.providers.connect({ ...more, slug: 'typed', issuer })
      expect(await portal.sso.providers.find('typed')).toMatchObject({ issuer: keycloak.issuer })
    } finally {
      await keycloak.close()
    }
  })

  it.each(['a/b', 'a?b', 'a#b', '..', '.', '%2e%2e', 'a%2Fb', 'a\\b', '', '%', 'a\u0000b', 'x'.repeat(101)])(
    '%j is refused',
    async (realm) => {
      const answers = { address: 'https://id.example', realm }
      const input = { slug: 'acme', preset: 'keycloak', answers, clientId: 'a', clientSecret: 'b' }
      await expect(portal.sso.providers.connect(input)).rejects.toMatchObject({
        code: 'invalid',
        issues: [{ path: 'realm' }],
      })
    },
  )
})

describe('an address that does not lead to a discovery document', () => {
  const refusal = async (issuer: string, status = 404, body = '<html>') => {
    provider.faults.discoveryResponse = { status, body, headers: { 'Content-Type': 'text/html' } }
    const error: unknown = await portal.connect(provider, { issuer }).catch((thrown: unknown) => thrown)
    return (error as Error).message
  }

  it.each([401, 403, 404, 410, 500, 503])('and answers %d is described with this status', async (status) => {
    const message = await refusal(provider.issuer, status)
    expect(message).toContain(`responded with ${status}`)
    expect(message).not.toMatch(/OAUTH_|compare its "issuer"/)
  })

  it('but speaks plain http is described as such, without the words of OpenSSL', async () => {
    const issuer = provider.issuer.replace('http:', 'https:')
    const message = await refusal(issuer)
    expect(message).toMatch(
      new RegExp(`^${issuer}: this address speaks plain http, not https – enter the address`),
    )
    expect(message).not.toMatch(/SSL|openssl|EPROTO/)
  })

  it('and lacks an endpoint does not blame the issuer', async () => {
    provider.faults.discovery = { token_endpoint: undefined }
    const error: unknown = await portal.connect(provider).catch((thrown: unknown) => thrown)
    expect((error as Error).message).toContain('the discovery document lacks token_endpoint')
    expect((error as Error).message).not.toContain('compare its "issuer"')
  })

  it.each([
    [{ status: 404, body: '' }, 'the key set responded with 404 – open '],
    [{ body: '{"keys":[]}' }, ' – create a signing key for this algorithm'],
    [{ body: '<html>' }, 'not valid JSON – open '],
  ])(
    'of the keys, which answers %j, blames the format only of a wrong format',
    async (jwksResponse, says) => {
      provider.faults.jwksResponse = jwksResponse
      const error: unknown = await portal.connect(provider).catch((thrown: unknown) => thrown)
      expect((error as Error).message).toContain(says)
      expect((error as Error).message.includes('must be a JSON key set')).toBe(
        says.startsWith('not valid JSON'),
      )
    },
  )
})
