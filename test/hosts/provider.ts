import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Provider from 'oidc-provider'
import { newSigningKey } from '../real-providers/real-provider.ts'

/** A real provider with its own pages, which accept every login name and any password. Each host registers itself as a client. */
export async function startProvider(): Promise<{ issuer: string; stop(): void }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const issuer = `http://localhost:${(server.address() as AddressInfo).port}`
  const provider = new Provider(issuer, {
    claims: { email: ['email', 'email_verified'], profile: ['name'] },
    findAccount: (_ctx, sub) => ({
      accountId: sub,
      claims: async () => ({ sub, email: `${sub}@example.com`, email_verified: true, name: 'Ada Lovelace' }),
    }),
    cookies: { keys: ['a-secret-for-tests'] },
    jwks: { keys: [await newSigningKey()] },
    // Its own request refuses the loopback.
    fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined } as RequestInit),
    features: {
      devInteractions: { enabled: true },
      registration: { enabled: true },
      backchannelLogout: { enabled: true },
    },
  })
  server.on('request', provider.callback())
  return {
    issuer,
    stop() {
      server.closeAllConnections()
      server.close()
    },
  }
}
