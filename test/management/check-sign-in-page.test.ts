import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import type { Check } from '../../lib/providers/provider.ts'
import {
  type Faults,
  type FaultyProvider,
  type RawAnswer,
  startFaultyProvider,
} from '../support/faulty-provider.ts'
import { startPortal, type TestPortal } from '../support/portal.ts'

let provider: FaultyProvider
let portal: TestPortal

beforeAll(async () => {
  provider = await startFaultyProvider()
})
afterAll(() => provider.close())
beforeEach(async () => {
  provider.reset()
  portal = await startPortal()
})
afterEach(() => portal.close())

const callback = () => portal.sso.providers.redirectUri('acme')

/** The result of the request to the authorization endpoint. It never prevents saving. */
async function checkPage(settings: Partial<ProviderInput> = {}): Promise<Check> {
  const { issuer, clientId, clientSecret } = provider
  const input = { slug: 'acme', issuer, clientId, clientSecret, ...settings }
  const { checks } = await portal.sso.providers.testUnsaved(input)
  const check = checks.find(({ name }) => name === 'authorization')!
  expect(check.result).not.toBe('failed')
  return check
}

const requests = () => provider.requests.filter(({ path }) => path === '/authorize')

describe('the test of the sign-in page', () => {
  it('passes for a valid client, with one request that signs nobody in', async () => {
    const settings = { authorizationParameters: { domain_hint: 'example.com' } }
    expect(await checkPage(settings)).toMatchObject({
      name: 'authorization',
      result: 'ok',
      message: 'the sign-in page accepts the client, the redirect URI and the scopes (login_required)',
    })
    const [request, ...more] = requests()
    expect(more).toEqual([])
    expect(Object.fromEntries(request!.query)).toEqual({
      response_type: 'code',
      client_id: provider.clientId,
      redirect_uri: callback(),
      scope: 'openid email profile',
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
      prompt: 'none',
      domain_hint: 'example.com',
    })
    expect(provider.issued).toEqual([])
  })

  it.each<[what: string, faults: Faults, message: string, hint: RegExp]>([
    [
      'an unregistered redirect URI',
      { redirectUris: ['https://other.example/callback'] },
      'users cannot sign in: the redirect URI is not registered at the provider (status 400, "We are sorry... Invalid parameter: redirect_uri")',
      /^the redirect URI to register is http:\/\/127\.0\.0\.1:\d+\/login\/acme\/callback$/,
    ],
    [
      'a disabled client',
      { clientDisabled: true },
      'users cannot sign in: the client is disabled (status 400, "We are sorry... Client disabled.")',
      /^enable this client at the provider/,
    ],
    [
      'a flow that is off',
      { flowOff: true },
      'users cannot sign in: the client may not use the authorization code flow ("unauthorized_client: Client is not allowed to initiate browser login. Standard flow is disabled.")',
      /Standard flow/,
    ],
    [
      'required PAR',
      {
        authorizeError: {
          error: 'invalid_request',
          error_description: 'Pushed Authorization Request is only allowed.',
        },
      },
      'users cannot sign in: the client must push its authorization requests (PAR) ("invalid_request: Pushed Authorization Request is only allowed.")',
      /pushed authorization requests/,
    ],
    [
      'a forbidden scope',
      { authorizeError: { error: 'invalid_scope', error_description: 'Invalid scopes: openid email' } },
      'users cannot sign in: the client may not request the scopes openid, email and profile ("invalid_scope: Invalid scopes: openid email")',
      /allow this client the scopes/,
    ],
    [
      'a provider that shows errors on its own page',
      {
        authorizeResponse: {
          status: 303,
          headers: {
            location: 'https://ui.example/error?error=invalid_client&error_description=no+such+client',
          },
        },
      },
      'users cannot sign in: the client ID is unknown to the provider ("invalid_client: no such client")',
      /compare the client ID/,
    ],
  ])('warns about %s, in the words of the provider', async (_what, faults, message, hint) => {
    Object.assign(provider.faults, faults)
    const check = await checkPage()
    expect(check).toMatchObject({ result: 'warning', message })
    expect(check.hint).toMatch(hint)
  })

  it('warns about an unknown client ID', async () => {
    expect(await checkPage({ clientId: 'unknown' })).toMatchObject({
      result: 'warning',
      message:
        'users cannot sign in: the client ID is unknown to the provider (status 400, "We are sorry... Client not found.")',
    })
  })

  it.each<[what: string, answer: RawAnswer, message: RegExp]>([
    ['a firewall', { status: 403, body: '<h1>Access denied</h1> redirect_uri' }, /responded with 403/],
    ['a login page', { status: 200, body: '<h1>Sign in</h1> scope redirect_uri' }, /responded with 200/],
    ['a limit', { status: 429, body: 'later' }, /responded with 429/],
    ['a failure', { status: 500, body: 'redirect_uri' }, /responded with 500/],
    [
      'a page of its own',
      { status: 302, headers: { location: '/login?flow=1' } },
      /redirects to a page of its own/,
    ],
    [
      'an overload',
      { status: 302, headers: { location: '/?error=temporarily_unavailable' } },
      /the provider responded with temporarily_unavailable/,
    ],
    [
      'a page whose path looks like ours',
      { status: 302, headers: { location: '/login/acme/callback' } },
      /redirects to a page of its own/,
    ],
    [
      'a page that is as long as a provider likes',
      { status: 200, body: 'x'.repeat(2_000_000) },
      /larger than 1048576 bytes/,
    ],
  ])('reports %s as not tested', async (_what, authorizeResponse, message) => {
    provider.faults.authorizeResponse = authorizeResponse
    const check = await checkPage()
    expect(check).toMatchObject({ result: 'absent', message: expect.stringMatching(message) })
    expect(check.message).toMatch(/^not tested: /)
  })

  it('quotes at most 300 characters of a page, in one line, without secrets, links and markup', async () => {
    const token = 'A'.repeat(40)
    const markup =
      '<script>alert(1)</script><svg onload=x>hidden</svg><a href="https://evil.example">click</a>'
    provider.faults.authorizeResponse = {
      status: 400,
      body: `${markup} ${token} https://evil.example/x\n\u001b[2J${'long '.repeat(500)}`,
    }
    const { message } = await checkPage()
    const [, quoted = ''] = /status 400, "(.*)"\)$/.exec(message) ?? []
    expect(quoted).toMatch(/^click … … /)
    expect((JSON.parse(`"${quoted}"`) as string).length).toBeLessThanOrEqual(300)
    for (const part of ['AAAA', 'evil', 'alert', 'hidden', '\n', '\u001b'])
      expect(message).not.toContain(part)
  })

  it.each([false, true])(
    'quotes no client secret that the provider repeats (PAR: %s)',
    async (pushedRequests) => {
      const { clientSecret } = provider
      if (pushedRequests) provider.faults.pushedRequests = 'supported'
      provider.faults.authorizeResponse = { status: 400, body: `not ${clientSecret}, please` }
      const { message } = await checkPage({ pushedRequests })
      expect(message).toMatch(/"not …, please"/)
    },
  )

  it.each(['<script', '<', 'a.', '</head>', 'https', '&'])(
    'takes no time for a page of many %s',
    async (text) => {
      provider.faults.authorizeResponse = { status: 400, body: text.repeat(100_000) }
      const started = performance.now()
      await checkPage()
      expect(performance.now() - started).toBeLessThan(2000)
    },
  )

  it.each(['http://169.254.169.254/latest/meta-data', 'https://10.0.0.1/authorize'])(
    'never calls %s, and says why',
    async (authorization_endpoint) => {
      provider.faults.discovery = { authorization_endpoint }
      const { checks } = await portal.sso.providers.testUnsaved({
        slug: 'acme',
        issuer: provider.issuer,
        clientId: provider.clientId,
        clientSecret: provider.clientSecret,
      })
      const refusals = checks.filter(({ result }) => result === 'failed' || result === 'absent')
      expect(JSON.stringify(refusals)).toMatch(/is not public|not an https URL/)
    },
  )

  it('follows no redirect', async () => {
    const other = await startFaultyProvider()
    try {
      provider.faults.authorizeResponse = {
        status: 302,
        headers: { location: `${other.issuer}/authorize?error=x` },
      }
      await checkPage()
      expect(other.requests).toEqual([])
    } finally {
      await other.close()
    }
  })
})
