import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { createHttpClients } from '../../lib/oidc/http-client.ts'
import { createProviderClient } from '../../lib/oidc/provider-client.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { startPortalWithAda, useProvider } from '../support/scene.ts'
import { linesOf, testSignIn } from '../support/test-sign-in.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider({ usual: { pushedRequests: 'required' } })
let portal: TestPortal
let visitor: Visitor

beforeAll(async () => {
  portal = await startPortalWithAda(provider)
  provider.faults.pushedRequests = 'client'
  await portal.connect(provider, { slug: 'pushed', pushedRequests: true })
})
afterAll(() => portal.close())
beforeEach(() => {
  visitor = new Visitor()
  portal.logs.length = 0
})

const signIn = async (slug = 'acme') =>
  await visitor.open(`${portal.url}/login/${slug}?returnTo=/portal&login_hint=ada@example.com`)
const sent = () => provider.requests.map(({ method, path }) => `${method} ${path}`)

describe('a pushed authorization request', () => {
  it('is sent where the provider requires it, and costs one request at the start', async () => {
    await visitor.get(`${portal.url}/login/acme`)
    const first = sent()
    provider.requests.length = 0
    expect((await signIn()).status).toBe(200)
    await signIn()
    expect([first, sent()]).toEqual([
      ['GET /.well-known/openid-configuration', 'POST /par'],
      [
        'POST /par',
        'GET /authorize',
        'POST /token',
        'GET /jwks',
        'POST /par',
        'GET /authorize',
        'POST /token',
      ],
    ])
  })

  it('leaves only a reference to it in the browser, and contains what the URL contained otherwise', async () => {
    const { location } = await visitor.get(`${portal.url}/login/acme?login_hint=ada@example.com&lang=de`)
    expect(Object.fromEntries(new URL(location!).searchParams)).toEqual({
      client_id: provider.clientId,
      request_uri: expect.stringMatching(/^urn:ietf:params:oauth:request_uri:/),
    })
    const { body, headers } = provider.requests.at(-1)!
    const text = expect.stringMatching(/^[\w-]{43}$/)
    expect(Object.fromEntries(new URLSearchParams(body))).toEqual({
      response_type: 'code',
      client_id: provider.clientId,
      redirect_uri: `${portal.url}/login/acme/callback`,
      scope: 'openid email profile',
      state: expect.stringMatching(/^[a-z0-9]{6}-[\w-]{32}$/),
      nonce: text,
      code_challenge: text,
      code_challenge_method: 'S256',
      login_hint: 'ada@example.com',
      ui_locales: 'de',
    })
    expect(headers.authorization).toMatch(/^Basic /)
  })

  it('is sent where the row requires it, although the provider does not announce it', async () => {
    provider.faults.pushedRequests = 'client'
    expect((await signIn('pushed')).status).toBe(200)
    expect(sent()).toContain('POST /par')
  })

  it('is not sent where neither requires it', async () => {
    provider.faults.pushedRequests = 'supported'
    await portal.connect(provider, { slug: 'unpushed' })
    provider.requests.length = 0
    expect((await signIn('unpushed')).status).toBe(200)
    expect(sent()).not.toContain('POST /par')
  })

  it('does not repeat the parameters of the endpoint itself', async () => {
    provider.faults.discovery = { authorization_endpoint: `${provider.issuer}/authorize?p=policy` }
    await portal.connect(provider, { slug: 'policy' })
    const { location } = await visitor.get(`${portal.url}/login/policy`)
    expect(new URL(location!).searchParams.getAll('p')).toEqual(['policy'])
    expect(new URLSearchParams(provider.requests.at(-1)!.body).getAll('p')).toEqual(['policy'])
  })

  it.each<[what: string, faults: object, status: number, code: string, cause: RegExp]>([
    [
      'an unregistered redirect URI',
      { redirectUris: ['https://portal.example.com/other'] },
      502,
      'provider_error',
      /the pushed authorization request was refused \(status 400\): "invalid_request: Invalid parameter: redirect_uri"/,
    ],
    [
      'a wrong secret',
      { clientSecrets: ['other'] },
      502,
      'provider_error',
      /\(status 401\): "invalid_client"/,
    ],
    [
      'a page in place of a response',
      { parResponse: { body: '<html>' } },
      502,
      'provider_error',
      /not valid JSON/,
    ],
    ['a fault of the provider', { parResponse: { status: 503 } }, 502, 'provider_unavailable', /503|status/],
    ['no response', { parDrop: true }, 502, 'provider_unavailable', /did not respond/],
  ])('that fails because of %s does not blame the user', async (_what, faults, status, code, cause) => {
    Object.assign(provider.faults, faults)
    const seen = await signIn()
    expect([seen.status, portal.logs.map(({ fields }) => fields.code)]).toEqual([status, [code]])
    expect(String(portal.logs[0]!.fields.cause)).toMatch(cause)
    expect(JSON.stringify(portal.logs)).not.toContain(provider.clientSecret)
  })

  it('that is refused ends a test sign-in with a report that quotes the provider', async () => {
    provider.faults.redirectUris = ['https://portal.example.com/other']
    const report = await testSignIn({ portal, visitor }, 'acme')
    const [failed] = linesOf(report).filter(({ result }) => result === 'failed')
    expect(failed?.text).toContain('Invalid parameter: redirect_uri')
    expect(failed?.text).toContain('The provider refused the authorization request that was pushed to it')
  })

  it('whose response names a hostile reference redirects to the provider all the same', async () => {
    const request_uri = 'https://evil.example/\r\nx: y&redirect_uri=https://evil.example'
    provider.faults.parResponse = { status: 201, body: JSON.stringify({ request_uri, expires_in: 60 }) }
    const { location } = await visitor.get(`${portal.url}/login/acme`)
    const { origin, pathname, searchParams } = new URL(location!)
    expect([origin + pathname, [...searchParams.keys()]]).toEqual([
      `${provider.issuer}/authorize`,
      ['request_uri', 'client_id'],
    ])
  })
})

describe('an attacker who starts many sign-ins, to make the portal flood the provider', () => {
  it('causes no more requests than the rate limit of the start allows', async () => {
    const limited = await startPortal({ rateLimits: { start: 3 } })
    await limited.connect(provider)
    provider.requests.length = 0
    const starts = Array.from({ length: 6 }, () => new Visitor().get(`${limited.url}/login/acme`))
    const statuses = (await Promise.all(starts)).map(({ status }) => status)
    await limited.close()
    expect(statuses.sort()).toEqual([302, 302, 302, 429, 429, 429])
    expect(sent().filter((each) => each === 'POST /par')).toHaveLength(3)
  })

  it('takes turns with other client addresses', async () => {
    const http = createHttpClients({ timeoutSeconds: 5, allowedAddresses: ['127.0.0.0/8'], concurrency: 4 })
    const addresses: unknown[] = []
    const fetch: typeof http.fetch = (url, options) => {
      addresses.push(options.address)
      return http.fetch(url, options)
    }
    const [row] = await portal.sso.providers.list()
    const { clientSecret } = provider
    const client = await createProviderClient(row!, { clientSecret }, { ...http, fetch })
    const url = `${provider.issuer}/authorize?redirect_uri=${portal.url}/login/acme/callback`
    await client.pushRequest!(url, '192.0.2.1')
    await http.close()
    expect(addresses).toEqual(['192.0.2.1'])
  })
})
