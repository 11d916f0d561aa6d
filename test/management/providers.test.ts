import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { Router } from 'express'
import { EventLog } from '../../lib/events/event-log.ts'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import { connectProvider } from '../../lib/management/save-provider.ts'
import { createHttpClients, type HttpClients } from '../../lib/oidc/http-client.ts'
import type { ProviderSettings } from '../../lib/providers/settings.ts'
import { ManagementError } from '../../lib/shared/errors.ts'
import { consoleLogger } from '../../lib/shared/logger.ts'
import { ConnectedProviders, type ConnectionContext } from '../../lib/sign-in/connected-providers.ts'
import { type Core, createBreakers } from '../../lib/web/core.ts'
import { PortalUrls } from '../../lib/web/urls.ts'
import { takeClock } from '../support/clock.ts'
import {
  type Claims,
  type Faults,
  type FaultyProvider,
  startFaultyProvider,
} from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { copyProvider, openProvidersTable } from '../support/providers.ts'
import { formIn, type Seen, Visitor } from '../support/visitor.ts'

let provider: FaultyProvider
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  portal = await startPortal()
  await portal.sso.users.create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
  visitor = new Visitor()
})
afterEach(async () => {
  jest.restoreAllMocks()
  await portal.close()
})

const click = (slug = 'acme', query = '') => visitor.get(`${portal.url}/login/${slug}${query}`)

/** The parameters of the authorization request after a click. */
async function authorizationParams(slug?: string): Promise<Record<string, string>> {
  const { status, location } = await click(slug)
  expect(status).toBe(302)
  return Object.fromEntries(new URL(location!).searchParams)
}

async function signsIn(slug = 'acme'): Promise<boolean> {
  const user = new Visitor()
  // A probe may have confirmed an outage before.
  await user.open(`${portal.url}/login/${slug}?anyway=1`)
  return (await user.get(`${portal.url}/portal`)).status === 200
}

interface Offer {
  slug: string
  name: string
  recommended: boolean
  lastUsed: boolean
}

/** The providers on the picker, in order. */
async function picker(query = ''): Promise<Offer[]> {
  const { status, body } = await visitor.get(`${portal.url}/login${query}`)
  expect(status).toBe(200)
  const [lastUsed = ''] = /<section class="sso-last-used".*?<\/section>/s.exec(body) ?? []
  return [...body.matchAll(/<a class="sso-provider[ "].*?<\/a>/gs)].map(([link], at) => ({
    slug: /href="\/login\/([^"?]*)/.exec(link)![1]!,
    name: /<bdi>(.*)<\/bdi>/.exec(link)![1]!,
    recommended: link.includes('Recommended'),
    // Its group is the first one.
    lastUsed: at === 0 && lastUsed.includes(link),
  }))
}

const slugs = async (query?: string) => (await picker(query)).map(({ slug }) => slug)
const connected = () => portal.sso.providers.list()
const discoveries = () =>
  provider.requests.filter(({ path }) => path.endsWith('/openid-configuration')).length

