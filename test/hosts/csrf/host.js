import { csrfSync } from 'csrf-sync'
import express from 'express'
import { createPortalSso } from 'express-portal-sso'
import { createClient } from 'redis'

const {
  BASE_URL,
  SSO_SECRET,
  DATABASE_URL,
  REDIS_URL,
  ISSUER,
  CLIENT_ID,
  CLIENT_SECRET,
  PORT,
  CSRF_IN_FRONT,
} = process.env
const redis = await createClient({ url: REDIS_URL }).connect()
const sso = await createPortalSso({ baseUrl: BASE_URL, secret: SSO_SECRET, database: DATABASE_URL, redis })
await sso.providers.connect({
  slug: 'acme',
  displayName: 'Acme',
  issuer: ISSUER,
  clientId: CLIENT_ID,
  clientSecret: CLIENT_SECRET,
  responseMode: 'form_post',
})

const { csrfSynchronisedProtection } = csrfSync({ getTokenFromRequest: (req) => req.body?._csrf })

const app = express()
app.use(sso.session())
if (CSRF_IN_FRONT) app.use(express.urlencoded(), csrfSynchronisedProtection)
app.use(sso.router())
if (!CSRF_IN_FRONT) app.use(express.urlencoded(), csrfSynchronisedProtection)
app.get('/portal', sso.guard(), (req, res) => {
  res.send(`<p>Hello ${req.user.email}</p>
    <form method="post" action="/portal"><input type="hidden" name="_csrf" value="${req.csrfToken()}"></form>`)
})
app.post('/portal', sso.guard(), (_req, res) => res.send('Saved'))
app.listen(PORT, () => console.log('Listening'))
