import { generateKeyPairSync, randomUUID } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort, privateFolder, startServer, unprivileged } from '../support/services/server.ts'
import {
  client,
  installPackages,
  type PortalUrls,
  type RealProvider,
  type StartedProvider,
} from './real-provider.ts'

const share = '/usr/share/lemonldap-ng/portal'

/** Demo accounts are built in: the password is the name. */
const user = { name: 'dwho', email: 'dwho@badwolf.org' }

const ini = (folder: string) => `
[all]
logLevel = warn
checkTime = 1
[configuration]
type = File
dirName = ${folder}/conf
[portal]
staticPrefix = /static
templateDir = ${share}/templates
languages = en
`

const application = `
use Plack::Builder;
use Plack::App::File;
use Lemonldap::NG::Portal;
builder {
  mount '/static' => Plack::App::File->new(root => '${share}/htdocs/static')->to_app;
  mount '/javascript' => Plack::App::File->new(root => '/usr/share/javascript')->to_app;
  mount '/' => Lemonldap::NG::Portal->run({});
}
`

function signingKey() {
  const pem = { format: 'pem' } as const
  const { privateKey, publicKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { ...pem, type: 'pkcs1' },
    publicKeyEncoding: { ...pem, type: 'spki' },
  })
  return {
    oidcServicePrivateKeySig: privateKey,
    oidcServicePublicKeySig: publicKey,
    oidcServiceKeyIdSig: randomUUID(),
  }
}

const settings = (origin: string, folder: string, urls: PortalUrls) => ({
  portal: `${origin}/`,
  domain: 'localhost',
  cookieName: `lemonldap${new URL(origin).port}`,
  securedCookie: 0,
  checkTime: 1,
  key: randomUUID(),
  authentication: 'Demo',
  userDB: 'Same',
  passwordDB: 'Null',
  registerDB: 'Null',
  // Does nothing. The default needs more packages.
  captcha: '::Auth::Null',
  demoExportedVars: { cn: 'cn', mail: 'mail', uid: 'uid' },
  globalStorage: 'Apache::Session::File',
  globalStorageOptions: { Directory: `${folder}/sessions`, LockDirectory: `${folder}/sessions/lock` },
  localSessionStorage: 'Cache::FileCache',
  localSessionStorageOptions: { namespace: 'sessions', cache_root: `${folder}/cache` },
  persistentStorage: 'Apache::Session::File',
  persistentStorageOptions: { Directory: `${folder}/sessions`, LockDirectory: `${folder}/sessions/lock` },
  locationRules: { [new URL(origin).host]: { default: 'accept' } },
  issuerDBOpenIDConnectActivation: 1,
  oidcServiceMetaDataIssuer: origin,
  oidcServiceAllowAuthorizationCodeFlow: 1,
  // This version sends the user ID as sid, but only to the front channel.
  oidcRPMetaDataExportedVars: { portal: { email: 'mail', name: 'cn', sid: 'uid' } },
  oidcRPMetaDataOptionsExtraClaims: { portal: { email: 'email sid' } },
  oidcRPMetaDataOptions: {
    portal: {
      oidcRPMetaDataOptionsClientID: client.id,
      oidcRPMetaDataOptionsClientSecret: client.secret,
      oidcRPMetaDataOptionsRedirectUris: urls.redirectUri,
      oidcRPMetaDataOptionsPostLogoutRedirectUris: urls.postLogoutRedirectUri,
      oidcRPMetaDataOptionsBypassConsent: 1,
      oidcRPMetaDataOptionsIDTokenSignAlg: 'RS256',
      oidcRPMetaDataOptionsIDTokenForceClaims: 1,
      oidcRPMetaDataOptionsIDTokenExpiration: 3600,
      oidcRPMetaDataOptionsUserIDAttr: 'uid',
      oidcRPMetaDataOptionsLogoutUrl: urls.frontChannelLogoutUri,
      oidcRPMetaDataOptionsLogoutType: 'front',
      oidcRPMetaDataOptionsLogoutSessionRequired: 1,
    },
  },
})

export const lemonldap: RealProvider = {
  name: 'LemonLDAP::NG',
  slug: 'lemonldap',
  email: user.email,

  prepare: () =>
    installPackages(['liblemonldap-ng-portal-perl', 'libio-string-perl', 'libstring-random-perl', 'starman']),

  async start(urls): Promise<StartedProvider> {
    const port = await freePort()
    const origin = `http://localhost:${port}`
    const folder = privateFolder()
    const write = (file: string, text: string) => fs.writeFileSync(path.join(folder, file), text)
    for (const each of ['conf', 'cache', 'sessions', 'sessions/lock']) fs.mkdirSync(path.join(folder, each))
    const configure = (cfgNum: number) =>
      write(
        `conf/lmConf-${cfgNum}.json`,
        JSON.stringify({
          ...settings(origin, folder, urls),
          ...signingKey(),
          cfgNum,
          cfgDate: String(cfgNum),
        }),
      )
    configure(1)
    write('lemonldap-ng.ini', ini(folder))
    write('portal.psgi', application)
    const owner = unprivileged()
    if (owner)
      for (const file of ['.', ...fs.readdirSync(folder, { recursive: true, encoding: 'utf8' })])
        fs.chownSync(path.join(folder, file), owner.uid, owner.gid)
    // Several processes, because the portal fetches the keys while another request waits for it.
    const args = ['--listen', `127.0.0.1:${port}`, '--workers', '4', path.join(folder, 'portal.psgi')]
    const stop = await startServer('/usr/bin/starman', args, folder, {
      ready: /Binding to TCP port/,
      env: { LLNG_DEFAULTCONFFILE: path.join(folder, 'lemonldap-ng.ini') },
    })
    return {
      flags: [
        '--issuer',
        origin,
        '--front-channel-logout',
        '--trusts-email',
        '--email-domain',
        'badwolf.org',
      ],
      issuer: origin,
      async signIn(page) {
        await page.fill('input[name=user]', user.name)
        await page.fill('input[name=password]', user.name)
        await page.locator('button[type=submit]').first().click()
      },
      async confirmSignOut(page) {
        await page.getByRole('button', { name: 'Accept' }).click()
        // The page with the frames of the front channel, which redirects by itself after 30 seconds.
        await page.getByText('Continue').click()
      },
      async signOut(page) {
        await page.goto(`${origin}/?logout=1`)
      },
      async rotateKey() {
        configure(2)
        // Each process reads the new configuration with its first request after a second.
        await delay(2500)
      },
      stop,
    }
  },
}