describe('connecting a provider', () => {
  it('shows it on the picker at the next request, without a restart; before, the host’s page is shown', async () => {
    portal.app.get('/login', (_req, res) => {
      res.send('classic login')
    })
    expect((await visitor.get(`${portal.url}/login`)).body).toBe('classic login')
    await portal.connect(provider)
    expect(await picker()).toEqual([{ slug: 'acme', name: 'Acme', recommended: false, lastUsed: false }])
    expect(await signsIn()).toBe(true)
  })

  it('from code logs for whom it vouches, with a warning if there is no domain limit', async () => {
    const vouchingLog = () =>
      portal.logs
        .filter(({ message }) => message === 'a provider was connected')
        .map(({ level, fields: { provider: slug, vouchesFor } }) => ({ level, slug, vouchesFor }))
    await portal.connect(provider)
    await portal.connect(provider, { slug: 'limited', emailDomains: ['acme.example'] })
    const input = { slug: 'form', issuer: provider.issuer, clientId: provider.clientId }
    const options = { actor: 'grace', source: 'form' } as const
    await portal.sso.providers.connect({ ...input, clientSecret: provider.clientSecret }, options)
    expect(vouchingLog()).toEqual([
      { level: 'warn', slug: 'acme', vouchesFor: 'every verified address (email_verified)' },
      {
        level: 'info',
        slug: 'limited',
        vouchesFor: 'verified addresses (email_verified) of @acme.example only',
      },
    ])
  })

  it('as a draft hides it from the picker until it is enabled', async () => {
    await portal.connect(provider)
    await portal.connect(provider, { slug: 'second', enabled: false })
    expect(await slugs()).toEqual(['acme'])
    expect((await click('second')).status).toBe(404)
    await portal.sso.providers.enable('second', { withoutTestSignIn: true })
    expect(await slugs()).toEqual(['acme', 'second'])
    expect(await signsIn('second')).toBe(true)
  })

  it.each([
    ['', '/'],
    ['/realm', '/realm/'],
    ['/realm/', '/realm'],
    ['/realm/', '/realm/'],
    ['/realm', '/realm/.well-known/openid-configuration'],
  ])(
    'whose issuer ends in "%s", entered as "%s", keeps the spelling of the discovery document',
    async (issuerPath, entered) => {
      const slashed = await startFaultyProvider({ issuerPath })
      await portal.connect(slashed, { issuer: new URL(slashed.issuer).origin + entered })
      expect(await connected()).toMatchObject([{ issuer: slashed.issuer }])
      expect(await signsIn()).toBe(true)
      await slashed.close()
    },
  )

  it.each<[method: string, announced: string[] | undefined, settings: Partial<ProviderInput>]>([
    ['client_secret_basic', ['client_secret_post', 'client_secret_basic'], {}],
    ['client_secret_post', ['private_key_jwt', 'client_secret_post'], {}],
    ['private_key_jwt', ['private_key_jwt', 'tls_client_auth'], {}],
    ['private_key_jwt', ['private_key_jwt'], { clientSecret: undefined }],
    [
      'private_key_jwt',
      ['client_secret_basic', 'private_key_jwt'],
      { clientAuthentication: 'private_key_jwt' },
    ],
    ['client_secret_basic', undefined, {}],
    ['none', ['none'], { clientSecret: undefined }],
    ['none', undefined, { clientSecret: undefined, clientAuthentication: 'none' }],
  ])('chooses %s if the provider announces %j', async (method, announced, settings) => {
    if (method === 'none') provider.faults.publicClient = true
    provider.faults.discovery = { token_endpoint_auth_methods_supported: announced }
    await portal.connect(provider, settings)
    expect(await connected()).toMatchObject([{ clientAuthentication: method }])
  })

  it('is an event for listeners and in the table, and provides the URLs to enter at the provider', async () => {
    const heard: unknown[] = []
    portal.sso.events.on('provider-connected', (event) => heard.push(event))
    await portal.connect(provider)
    expect(heard).toMatchObject([{ provider: 'acme', portal: 'default' }])
    expect(await portal.knex('sso_events').pluck('kind')).toEqual(['provider-connected'])
    const { redirect_uri } = await authorizationParams()
    expect(portal.sso.providers.redirectUri('acme')).toBe(redirect_uri)
    expect(portal.sso.providers.backChannelLogoutUri('acme')).toBe(`${portal.url}/logout/acme/backchannel`)
    expect(portal.sso.providers.postLogoutRedirectUri()).toBe(`${portal.url}/logout/done`)
  })

  it.each<[what: string, discovery: Claims, result: 'ok' | 'absent', findings: RegExp[]]>([
    [
      'both logout methods',
      { backchannel_logout_supported: true },
      'ok',
      [/also ends the session at the provider/, /reports when/],
    ],
    [
      'no logout method',
      { end_session_endpoint: undefined },
      'absent',
      [/only the portal session/, /does not announce/],
    ],
    [
      'an invalid logout endpoint',
      { end_session_endpoint: 'javascript:alert(1)' },
      'absent',
      [/only the portal session/, /not/],
    ],
  ])('reports without a warning that the provider has %s', async (_what, discovery, result, findings) => {
    provider.faults.discovery = discovery
    await portal.connect(provider)
    const { ok, checks } = await portal.sso.providers.test('acme')
    expect(ok).toBe(true)
    const found = checks.filter(({ name }) => name === 'logout' || name === 'back-channel')
    expect(found.map((each) => each.result)).toEqual([result, result])
    for (const [at, message] of findings.entries()) expect(found[at]!.message).toMatch(message)
  })
})

