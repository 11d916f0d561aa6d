import express from 'express'
import { createPortalSso } from 'express-portal-sso'
import { createClient } from 'redis'

const { NORTH_URL, SOUTH_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } =
  process.env

// Such as https://north.example.com. On your own machine: http://north.localhost:3000.
const baseUrl = { north: NORTH_URL, south: SOUTH_URL }
const portals = new Map(Object.entries(baseUrl).map(([portal, url]) => [new URL(url).hostname, portal]))

const sso = await createPortalSso({
  baseUrl,
  portal: (req) => portals.get(req.hostname), // Any other host name is refused.
  secret: SSO_SECRET,
  database: DATABASE_URL,
  redis: await createClient({ url: REDIS_URL }).connect(),
})
for (const portal of portals.values()) {
  const { providers } = sso.portal(portal)
  if (!(await providers.find('acme')))
    await providers.connect({
      slug: 'acme',
      displayName: 'Acme',
      issuer: ISSUER,
      clientId: CLIENT_ID,
      clientSecret: CLIENT_SECRET,
    })
}

const app = express()
app.use(sso.session())
app.use(sso.router())
app.use('/portal', sso.guard(), (req, res) => {
  res.type('text').send(`Hello ${req.user.email}, this is ${portals.get(req.hostname)}`)
})
app.listen(PORT, () => console.log('Listening'))
