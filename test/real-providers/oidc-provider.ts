import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider, { type Configuration } from 'oidc-provider'
import { ada, client, newSigningKey, type RealProvider, type StartedProvider } from './real-provider.ts'

export const oidcProvider: RealProvider = {
  name: 'oidc-provider',
  slug: 'oidc-provider',

  async prepare() {
    return undefined
  },

  async start(urls): Promise<StartedProvider> {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const issuer = `http://localhost:${port}`
    const configuration: Configuration = {
      clients: [
        {
          client_id: client.id,
          client_secret: client.secret,
          redirect_uris: [urls.redirectUri],
          post_logout_redirect_uris: [urls.postLogoutRedirectUri],
          backchannel_logout_uri: urls.backChannelLogoutUri,
          backchannel_logout_session_required: true,
        },
      ],
      claims: { email: ['email', 'email_verified'], profile: ['name'] },
      findAccount: (_ctx, sub) => ({
        accountId: sub,
        claims: async () => ({ sub, email: ada.email, email_verified: true, name: ada.name }),
      }),
      cookies: { keys: ['a-secret-for-tests'], names: { session: `session${port}` } },
      // Its own request refuses the loopback.
      fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined } as RequestInit),
      // Its own pages, which accept any password.
      features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
    }
    let answer: RequestListener
    /** A provider with a new key. It forgets its sessions. */
    const rotateKey = async () => {
      answer = new Provider(issuer, { ...configuration, jwks: { keys: [await newSigningKey()] } }).callback()
    }
    await rotateKey()
    server.on('request', (req, res) => void answer(req, res))
    return {
      flags: ['--issuer', issuer],
      issuer,
      async signIn(page) {
        await page.fill('input[name=login]', ada.username)
        await page.fill('input[name=password]', ada.password)
        await page.getByRole('button', { name: 'Sign-in' }).click()
        await page.getByRole('button', { name: 'Continue' }).click()
      },
      async confirmSignOut(page) {
        await page.getByRole('button', { name: 'Yes, sign me out' }).click()
      },
      async signOut(page) {
        await page.goto(`${issuer}/session/end`)
        await page.getByRole('button', { name: 'Yes, sign me out' }).click()
        await page.getByText('Sign-out Success').waitFor()
      },
      rotateKey,
      async stop() {
        server.closeAllConnections()
        server.close()
      },
    }
  },
}