describe('connecting is refused with one sentence, and saves nothing, for', () => {
  async function refusal(settings: object = {}): Promise<string> {
    const error = await portal.connect(provider, settings).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ManagementError)
    expect(await connected()).toEqual([])
    const { message } = error as Error
    expect(message).not.toContain('\n')
    expect(message).not.toContain(provider.clientSecret)
    return message
  }

  it.each<[what: string, settings: object, sentence: RegExp]>([
    ['an unknown preset', { preset: 'nobody-knows-it' }, /^preset: .*"generic"/],
    ['a slug with capitals', { slug: 'Acme' }, /^slug: write 1 to 40 lower-case letters, digits and dashes/],
    ['a slug that is a path', { slug: 'acme/callback' }, /^slug: write 1 to 40/],
    ['a slug with a dash at its end', { slug: 'acme-' }, /^slug: write 1 to 40/],
    ['a slug that is too long', { slug: 'a'.repeat(41) }, /^slug: write 1 to 40/],
    ['a reserved slug', { slug: 'assets' }, /^slug: this is a reserved word/],
    ['no client id', { clientId: '' }, /^clientId: /],
    ['an issuer that is not a URL', { issuer: 'acme' }, /^issuer: /],
    ['an issuer of another protocol', { issuer: 'ftp://id.acme.example' }, /^issuer: /],
    [
      'plain http to another machine',
      { issuer: 'http://id.acme.example' },
      /http:\/\/id\.acme\.example is not https \(http is for loopback only\)/,
    ],
    [
      'a `state` among the parameters',
      { authorizationParameters: { state: 'x' } },
      /must not contain .*state/,
    ],
    [
      'a `redirect_uri` among the parameters',
      { authorizationParameters: { acr_values: '2', redirect_uri: 'https://evil.example' } },
      /must not contain .*redirect_uri/,
    ],
    [
      'a date that does not exist',
      { clientSecretExpiresAt: '2027-02-30' },
      /^clientSecretExpiresAt: write a date/,
    ],
    ['the prompt `none`', { prompt: 'none' }, /^prompt: /],
    [
      'an e-mail address instead of a domain',
      { emailDomains: ['ada@acme.example'] },
      /write a domain such as/,
    ],
    ['a setting that does not exist', { scope: 'everything' }, /scope/],
    ['a symmetric algorithm', { signingAlgorithm: 'HS256' }, /^signingAlgorithm: /],
    ['a tenant that the preset does not ask for', { tenant: 'acme' }, /tenant/],
  ])('%s', async (_what, settings, sentence) => {
    expect(await refusal(settings)).toMatch(sentence)
    expect(provider.requests).toEqual([]) // the input is validated before any request
  })

  it.each<[what: string, faults: Faults, sentence: RegExp, settings?: object]>([
    [
      'another issuer',
      { discovery: { issuer: 'https://other.example' } },
      /compare its "issuer" with what you/,
    ],
    [
      'no discovery document',
      { discoveryResponse: { status: 404, body: 'gone' } },
      /openid-configuration responded with 404: is a part of the path missing, or the realm misspelled\?/,
    ],
    [
      'a document that is not JSON',
      { discoveryResponse: { body: '<html>' } },
      /no usable discovery document/,
    ],
    ['a dropped connection', { discoveryDrop: true }, /no usable discovery document/],
    ['no token endpoint', { discovery: { token_endpoint: undefined } }, /lacks token_endpoint/],
    [
      'an endpoint on plain http elsewhere',
      { discovery: { token_endpoint: 'http://elsewhere.example/token' } },
      /token_endpoint is not an https URL/,
    ],
    [
      'an empty key set',
      { jwksResponse: { body: '{"keys":[]}' } },
      /the key set contains no usable key for RS256/,
    ],
    [
      'no key set',
      { jwksResponse: { status: 500, body: '{}' } },
      /the key set responded with 500 – open \S+\/jwks from this server$/,
    ],
    ['a malformed key set', { jwksResponse: { body: '{"keys":"none"}' } }, /the keys cannot be used/],
    [
      'keys of another kind only',
      { jwksResponse: { body: '{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}' } },
      /no usable key for RS256/,
    ],
    ['a huge key set', { jwksHuge: true }, /the keys cannot be used: .*larger than/],
    [
      'only HS256 and none announced',
      { discovery: { id_token_signing_alg_values_supported: ['HS256', 'none'] } },
      /only HS256, none .* asymmetric algorithm .* HS256 and none are refused/,
    ],
    [
      'no client authentication method in common',
      { discovery: { token_endpoint_auth_methods_supported: ['other_method', 'tls_client_auth'] } },
      /only other_method, tls_client_auth .* choose a method that the provider announces/,
    ],
    [
      'no code flow',
      { discovery: { response_types_supported: ['id_token'] } },
      /does not announce the response type "code"/,
    ],
    ['no secret', {}, /enter the client secret/, { clientSecret: undefined }],
    [
      'no secret, and nothing announced',
      { sparseDiscovery: true },
      /enter the client secret/,
      { clientSecret: undefined },
    ],
    [
      'no secret for a method that needs one',
      {},
      /client_secret_post needs a client secret .* enter the client secret/,
      { clientSecret: undefined, clientAuthentication: 'client_secret_post' },
    ],
  ])('a provider with %s', async (_what, faults, sentence, settings = {}) => {
    Object.assign(provider.faults, faults)
    expect(await refusal(settings)).toMatch(sentence)
  })

  it('several errors, all of which it names', async () => {
    provider.faults.discovery = {
      token_endpoint_auth_methods_supported: ['tls_client_auth'],
      response_types_supported: ['id_token'],
    }
    expect(await refusal()).toMatch(/"code".*; .*tls_client_auth/)
  })

  it('a slug in use, whose provider stays unchanged', async () => {
    await portal.connect(provider)
    const before = await connected()
    await expect(portal.connect(provider, { displayName: 'Another' })).rejects.toThrow(
      'slug: a provider called "acme" is already connected: choose another slug, or update that one',
    )
    expect(await connected()).toEqual(before)
    await portal.connect(provider, { portal: 'another-portal' })
  })
})

