import path from 'node:path'
import express from 'express'
import { createPortalSso } from 'express-portal-sso'
import { createClient } from 'redis'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env
const redis = await createClient({ url: REDIS_URL }).connect()
const sso = await createPortalSso({
  baseUrl: BASE_URL,
  secret: SSO_SECRET,
  database: DATABASE_URL,
  redis,
  viewsDir: path.join(import.meta.dirname, 'views'),
})
if (!(await sso.providers.find('acme')))
  await sso.providers.connect({
    slug: 'acme',
    displayName: 'Acme',
    issuer: ISSUER,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
  })

const app = express()
app.use(sso.session())
app.use(sso.router())
app.use('/portal', sso.guard(), (req, res) => res.type('text').send(`Hello ${req.user.email}`))
app.listen(PORT, () => console.log('Listening'))
