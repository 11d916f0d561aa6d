/**
 * A whole portal on one page: a few pages of its own, a classic login, and everything of the plugin.
 *
 *   PORT          default 3000
 *   BASE_URL      default http://localhost:PORT
 *   DATABASE_URL  default sqlite:portal-sso.sqlite3
 *   REDIS_URL     left out: sessions in this process
 *   SSO_SECRET    left out: made once and kept in .portal-sso/secret, for development
 */
import { randomBytes } from 'node:crypto'
import express from 'express'
import { createPortalSso, EmailTakenError, type PortalSsoOptions } from '../lib/index.ts'
import { startIdentityProviders } from './identity-providers.ts'
import { createMailbox } from './mailbox.ts'
import { connectRedis, developmentSecret, fail, readEnvironment } from './portal-environment.ts'
import {
  classicLoginPage,
  deliveryPage,
  homePage,
  icon,
  isAda,
  mailboxPage,
  portalPage,
} from './portal-pages.ts'

const { port, baseUrl, databaseUrl, redisUrl, secret } = readEnvironment()

// In place of a mail server, whose transport (`createTransport(…)` of nodemailer) a real portal gives here.
const mailbox = createMailbox(`${baseUrl}/mailbox`)

const options: PortalSsoOptions = {
  baseUrl,
  secret: secret ?? developmentSecret(),
  database: databaseUrl,
  homePath: '/portal',
  mailer: mailbox.sendMail,
  branding: { name: 'Equipment Portal', support: 'it-help@example.com' },
}
if (redisUrl !== undefined) options.redis = await connectRedis(redisUrl)
const sso = await createPortalSso(options).catch((error: Error) => fail(error.message))

const app = express()
app.use(sso.session())
app.use(sso.router())

app.get('/favicon.ico', (_req, res) => {
  res.type('svg').send(icon)
})
app.get('/', (req, res) => {
  res.send(homePage(req.user))
})
app.use('/portal', sso.guard())
// What matters more is for who signed in a moment ago; everybody else does so once more.
app.get('/portal/delivery', sso.guard({ maxAge: '1m' }), (req, res) => {
  res.send(deliveryPage(req.user))
})
app.get('/portal{/*page}', (req, res) => {
  res.send(portalPage(req.user, req.originalUrl))
})

// Who connects providers. Anybody may come in as Ada here, so on another machine nobody may.
const onThisMachine = ['localhost', '127.0.0.1', '[::1]'].includes(new URL(baseUrl).hostname)
app.use('/admin/sso', sso.admin({ authorize: (req) => onThisMachine && isAda(req.user) }))

// Everybody's mail, for everybody to read: for trying things out on one machine, and nothing else.
app.get('/mailbox', (req, res) => {
  res.send(mailboxPage(mailbox.mails, req.user))
})

// The login that SSO replaces: `GET /login` comes here only while no provider is enabled.
app.get(['/login', '/classic-login'], (_req, res) => {
  res.send(classicLoginPage())
})
app.post('/password-login', sso.classicLoginGate(), express.urlencoded(), async (req, res, next) => {
  const { email, password } = (req.body ?? {}) as Record<string, string>
  const user = password === 'portal' ? await sso.users.findByEmail(String(email)) : undefined
  if (!user) {
    res.status(401).send(classicLoginPage('E-mail or password is wrong.'))
    return
  }
  req.login(user, (error) => (error ? next(error) : res.redirect('/portal')))
})

// Somebody whom the portal knows already.
await sso.users
  .create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
  .catch((error: unknown) => {
    if (!(error instanceof EmailTakenError)) throw error
  })

// Its password is known to everybody: it stays on this machine.
app.listen(port, '127.0.0.1', (error) => {
  if (error) fail(`PORT: the portal cannot start at ${port}: ${error.message}`)
  console.log(`\n  The portal is at ${baseUrl}\n`)
})

// Two identity providers on this machine, so that you can sign in at once. A real portal connects its own instead.
const identityProviders = await startIdentityProviders(port, (slug) => ({
  clientSecret: randomBytes(32).toString('base64url'),
  redirectUri: sso.providers.redirectUri(slug),
  postLogoutRedirectUri: sso.providers.postLogoutRedirectUri(),
  backChannelLogoutUri: sso.providers.backChannelLogoutUri(slug),
})).catch((error: Error) => fail(error.message))
const connected = new Set((await sso.providers.list()).map(({ slug }) => slug))
for (const { slug, displayName, issuer, clientId, clientSecret } of identityProviders) {
  const settings = { displayName, issuer, clientId, clientSecret }
  await (connected.has(slug)
    ? sso.providers.update(slug, settings)
    : sso.providers.connect({ slug, ...settings }))
  console.log(`  ${displayName} is an identity provider at ${issuer}`)
}
if (connected.size === 0) await sso.providers.recommend('northwind')
// What was given to this process, the CLI is given likewise.
const cliCommand = [
  ...(secret === undefined ? ['SSO_SECRET=$(cat .portal-sso/secret)'] : []),
  ...(port === 3000 ? [] : [`BASE_URL=${baseUrl}`]),
  'npm run portal-sso -- providers list',
].join(' ')
console.log(`
  Open ${baseUrl}/portal and choose a provider. Ctrl-C ends it all.
  Signed in as Ada, connect providers at ${baseUrl}/admin/sso (on this machine only).
  The CLI on this portal:  ${cliCommand}
`)