describe('Microsoft Entra ID', () => {
  const tenant = '8f9d1f3e-5b0c-4d6a-9c55-0f5bb9d0a001'
  const issuer = `https://login.microsoftonline.com/${tenant}/v2.0`
  const entra = { slug: 'entra', preset: 'entra', clientId: 'portal', clientSecret: 'secret' }

  const metadata = {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/keys`,
    response_types_supported: ['code', 'id_token'],
    id_token_signing_alg_values_supported: ['RS256'],
    token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt', 'client_secret_basic'],
  }
  let requestedUrls: string[]
  let outbound: HttpClients
  let connect: (tenant: string | undefined) => Promise<unknown>

  /** Replaces Entra, which tests cannot reach; the faulty provider supplies the keys. */
  beforeEach(() => {
    requestedUrls = []
    outbound = createHttpClients({ timeoutSeconds: 5, allowedAddresses: ['127.0.0.1'], concurrency: 1 })
    const answer: HttpClients['fetch'] = async (address, options) => {
      requestedUrls.push(address)
      if (address === metadata.jwks_uri) return await outbound.fetch(`${provider.issuer}/jwks`, options)
      return Response.json(metadata)
    }
    const context = {
      providersTable: openProvidersTable(portal.knex),
      events: new EventLog(
        { knex: portal.knex, logger: consoleLogger, breakers: createBreakers(portal.knex, consoleLogger) },
        { clientAddress: 'none' },
      ),
      logger: { info() {}, warn() {}, error() {} },
      urls: new PortalUrls(portal.url, '/'),
      outbound: {
        ...outbound,
        clientFor: () => ({ ...outbound, fetch: answer, fetchFollowingRedirects: answer }),
      },
    }
    const options = { portal: 'default', actor: 'code', source: 'code' } as const
    connect = (tenant) => connectProvider(context, { ...entra, tenant }, options)
  })
  afterEach(() => outbound.close())

  it.each([tenant, tenant.toUpperCase()])('has an issuer with the tenant’s GUID %s', async (entered) => {
    await connect(entered)
    expect(requestedUrls).toEqual([
      `${issuer}/.well-known/openid-configuration?appid=portal`,
      `${issuer}/keys`,
      expect.stringMatching(/\/authorize\?.*&prompt=none$/),
      `${issuer}/token`,
    ])
    expect(await connected()).toMatchObject([
      { issuer, displayName: 'Microsoft Entra ID', clientAuthentication: 'client_secret_post' },
    ])
  })

  it('has the tenant to which discovery says that a domain belongs', async () => {
    await connect('Contoso.OnMicrosoft.com')
    const found = 'https://login.microsoftonline.com/contoso.onmicrosoft.com/v2.0'
    expect(requestedUrls.slice(0, 2)).toEqual([
      `${found}/.well-known/openid-configuration`,
      `${issuer}/.well-known/openid-configuration?appid=portal`,
    ])
    expect(await connected()).toMatchObject([{ issuer }])
  })

  it.each([
    ['all tenants', 'common'],
    ['a path', `${tenant}/../other`],
    ['nothing', undefined],
  ])('is refused with %s instead, without a request', async (_what, entered) => {
    await expect(connect(entered)).rejects.toThrow(
      'tenant: enter the Directory (tenant) ID, a GUID, from the overview page of the app registration',
    )
    expect(requestedUrls).toEqual([])
    expect(await connected()).toEqual([])
  })
})

describe('updating a provider', () => {
  beforeEach(() => portal.connect(provider))

  it('is refused if it would stop working, and changes nothing', async () => {
    const before = await connected()
    for (const changes of [
      { issuer: 'http://127.0.0.1:1' },
      { signingAlgorithm: 'ES512' },
      { authorizationParameters: { nonce: 'x' } },
    ] as Partial<ProviderSettings>[])
      await expect(portal.sso.providers.update('acme', changes)).rejects.toThrow(ManagementError)
    await expect(portal.sso.providers.update('nobody', {})).rejects.toThrow('no provider is called "nobody"')
    expect(await connected()).toEqual(before)
    expect(await signsIn()).toBe(true)
  })

  it('takes effect at the next click, with a new client secret or with the stored one', async () => {
    await portal.sso.providers.update('acme', { displayName: 'Acme International' })
    expect(await picker()).toMatchObject([{ name: 'Acme International' }])
    expect(await signsIn()).toBe(true)
    provider.faults.clientSecrets = ['another one']
    expect(await signsIn()).toBe(false)
    await portal.sso.providers.update('acme', { clientSecret: 'another one' })
    expect(await signsIn()).toBe(true)
  })

  it('directly in the database, with a new version, takes effect at the next click', async () => {
    expect((await authorizationParams()).client_id).toBe(provider.clientId)
    const change = { client_id: 'by-hand', version: portal.knex.raw('version + 1') }
    await portal.knex('sso_providers').where({ slug: 'acme' }).update(change)
    expect((await authorizationParams()).client_id).toBe('by-hand')
  })
})

describe('the request to a provider', () => {
  it('contains the prompt and the parameters of the row', async () => {
    const authorizationParameters = { domain_hint: 'acme.example', ui_locales: 'de en' }
    await portal.connect(provider, { prompt: 'select_account', authorizationParameters })
    expect(await authorizationParams()).toMatchObject({
      prompt: 'select_account',
      ...authorizationParameters,
    })
  })

  it('keeps the parameters that the plugin sets, whatever the row contains', async () => {
    await portal.connect(provider)
    const clean = await authorizationParams()
    const reserved = {
      client_id: 'evil',
      redirect_uri: 'https://evil.example/',
      response_type: 'token',
      scope: 'everything',
      state: 'evil',
      nonce: 'evil',
      code_challenge: 'evil',
      code_challenge_method: 'plain',
    }
    const change = { authorization_parameters: JSON.stringify(reserved), version: 2 }
    await portal.knex('sso_providers').update(change)
    const sent = await authorizationParams()
    expect(Object.keys(sent).sort()).toEqual(Object.keys(clean).sort())
    for (const name of ['client_id', 'redirect_uri', 'response_type', 'scope', 'code_challenge_method'])
      expect([name, sent[name]]).toEqual([name, clean[name]])
    for (const name of ['state', 'nonce', 'code_challenge']) expect(sent[name]).toMatch(/^[\w-]{32,}$/)
    expect(await signsIn()).toBe(true)
  })
})

describe('an unavailable provider', () => {
  const sentence = 'cannot be reached right now'

  function expectRetryLinks(seen: Seen): void {
    expect(seen.status).toBe(502)
    expect(seen.body).toContain(sentence)
    expect(seen.body).toContain('href="/login/acme?returnTo=%2Fportal%2Fdeep"')
    expect(seen.body).toContain('href="/login?returnTo=%2Fportal%2Fdeep"')
  }

  it('shows a page with links to continue, affects no other provider, and works again when it is back', async () => {
    const first = await startFaultyProvider()
    const port = Number(new URL(first.issuer).port)
    await portal.connect(first)
    await portal.connect(provider, { slug: 'second' })
    await first.close()
    expectRetryLinks(await click('acme', '?returnTo=/portal/deep'))
    expectRetryLinks(await click('acme', '?returnTo=/portal/deep&anyway=1'))
    expect(await signsIn('second')).toBe(true)
    const again = await startFaultyProvider({ port })
    expect(await signsIn()).toBe(true)
    await again.close()
  })

  it.each<[what: string, faults: Faults]>([
    ['responds with an error', { discoveryResponse: { status: 503, body: 'back soon' } }],
    ['no longer has a token endpoint', { discovery: { token_endpoint: undefined } }],
    ['never ends its response', { discoveryHuge: true }],
    ['drops the connection', { discoveryDrop: true }],
  ])('that %s at the first click is requested again at the next', async (_what, faults) => {
    await portal.connect(provider)
    Object.assign(provider.faults, faults)
    expectRetryLinks(await click('acme', '?returnTo=/portal/deep'))
    provider.reset()
    expect(await signsIn()).toBe(true)
  })

  it('that names another issuer is a mistake of the configuration, and is requested again at the next click', async () => {
    await portal.connect(provider)
    provider.faults.discovery = { issuer: 'https://other.example' }
    const seen = await click('acme')
    expect(seen.status).toBe(502)
    expect(seen.body).not.toContain(sentence)
    provider.reset()
    expect(await signsIn()).toBe(true)
  })

  it('stays usable with cached metadata: only the sign-in fails, with a page that explains it', async () => {
    await portal.connect(provider)
    expect(await signsIn()).toBe(true)
    provider.faults.discoveryDrop = true
    expect(await signsIn()).toBe(true)
    provider.faults.tokenDrop = true
    const seen = await visitor.open(`${portal.url}/login/acme`)
    expect(seen.status).toBe(502)
    expect(seen.body).toContain('href="/login/acme"')
  })
})

describe('a click on a provider', () => {
  it('causes one discovery for fifty users who click at once before it is cached', async () => {
    await portal.connect(provider)
    provider.reset()
    const seen = await Promise.all(
      Array.from({ length: 50 }, () => new Visitor().get(`${portal.url}/login/acme`)),
    )
    expect(new Set(seen.map(({ status }) => status))).toEqual(new Set([302]))
    expect(discoveries()).toBe(1)
    await click()
    expect(discoveries()).toBe(1)
  })

  it('discovers each of 220 providers once, however often users come back to it', async () => {
    const table = openProvidersTable(portal.knex)
    await portal.connect(provider)
    const [{ id: _, ...acme }] = (await connected()) as [Awaited<ReturnType<typeof connected>>[0]]
    const many = Array.from({ length: 220 }, (_, n) => `provider-${n}`)
    for (const slug of many) await table.insert({ ...acme, slug }, { clientSecret: provider.clientSecret })
    provider.requests.length = 0
    // If starts stay unanswered for ten seconds, the provider is probed.
    const clock = takeClock()
    for (let round = 0; round < 2; round++)
      for (const slug of many)
        expect((await new Visitor().get(`${portal.url}/login/${slug}`)).status).toBe(302)
    clock.back()
    expect(discoveries()).toBe(many.length)
    expect(await signsIn('provider-219')).toBe(true)
  })

  it('uses one of a bounded number of connections: the least recently used is built again', async () => {
    const context = { buildRouter: () => Router() } as Partial<ConnectionContext> as ConnectionContext
    const connections = new ConnectedProviders({} as Core, context, 2)
    await portal.connect(provider)
    const [acme] = await connected()
    const connect = (id: string) => connections.connect({ ...acme!, id })
    const [first, second] = [connect('1'), connect('2')]
    expect([connect('1'), connect('3') === second]).toEqual([first, false])
    expect([connect('1') === first, connect('2') === second]).toEqual([true, false])
  })
})

describe('the picker', () => {
  beforeEach(async () => {
    await portal.connect(provider, { slug: 'one', displayName: 'One' })
    await portal.connect(provider, { slug: 'two', displayName: 'Two', emailDomains: ['two.example'] })
    await portal.connect(provider, { slug: 'three', displayName: 'Three' })
  })

  it('lists the providers in the order of connection, the recommended one first with a badge', async () => {
    expect(await slugs()).toEqual(['one', 'two', 'three'])
    await portal.sso.providers.recommend('three')
    expect((await picker()).map(({ slug, recommended }) => [slug, recommended])).toEqual([
      ['three', true],
      ['one', false],
      ['two', false],
    ])
    await portal.sso.providers.recommend('two')
    expect((await picker()).filter(({ recommended }) => recommended).map(({ slug }) => slug)).toEqual(['two'])
    await portal.sso.providers.clearRecommended()
    expect((await picker()).some(({ recommended }) => recommended)).toBe(false)
    await expect(portal.sso.providers.recommend('nobody')).rejects.toThrow('no provider is called "nobody"')
  })

  it('lists the provider of an e-mail domain first, and hides no other', async () => {
    await portal.sso.providers.recommend('three')
    expect(await slugs(`?email=${encodeURIComponent(' Ada@TWO.example ')}`)).toEqual(['two', 'three', 'one'])
    for (const other of ['ada@elsewhere.example', 'ada@sub.two.example', 'two.example', '']) {
      expect(await slugs(`?email=${encodeURIComponent(other)}`)).toEqual(['three', 'one', 'two'])
    }
  })

  it('shows the provider that this browser used last above the others', async () => {
    expect((await picker()).some(({ lastUsed }) => lastUsed)).toBe(false)
    for (const slug of ['three', 'two']) {
      await visitor.open(`${portal.url}/login/${slug}`)
      await visitor.post(`${portal.url}/logout`)
      expect((await picker()).filter(({ lastUsed }) => lastUsed).map((offer) => offer.slug)).toEqual([slug])
      expect(await slugs()).toEqual([slug, ...['one', 'two', 'three'].filter((each) => each !== slug)])
    }
    visitor = new Visitor()
    expect((await picker()).some(({ lastUsed }) => lastUsed)).toBe(false)
  })

  it('omits a disabled or removed provider, whose login URL no longer works either', async () => {
    await portal.sso.providers.disable('one')
    await portal.sso.providers.remove('two')
    expect(await slugs()).toEqual(['three'])
    for (const slug of ['one', 'two', 'never-connected']) {
      const seen = await click(slug, '?returnTo=/portal/deep')
      expect(seen.status).toBe(404)
      expect(seen.body).toContain('href="/login?returnTo=%2Fportal%2Fdeep"')
      expect(seen.body).not.toContain(`href="/login/${slug}`)
    }
  })
})

