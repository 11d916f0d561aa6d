/** A complete portal: a few pages, a classic login, and all features of the plugin. See `readEnvironment` for its variables. */
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

// A real portal passes a nodemailer transport (`createTransport(…)`) instead.
const mailbox = createMailbox(`${baseUrl}/mailbox`)

// A real portal deletes the stored password: another person may have registered the address and chosen it.
const withoutPassword = new Set<string>()

const options: PortalSsoOptions = {
  baseUrl,
  secret: secret ?? developmentSecret(),
  database: databaseUrl,
  homePath: '/portal',
  mailer: mailbox.sendMail,
  users: { onLinked: ({ id }, { firstLink }) => void (firstLink && withoutPassword.add(id)) },
  branding: { name: 'Equipment Portal', support: 'it-help@example.com' },
}
const redis = redisUrl === undefined ? undefined : await connectRedis(redisUrl)
if (redis) options.redis = redis
const sso = await createPortalSso(options).catch((error: Error) => fail(error.message))

const app = express()
app.use(sso.healthRoutes())
app.use(sso.session())
app.use(sso.router())

app.get('/favicon.ico', (_req, res) => {
  res.type('svg').send(icon)
})
app.get('/', (req, res) => {
  res.send(homePage(req.user))
})
app.use('/portal', sso.guard())
// A sensitive page: users who did not sign in within the last minute must authenticate again.
app.get('/portal/delivery', sso.guard({ maxAge: '1m' }), (req, res) => {
  res.send(deliveryPage(req.user))
})
app.get('/portal{/*page}', (req, res) => {
  res.send(portalPage(req.user, req.originalUrl))
})

// Ada administers the portal. Anyone can sign in as Ada here, so the admin pages are open only on this machine.
const onThisMachine = ['localhost', '127.0.0.1', '[::1]'].includes(new URL(baseUrl).hostname)
app.use('/admin/sso', sso.admin({ authorize: (req) => onThisMachine && isAda(req.user) }))

// Shows all mails to everyone. For trying things out on one machine only.
app.get('/mailbox', (req, res) => {
  res.send(mailboxPage(mailbox.mails, req.user))
})

// The login that SSO replaces: `GET /login` arrives here only while no provider is enabled.
app.get(['/login', '/classic-login'], (_req, res) => {
  res.send(classicLoginPage())
})
app.post('/password-login', sso.classicLoginGate(), express.urlencoded(), async (req, res, next) => {
  const { email, password } = (req.body ?? {}) as Record<string, string>
  const user = password === 'portal' ? await sso.users.findByEmail(String(email)) : undefined
  if (!user || withoutPassword.has(user.id)) {
    res.status(401).send(classicLoginPage('E-mail or password is wrong.'))
    return
  }
  req.login(user, (error) => {
    if (error) return next(error)
    // Counts for `sso.guard({ maxAge })`, even if the user was signed in already.
    sso.markAuthenticated(req)
    res.redirect('/portal')
  })
})

// An existing user.
await sso.users
  .create({ email: 'ada@example.com', name: 'Ada Lovelace', fields: {} })
  .catch((error: unknown) => {
    if (!(error instanceof EmailTakenError)) throw error
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
  // Without a list of domains, the portal would trust every address that these providers have verified.
  const emailDomains = ['example.com']
  const settings = { displayName, issuer, clientId, clientSecret, emailDomains }
  await (connected.has(slug)
    ? sso.providers.update(slug, settings)
    : sso.providers.connect({ slug, ...settings }))
  console.log(`  ${displayName} is an identity provider at ${issuer}`)
}
if (connected.size === 0) await sso.providers.recommend('northwind')
// The CLI needs the same environment as this process.
const cliCommand = [
  ...(secret === undefined ? ['SSO_SECRET=$(cat .portal-sso/secret)'] : []),
  ...(port === 3000 ? [] : [`BASE_URL=${baseUrl}`]),
  'npm run portal-sso -- providers list',
].join(' ')
// Listen last, so that the first login page shows both providers. Listen on the loopback only, because the password is public.
const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) fail(`PORT: the portal cannot start at ${port}: ${error.message}`)
  console.log(`
  The portal is at ${baseUrl}

  Open ${baseUrl}/portal and choose a provider. Press Ctrl-C to stop.
  Signed in as Ada, connect providers at ${baseUrl}/admin/sso (on this machine only).
  Command line:  ${cliCommand}
`)
})

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, async () => {
    // Stops accepting connections, and waits for the responses in flight.
    const closed = new Promise((resolve) => server.close(resolve))
    // A connection that has just sent its response stays open otherwise, for the next request.
    const idle = setInterval(() => server.closeIdleConnections(), 100)
    // A client that never reads its response must not keep the process alive.
    const deadline = setTimeout(() => server.closeAllConnections(), 10_000)
    await closed
    clearInterval(idle)
    clearTimeout(deadline)
    await sso.close()
    if (redis) await redis.close()
    for (const provider of identityProviders) await provider.close()
  })
