import path from 'node:path'
import { findOnPath, progress } from '../support/services/programs.ts'
import { freePort, privateFolder, startServer } from '../support/services/server.ts'
import {
  ada,
  cached,
  callApi,
  client,
  type PortalUrls,
  type RealProvider,
  runIn,
  type StartedProvider,
} from './real-provider.ts'

const version = '26.7.3'
const realm = 'acme'
const admin = { username: 'admin', password: 'a-password-for-tests' }
let home = ''

/** The server distribution, with a configuration that needs no build at start. */
async function install(folder: string): Promise<void> {
  progress(`Installing Keycloak ${version} with Maven`)
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:unpack'
  const artifact = `-Dartifact=org.keycloak:keycloak-quarkus-dist:${version}:zip`
  await runIn(folder, ['mvn', '-q', '-B', goal, artifact, `-DoutputDirectory=${folder}`])
  const script = path.join(folder, `keycloak-${version}`, 'bin/kc.sh')
  await runIn(folder, ['/bin/sh', script, 'build', '--db=dev-mem'])
}

async function adminApi(origin: string) {
  const response = await fetch(`${origin}/realms/master/protocol/openid-connect/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'password', client_id: 'admin-cli', ...admin }),
  })
  const { access_token } = (await response.json()) as { access_token: string }
  return (pathname: string, method = 'GET', body?: unknown) =>
    callApi(`${origin}/admin/realms${pathname}`, {
      method,
      body,
      headers: { authorization: `Bearer ${access_token}` },
    })
}

export const realmSettings = (urls: PortalUrls) => ({
  realm,
  enabled: true,
  users: [
    {
      username: ada.username,
      email: ada.email,
      emailVerified: true,
      firstName: 'Ada',
      lastName: 'Lovelace',
      enabled: true,
      credentials: [{ type: 'password', value: ada.password }],
    },
  ],
  clients: [
    {
      clientId: client.id,
      secret: client.secret,
      redirectUris: [urls.redirectUri],
      frontchannelLogout: false,
      attributes: {
        'post.logout.redirect.uris': urls.postLogoutRedirectUri,
        'backchannel.logout.url': urls.backChannelLogoutUri,
        'backchannel.logout.session.required': 'true',
      },
    },
  ],
})

async function rotateKey(origin: string): Promise<void> {
  const api = await adminApi(origin)
  const providerType = 'org.keycloak.keys.KeyProvider'
  const components = `/${realm}/components`
  const [old] = (await (await api(`${components}?type=${providerType}&name=rsa-generated`)).json()) as {
    id: string
    parentId: string
  }[]
  const config = { priority: ['200'], keySize: ['2048'], algorithm: ['RS256'] }
  const { parentId } = old!
  await api(components, 'POST', {
    name: 'rotated',
    providerId: 'rsa-generated',
    providerType,
    parentId,
    config,
  })
  await api(`${components}/${old!.id}`, 'DELETE')
}

export const keycloak: RealProvider = {
  name: `Keycloak ${version}`,
  slug: 'keycloak',

  async prepare() {
    for (const program of ['java', 'mvn']) if (!findOnPath(program)) return `${program} is not installed`
    home = path.join(await cached(`keycloak-${version}`, install), `keycloak-${version}`)
    return undefined
  },

  async start(urls): Promise<StartedProvider> {
    const port = await freePort()
    const origin = `http://localhost:${port}`
    const args = [
      'start',
      '--optimized',
      '--http-enabled=true',
      '--http-host=127.0.0.1',
      `--http-port=${port}`,
    ]
    const folder = privateFolder()
    const stop = await startServer(
      '/bin/sh',
      [path.join(home, 'bin/kc.sh'), ...args, `--hostname=${origin}`, '--cache=local'],
      folder,
      {
        ready: /Listening on:/,
        asThisUser: true,
        env: {
          KC_BOOTSTRAP_ADMIN_USERNAME: admin.username,
          KC_BOOTSTRAP_ADMIN_PASSWORD: admin.password,
          // Starts faster; a test needs no optimised code.
          JAVA_OPTS_APPEND: '-XX:TieredStopAtLevel=1',
        },
      },
    )
    await (await adminApi(origin))('', 'POST', realmSettings(urls))
    return {
      flags: ['keycloak', '--address', origin, '--realm', realm],
      issuer: `${origin}/realms/${realm}`,
      async signIn(page) {
        await page.fill('#username', ada.username)
        await page.fill('#password', ada.password)
        await page.click('#kc-login')
      },
      async signOut(page) {
        await page.goto(`${origin}/realms/${realm}/protocol/openid-connect/logout`)
        await page.click('#kc-logout')
        await page.getByRole('heading', { name: 'You are logged out' }).waitFor()
      },
      rotateKey: () => rotateKey(origin),
      stop,
    }
  },
}