describe('in a portal with 10,000 providers', () => {
  const total = 10_000

  beforeEach(async () => {
    await portal.connect(provider, { slug: 'p0', displayName: 'Company 0' })
    await copyProvider(portal.knex, 'p0', total - 1)
  })

  const statements = async (act: () => Promise<unknown>): Promise<string[]> => {
    const sent: string[] = []
    const listener = ({ sql }: { sql: string }) => void sent.push(sql)
    portal.knex.on('query', listener)
    await act()
    portal.knex.off('query', listener)
    return sent
  }

  it('the picker asks for the e-mail address, and its list shows 50 and a search field, with one statement each', async () => {
    const first = await statements(async () => expect(await slugs('?returnTo=/portal')).toEqual([]))
    expect(first).toHaveLength(1)
    const sent = await statements(async () => {
      const { body } = await visitor.get(`${portal.url}/login?by=list&returnTo=/portal`)
      expect(body.match(/class="sso-provider"/g)).toHaveLength(50)
      expect(body.length).toBeLessThan(40_000)
      const fields = Object.entries({ by: 'list', returnTo: '/portal' })
      expect(formIn(body)).toEqual({ action: '/login', fields })
    })
    expect(sent).toHaveLength(1)
  })

  it('the API reads pages: a search, an export, a check for an enabled provider', async () => {
    const { providers } = portal.sso
    const first = await providers.list({ most: 3 })
    const second = await providers.list({ most: 3, after: first.at(-1)!.slug })
    expect([...first, ...second].map(({ slug }) => slug)).toEqual(['p0', 'p1', 'p2', 'p3', 'p4', 'p5'])
    await expect(providers.list({ after: 'p10001' })).rejects.toThrow('no provider is called "p10001"')
    const file = await statements(async () => {
      expect((await providers.export()).providers.map(({ slug }) => slug)).toEqual(
        Array.from({ length: total }, (_, n) => `p${n}`),
      )
    })
    expect(file.length).toBeLessThanOrEqual(21)
    const named = await statements(async () => {
      expect((await providers.export(['p9', 'p8'])).providers.map(({ slug }) => slug)).toEqual(['p8', 'p9'])
    })
    expect(named).toHaveLength(1)
    const table = openProvidersTable(portal.knex)
    expect(await statements(async () => expect(await table.anyEnabled('default')).toBe(true))).toEqual([
      expect.stringMatching(/^select `id` .* limit \?$/),
    ])
  })

  it('an order is one statement, and a move changes two rows', async () => {
    const { providers } = portal.sso
    const order = async (most = 4) => (await providers.list({ most })).map(({ slug }) => slug)
    const updates = async (act: () => Promise<unknown>) =>
      (await statements(act)).filter((sql) => sql.startsWith('update'))
    expect(await updates(() => providers.reorder(['p9999', 'p5000', 'p2']))).toHaveLength(1)
    expect(await order(5)).toEqual(['p9999', 'p5000', 'p2', 'p0', 'p1'])
    expect(await updates(() => providers.move('p5000', 'up'))).toHaveLength(1)
    expect(await order()).toEqual(['p5000', 'p9999', 'p2', 'p0'])
    await providers.move('p5000', 'up')
    await providers.move('p9999', 'down')
    expect(await order()).toEqual(['p5000', 'p2', 'p9999', 'p0'])
    await providers.recommend('p0')
    await providers.move('p0', 'down')
    await providers.move('p5000', 'up')
    expect(await order()).toEqual(['p0', 'p5000', 'p2', 'p9999'])
    // Two that were connected at once.
    await portal.knex('sso_providers').update({ position: 1 }).whereIn('slug', ['p5000', 'p2', 'p9999'])
    await providers.move('p5000', 'up')
    expect((await order(2))[1]).toBe('p5000')
    await expect(providers.reorder(Array(1001).fill('p1'))).rejects.toThrow('at most 1,000 providers')
    await expect(providers.reorder(['p1', 'nope'])).rejects.toThrow('no provider is called "nope"')
  })

  it('a search finds a provider by a part of its name or slug, and takes the text literally', async () => {
    expect(await slugs('?q=COMPANY 9999')).toEqual(['p9999'])
    expect(await slugs('?q=p9998')).toEqual(['p9998'])
    for (const text of ['Company_9999', '%', '!', '\\', "'", '%00', 'Company%00%009999'])
      expect([text, await slugs(`?q=${encodeURIComponent(text)}`)]).toEqual([text, []])
    const { body } = await visitor.get(`${portal.url}/login?q=${encodeURIComponent('"><b>')}`)
    expect(body).toContain('Nothing found')
    expect(body).not.toContain('"><b>')
  })

  it('the one that the browser used last is on top, then the one for the user’s domain', async () => {
    const email_domains = JSON.stringify(['seven.example'])
    await portal.knex('sso_providers').where({ slug: 'p7777' }).update({ email_domains })
    visitor.cookies.set(portal.url, new Map([['sso-last-provider', 'p8888']]))
    const first = (await picker('?email=ada@seven.example')).slice(0, 2)
    expect(first).toMatchObject([{ slug: 'p8888', lastUsed: true }, { slug: 'p7777' }])
    expect(await slugs()).toEqual(['p8888'])
    expect(await slugs('?by=list')).toEqual([
      'p8888',
      'p8888',
      ...Array.from({ length: 49 }, (_, n) => `p${n}`),
    ])
  })
})
