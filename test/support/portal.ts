import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import ejs from 'ejs'
import express, { type Express } from 'express'
import knexModule, { type Knex } from 'knex'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import { createPortalSso, type PortalSso, type PortalSsoOptions } from '../../lib/index.ts'
import type { ProviderInput } from '../../lib/management/provider-input.ts'
import type { FaultyProvider } from './faulty-provider.ts'
import { createTables } from './tables.ts'

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
  /** Connects a test provider as `acme`, unless the settings differ. */
  connect(provider: FaultyProvider, settings?: Partial<ProviderInput> & { portal?: string }): Promise<void>
  close(): Promise<void>
}

export const testSecret = 'a-secret-for-tests-that-is-longer-than-32-characters'

export interface TestPortalOptions extends Partial<PortalSsoOptions> {
  /** mounts the host's routes; default: `mountDefault` */
  mount?: (app: Express, sso: PortalSso) => void
  /** host name of the portal; default 127.0.0.1. Another name is another site for browsers */
  host?: string
}

// Compiles each template once, as in production. Compiling took a quarter of the time of a page.
const render = ejs.render.bind(ejs)
Object.assign(ejs, {
  render: (template: string, data: object, options: object) =>
    render(template, data, { ...options, cache: true }),
})

/** Starts a portal over real HTTP on a free port, by default with an in-memory database. */
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
  if (!given) await createTables(knex)
  const logs: LogLine[] = []
  const log = (level: LogLine['level']) => (fields: object, message: string) => {
    logs.push({ level, message, fields: { ...fields } })
  }
  const sso = await createPortalSso({
    baseUrl: url,
    secret: testSecret,
    // The test providers run on this machine.
    outbound: { allowedAddresses: ['127.0.0.0/8'] },
    logger: { info: log('info'), warn: log('warn'), error: log('error') },
    // All requests of the tests have one client address.
    rateLimits: false,
    ...options,
    // Changes that a test makes directly in the database must apply immediately.
    session: { userCacheSeconds: 0, ...options.session },
    database: knex,
  })
  const app = express()
  // Browsers request this on every page without an icon.
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
      await sso.providers.connect(acmeInput(provider, settings), { portal })
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await sso.close()
      if (!given) await knex.destroy()
    },
  }
}

/** The input that connects a provider as `acme`. */
export const acmeInput = (
  { issuer, clientId, clientSecret }: FaultyProvider,
  settings: Partial<ProviderInput> = {},
) => ({ slug: 'acme', displayName: 'Acme', issuer, clientId, clientSecret, ...settings })

/** Mounts a start page, and a guarded `/portal` that returns the signed-in user. */
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
