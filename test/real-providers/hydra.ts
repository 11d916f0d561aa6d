import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import express from 'express'
import type pg from 'pg'
import { freshPostgres } from '../support/databases.ts'
import { findOnPath, progress } from '../support/services/programs.ts'
import { freePort, privateFolder, startServer } from '../support/services/server.ts'
import {
  ada,
  cached,
  callApi,
  client,
  newSigningKey,
  type RealProvider,
  runIn,
  type StartedProvider,
} from './real-provider.ts'

const version = 'v2.3.0'
let program = ''

async function install(folder: string): Promise<void> {
  progress(`Building Ory Hydra ${version} with Go`)
  // Without cgo: the server uses PostgreSQL only.
  const env = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod' }
  const go = (...args: string[]) => runIn(folder, ['go', ...args], env)
  await go('mod', 'init', 'hydra')
  // Hydra replaces this module. Go ignores the replacements of dependencies.
  const fork = 'github.com/ory/pop/v6@v6.2.1-0.20241121111754-e5dfc0f3344b'
  await go('mod', 'edit', `-replace=github.com/gobuffalo/pop/v6=${fork}`)
  await go('get', '-tool', `github.com/ory/hydra/v2@${version}`)
  await go('build', '-o', 'hydra', 'github.com/ory/hydra/v2')
}

/** Hydra has no pages of its own, but asks an application for every sign-in, consent and sign-out. */
async function startPages(adminUrl: () => string): Promise<{ server: Server; url: string }> {
  const accept = async (kind: 'login' | 'consent' | 'logout', challenge: unknown, body: object) => {
    const url = `${adminUrl()}/admin/oauth2/auth/requests/${kind}/accept?${kind}_challenge=${challenge}`
    const response = await callApi(url, { method: 'PUT', body })
    return ((await response.json()) as { redirect_to: string }).redirect_to
  }
  const request = async (kind: 'login' | 'consent', challenge: unknown) => {
    const url = `${adminUrl()}/admin/oauth2/auth/requests/${kind}?${kind}_challenge=${challenge}`
    return (await (await callApi(url)).json()) as {
      skip: boolean
      subject: string
      requested_scope: string[]
    }
  }
  const login = { subject: 'ada', remember: true, remember_for: 3600 }
  const app = express()
  app.use(express.urlencoded())
  app.get('/login', async ({ query: { login_challenge } }, res) => {
    const { skip } = await request('login', login_challenge)
    if (skip) res.redirect(await accept('login', login_challenge, login))
    else
      res.send(
        '<form method=post><input name=user><input name=password type=password><button>Sign in</button></form>',
      )
  })
  app.post('/login', async ({ query: { login_challenge }, body }, res) => {
    if (body.user !== ada.username || body.password !== ada.password) res.status(403).send('Wrong password')
    else res.redirect(await accept('login', login_challenge, login))
  })
  app.get('/consent', async ({ query: { consent_challenge } }, res) => {
    const { requested_scope } = await request('consent', consent_challenge)
    const id_token = { email: ada.email, email_verified: true, name: ada.name }
    const consent = { grant_scope: requested_scope, remember: true, session: { id_token } }
    res.redirect(await accept('consent', consent_challenge, consent))
  })
  app.get('/logout', (_req, res) => {
    res.send('<form method=post><button>Sign out</button></form>')
  })
  app.post('/logout', async ({ query: { logout_challenge } }, res) => {
    res.redirect(await accept('logout', logout_challenge, {}))
  })
  app.get('/signed-out', (_req, res) => {
    res.send('You are signed out')
  })
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, url: `http://localhost:${(server.address() as AddressInfo).port}` }
}

/** Replaces the key that Hydra would generate itself, with 4096 bits, during the first request. */
async function setSigningKey(adminUrl: string): Promise<void> {
  const keys = [await newSigningKey()]
  await callApi(`${adminUrl}/admin/keys/hydra.openid.id-token`, { method: 'PUT', body: { keys } })
}

/** Waits until Hydra has generated its other keys. Until then it closes connections after ten seconds. */
async function hasKeys(origin: string): Promise<void> {
  const late = Date.now() + 60_000
  for (;;) {
    const response = await callApi(`${origin}/.well-known/jwks.json`).catch((error: Error) => error)
    if (response instanceof Response) return
    if (Date.now() > late) throw response
  }
}

export const hydra: RealProvider = {
  name: `Ory Hydra ${version}`,
  slug: 'hydra',

  async prepare() {
    if (!findOnPath('go')) return 'go is not installed'
    program = path.join(await cached(`hydra-${version}`, install), 'hydra')
    return undefined
  },

  async start(urls): Promise<StartedProvider> {
    const [publicPort, adminPort] = [await freePort(), await freePort()]
    const [origin, adminUrl] = [`http://localhost:${publicPort}`, `http://localhost:${adminPort}`]
    const database = await freshPostgres()
    const { host, port, user, database: name } = database.config.connection as pg.ConnectionConfig
    const pages = await startPages(() => adminUrl)
    const env = {
      DSN: `postgres://${user}@${host}:${port}/${name}?sslmode=disable`,
      SECRETS_SYSTEM: 'a-secret-for-tests-that-is-longer-than-32-characters',
      SERVE_PUBLIC_PORT: String(publicPort),
      SERVE_PUBLIC_HOST: '127.0.0.1',
      SERVE_ADMIN_PORT: String(adminPort),
      SERVE_ADMIN_HOST: '127.0.0.1',
      URLS_SELF_ISSUER: origin,
      URLS_LOGIN: `${pages.url}/login`,
      URLS_CONSENT: `${pages.url}/consent`,
      URLS_LOGOUT: `${pages.url}/logout`,
      URLS_POST_LOGOUT_REDIRECT: `${pages.url}/signed-out`,
      SQA_OPT_OUT: 'true',
    }
    await runIn('/', [program, 'migrate', 'sql', '-e', '--yes'], env)
    const stopServer = await startServer(program, ['serve', 'all', '--dev'], privateFolder(), {
      ready: /Setting up http server[\s\S]+Setting up http server/,
      asThisUser: true,
      env,
    })
    await setSigningKey(adminUrl)
    await hasKeys(origin)
    await callApi(`${adminUrl}/admin/clients`, {
      method: 'POST',
      body: {
        client_id: client.id,
        client_secret: client.secret,
        redirect_uris: [urls.redirectUri],
        scope: 'openid email profile',
        post_logout_redirect_uris: [urls.postLogoutRedirectUri],
        backchannel_logout_uri: urls.backChannelLogoutUri,
        backchannel_logout_session_required: true,
      },
    })
    return {
      flags: ['--issuer', origin],
      issuer: origin,
      async signIn(page) {
        await page.fill('input[name=user]', ada.username)
        await page.fill('input[name=password]', ada.password)
        await page.getByRole('button', { name: 'Sign in' }).click()
      },
      async confirmSignOut(page) {
        await page.getByRole('button', { name: 'Sign out' }).click()
      },
      async signOut(page) {
        await page.goto(`${origin}/oauth2/sessions/logout`)
        await page.getByRole('button', { name: 'Sign out' }).click()
        await page.getByText('You are signed out').waitFor()
      },
      async rotateKey() {
        await setSigningKey(adminUrl)
      },
      async stop() {
        await stopServer()
        pages.server.closeAllConnections()
        pages.server.close()
        await database.drop()
      },
    }
  },
}
