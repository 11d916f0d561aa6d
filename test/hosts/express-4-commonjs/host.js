const express = require('express')
const { createClient } = require('redis')
const { createPortalSso } = require('express-portal-sso')

async function start() {
  const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } =
    process.env
  const redis = await createClient({ url: REDIS_URL }).connect()
  const sso = await createPortalSso({ baseUrl: BASE_URL, secret: SSO_SECRET, database: DATABASE_URL, redis })
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
  app.use('/portal', sso.guard(), (req, res) => res.send(`Hello ${req.user.email}`))
  app.listen(PORT, () => console.log('Listening'))
}

start().catch((error) => {
  console.error(error)
  process.exit(1)
})
