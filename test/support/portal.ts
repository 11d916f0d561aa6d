import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type Express } from 'express'
import knexModule, { type Knex } from 'knex'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import { createPortalSso, type PortalSso, type PortalSsoOptions } from '../../lib/index.ts'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import type { FaultyProvider } from './faulty-provider.ts'

export interface LogLine {
  level: 'info' | 'warn' | 'error'
  message: string
  fields: Record<string, unknown>
}

export interface TestPortal {
  url: string
  app: Express
  sso: PortalSso
  knex: Knex
  logs: LogLine[]
  /** Connects a provider that was started for the test. */
  connect(provider: FaultyProvider, settings?: Partial<ProviderInput> & { portal?: string }): Promise<void>
  close(): Promise<void>
}

export const testSecret = 'a-secret-for-tests-that-is-longer-than-32-characters'

export interface TestPortalOptions extends Partial<PortalSsoOptions> {
  /** what the host mounts; default: a guarded `/portal` that says who is signed in */
  mount?: (app: Express, sso: PortalSso) => void
  /** by which browsers know this machine; default 127.0.0.1. Another one is another site */
  host?: string
}

/** A portal over real HTTP on a free port, with a database of its own in memory unless given one. */
export async function startPortal({
  mount = mountDefault,
  host = '127.0.0.1',
  ...options
}: TestPortalOptions = {}): Promise<TestPortal> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://${host}:${(server.address() as AddressInfo).port}`
  const given = options.database as Knex | undefined
  const knex = given ?? knexModule(sqliteConfig(':memory:'))
  const logs: LogLine[] = []
  const log = (level: LogLine['level']) => (fields: object, message: string) => {
    logs.push({ level, message, fields: { ...fields } })
  }
  const sso = await createPortalSso({
    baseUrl: url,
    secret: testSecret,
    // The test's providers are on this machine, whatever the portal says of itself.
    outbound: { allowedAddresses: ['127.0.0.0/8'] },
    logger: { info: log('info'), warn: log('warn'), error: log('error') },
    // All that tests send comes from one address.
    rateLimits: false,
    ...options,
    // What a test changes past the portal is to count at once.
    session: { userCacheSeconds: 0, ...options.session },
    database: knex,
  })
  const app = express()
  // Hosts serve this; a browser asks for it on every page that names no icon.
  app.get('/favicon.ico', (_req, res) => void res.sendStatus(204))
  mount(app, sso)
  server.on('request', app)
  return {
    url,
    app,
    sso,
    knex,
    logs,
    async connect(provider, { portal, ...settings } = {}) {
      const { issuer, clientId, clientSecret } = provider
      const input = { slug: 'acme', displayName: 'Acme', issuer, clientId, clientSecret, ...settings }
      await sso.providers.connect(input, { portal })
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await sso.close()
      if (!given) await knex.destroy()
    },
  }
}

export function mountDefault(app: Express, sso: PortalSso): void {
  app.use(sso.session())
  app.use(sso.router())
  app.use('/portal', sso.guard(), (req, res) => {
    res.json({ user: req.user, path: req.originalUrl })
  })
  app.get('/', (req, res) => {
    res.send(req.user ? `home of ${(req.user as { email: string }).email}` : 'home of nobody')
  })
}
