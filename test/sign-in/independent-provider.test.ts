import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, it, jest } from '@jest/globals'
import type { ClientMetadata, Configuration, InteractionResults } from 'oidc-provider'
import { startPortal, type TestPortal } from '../support/portal.ts'
import { ada } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

// It warns that its defaults are not for production.
jest.spyOn(console, 'warn').mockImplementation(() => {})
jest.spyOn(console, 'info').mockImplementation(() => {})
const { Provider } = await import('oidc-provider')

let server: Server
let portal: TestPortal

afterEach(async () => {
  await portal.close()
  server.closeAllConnections()
  server.close()
})

/** Starts oidc-provider, an implementation by others, which signs in Ada without a page. */
async function startIndependentProvider(
  features: NonNullable<Configuration['features']>,
  client: Partial<ClientMetadata>,
): Promise<string> {
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, {
    features: { devInteractions: { enabled: false }, ...features },
    clients: [
      {
        client_id: 'portal',
        client_secret: 'a-secret-of-the-portal',
        redirect_uris: [`${portal.url}/login/acme/callback`],
        ...client,
      },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, email: 'ada@example.com', email_verified: true, name: 'Ada Lovelace' }),
    }),
    cookies: { keys: ['a key for cookies'] },
  })
  const onRequest = provider.callback()
  server.on('request', (req, res) => {
    if (!req.url?.startsWith('/interaction/')) return void onRequest(req, res)
    void provider.interactionDetails(req, res).then(async ({ params }) => {
      const grant = new provider.Grant({ accountId: 'ada', clientId: String(params.client_id) })
      grant.addOIDCScope('openid email profile')
      const consent = { grantId: await grant.save() }
      const result: InteractionResults = { login: { accountId: 'ada' }, consent }
      await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: false })
    })
  })
  return issuer
}

it.each<
  [
    what: string,
    features: NonNullable<Configuration['features']>,
    client: Partial<ClientMetadata>,
    settings: { dpop?: boolean; pushedRequests?: boolean },
  ]
>([
  [
    'requires pushed requests',
    { pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true } },
    {},
    {},
  ],
  [
    'requires pushed requests of this client only',
    { pushedAuthorizationRequests: { enabled: true } },
    { require_pushed_authorization_requests: true },
    { pushedRequests: true },
  ],
  ['requires DPoP', { dPoP: { enabled: true } }, { dpop_bound_access_tokens: true }, { dpop: true }],
  [
    'requires DPoP with nonces, and pushed requests',
    {
      dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 1), requireNonce: () => true },
      pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true },
    },
    { dpop_bound_access_tokens: true },
    { dpop: true },
  ],
])('a sign-in works at an independent implementation that %s', async (_what, features, client, settings) => {
  portal = await startPortal()
  await portal.sso.users.create(ada)
  const issuer = await startIndependentProvider(features, client)
  const clientSecret = 'a-secret-of-the-portal'
  await portal.sso.providers.connect({
    ...{ slug: 'acme', displayName: 'Acme', issuer, clientId: 'portal', clientSecret },
    ...settings,
  })
  const { status, body } = await new Visitor().open(`${portal.url}/login/acme?returnTo=/portal`)
  expect([status, body]).toEqual([200, expect.stringContaining('"email":"ada@example.com"')])
})
