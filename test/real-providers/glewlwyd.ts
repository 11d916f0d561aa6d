import fs from 'node:fs'
import path from 'node:path'
import Libsql from 'libsql'
import { freePort, privateFolder, startServer, unprivileged } from '../support/services/server.ts'
import {
  ada,
  callApi,
  client,
  installPackages,
  newSigningKey,
  type RealProvider,
  type StartedProvider,
} from './real-provider.ts'

const program = '/usr/bin/glewlwyd'
const tables = '/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3'
const plugin = 'oidc'

const configuration = (origin: string, folder: string) => `
port = ${new URL(origin).port}
bind_address = "127.0.0.1"
external_url = "${origin}/"
static_files_path = "${folder}/webapp/"
session_key = "GLEWLWYD${new URL(origin).port}"
cookie_secure = 0
log_mode = "console"
log_level = "INFO"
user_module_path = "/usr/lib/glewlwyd/user"
client_module_path = "/usr/lib/glewlwyd/client"
user_auth_scheme_module_path = "/usr/lib/glewlwyd/scheme"
plugin_module_path = "/usr/lib/glewlwyd/plugin"
hash_algorithm = "SHA512"
database = { type = "sqlite3"; path = "${folder}/glewlwyd.db"; }
static_files_mime_types = (
  { extension = ".html"; mime_type = "text/html"; },
  { extension = ".css"; mime_type = "text/css"; },
  { extension = ".js"; mime_type = "application/javascript"; },
  { extension = ".json"; mime_type = "application/json"; }
)
`

const sessionCookie = (origin: string) => `GLEWLWYDSID${new URL(origin).port}`

const pluginSettings = async (origin: string) => ({
  iss: `${origin}/api/${plugin}`,
  'jwt-type': 'rsa',
  'jwt-key-size': '256',
  'jwks-private': JSON.stringify({ keys: [await newSigningKey()] }),
  'jwks-show': true,
  'access-token-duration': 3600,
  'refresh-token-duration': 3600,
  'code-duration': 600,
  'refresh-token-rolling': false,
  'allow-non-oidc': false,
  'auth-type-code-enabled': true,
  'auth-type-token-enabled': false,
  'auth-type-id-token-enabled': true,
  'auth-type-none-enabled': false,
  'auth-type-password-enabled': false,
  'auth-type-client-enabled': false,
  'auth-type-device-enabled': false,
  'auth-type-refresh-enabled': true,
  'subject-type': 'public',
  'allowed-scope': ['openid'],
  'name-claim': 'mandatory',
  'email-claim': 'mandatory',
  'pkce-allowed': true,
  'session-management-allowed': true,
  'session-cookie-name': sessionCookie(origin),
  'session-cookie-expiration': 3600,
  'front-channel-logout-allowed': true,
  'back-channel-logout-allowed': true,
})

/** The web application reads its settings from a file beside it, which Debian's package replaces by a folder. */
function writeFiles(origin: string): string {
  const folder = privateFolder()
  fs.cpSync('/usr/share/glewlwyd/webapp', path.join(folder, 'webapp'), { recursive: true, dereference: true })
  const settings = path.join(folder, 'webapp/config.json')
  const shipped = path.join(settings, 'config.json')
  if (fs.existsSync(shipped)) {
    fs.renameSync(shipped, `${settings}.draft`)
    fs.rmdirSync(settings)
    fs.renameSync(`${settings}.draft`, settings)
  }
  fs.writeFileSync(path.join(folder, 'glewlwyd.conf'), configuration(origin, folder))
  const database = new Libsql(path.join(folder, 'glewlwyd.db'))
  // The shipped settings store another name than the one that the plugin reads.
  const stored = '"post_logout_redirect_uri":{"multiple":false'
  const read = '"post_logout_redirect_uris":{"multiple":true'
  database.exec(fs.readFileSync(tables, 'utf8').replace(stored, read))
  database.close()
  const owner = unprivileged()
  if (owner)
    for (const file of fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }))
      fs.chownSync(path.join(folder, file), owner.uid, owner.gid)
  return folder
}

/** Signs in with the account that every new installation has. */
async function adminApi(origin: string) {
  const credentials = { username: 'admin', password: 'password' }
  const response = await callApi(`${origin}/api/auth`, { method: 'POST', body: credentials })
  const cookie = response.headers.getSetCookie().map((each) => each.split(';')[0])
  return (pathname: string, method: string, body?: unknown) =>
    callApi(`${origin}/api${pathname}`, { method, body, headers: { cookie: cookie.join('; ') } })
}

export const glewlwyd: RealProvider = {
  name: 'Glewlwyd',
  slug: 'glewlwyd',
  prepare: () => installPackages(['glewlwyd']),

  async start(urls): Promise<StartedProvider> {
    const origin = `http://localhost:${await freePort()}`
    const folder = writeFiles(origin)
    const stop = await startServer(program, ['--config-file', path.join(folder, 'glewlwyd.conf')], folder, {
      ready: /Glewlwyd started/,
    })
    const api = await adminApi(origin)
    const base = { module: plugin, name: plugin, display_name: 'OpenID Connect' }
    await api('/mod/plugin/', 'POST', { ...base, parameters: await pluginSettings(origin) })
    await api('/user/', 'POST', { ...ada, scope: ['g_profile', 'openid'] })
    await api('/client/', 'POST', {
      client_id: client.id,
      client_secret: client.secret,
      confidential: true,
      scope: [],
      redirect_uri: [urls.redirectUri],
      authorization_type: ['code'],
      token_endpoint_auth_method: ['client_secret_basic'],
      post_logout_redirect_uris: [urls.postLogoutRedirectUri],
      backchannel_logout_uri: urls.backChannelLogoutUri,
      backchannel_logout_session_required: 'yes',
    })
    return {
      flags: ['--issuer', `${origin}/api/${plugin}`, '--trusts-email', '--email-domain', 'example.com'],
      issuer: `${origin}/api/${plugin}`,
      async signIn(page) {
        await page.fill('#username', ada.username)
        await page.fill('#password', ada.password)
        await page.getByRole('button', { name: 'OK' }).click()
        await page.getByRole('button', { name: 'Continue' }).click()
      },
      async hasSession(page) {
        return (await page.request.get(`${origin}/api/profile_list`)).ok()
      },
      async confirmSignOut(page) {
        await page.getByRole('button', { name: 'Logout' }).click()
      },
      async signOut(page) {
        // Its profile page ends no other sessions. This is the page that its end_session_endpoint redirects to.
        const sid = (await page.context().cookies(origin)).find(
          ({ name }) => name === sessionCookie(origin),
        )!.value
        const query = new URLSearchParams({ sid, plugin, client_id: client.id, prompt: 'end_session' })
        await page.goto(`${origin}/login.html?${query}`)
        await page.getByRole('button', { name: 'Logout' }).click()
        await page.getByText('You are disconnected').waitFor()
      },
      async rotateKey() {
        const parameters = await pluginSettings(origin)
        await api(`/mod/plugin/${plugin}`, 'PUT', { ...base, parameters })
        await api(`/mod/plugin/${plugin}/reset`, 'PUT')
      },
      stop,
    }
  },
}
