import { createRequire } from 'node:module'
import { createClient } from 'redis'
import { client, databaseUrl, guardedPage, issuer, people, redisUrl, secret, serve, url } from './serve.js'

// A host and the plugin share one Express. The one beside this file belongs to the other servers.
const { default: express } = await import(createRequire(process.env.PLUGIN).resolve('express'))
const { createPortalSso } = await import(process.env.PLUGIN)
const redis = await createClient({ url: redisUrl }).connect()
const sso = await createPortalSso({
  baseUrl: url,
  secret,
  database: databaseUrl,
  redis,
  homePath: '/portal',
  outbound: { allowedAddresses: ['127.0.0.0/8'] },
})
const app = express()
app.set('trust proxy', 'loopback')
app.use(sso.session())
app.use(sso.router())
app.get('/portal', sso.guard(), (req, res) => {
  res.send(guardedPage(req.user.name))
})
serve(app, async () => {
  for (const slug of ['one', 'two']) {
    const settings = {
      issuer,
      clientId: client.id,
      clientSecret: client.secret,
      emailDomains: ['example.com'],
    }
    await sso.providers.connect({ slug, displayName: slug, ...settings })
  }
  for (const { email, name } of people) await sso.users.create({ email, name, fields: {} })
})
