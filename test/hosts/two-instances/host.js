import express from 'express'
import { createPortalSso } from 'express-portal-sso'
import { createClient } from 'redis'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env
const redis = await createClient({ url: REDIS_URL }).connect()
const shared = { baseUrl: BASE_URL, secret: SSO_SECRET, database: DATABASE_URL, redis }
const staff = await createPortalSso({ ...shared, mountPath: '/staff' })
const customers = await createPortalSso({ ...shared, mountPath: '/customers' })
if (!(await staff.providers.find('acme')))
  await staff.providers.connect({
    slug: 'acme',
    displayName: 'Acme',
    issuer: ISSUER,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
  })

const app = express()
app.use('/staff', staff.session(), staff.router())
app.use('/staff/portal', staff.guard(), (req, res) => res.type('text').send(`Hello ${req.user.email}`))
app.use('/customers', customers.session(), customers.router())
app.use('/customers/portal', customers.guard(), (req, res) =>
  res.type('text').send(`Welcome ${req.user.email}`),
)
app.listen(PORT, () => console.log('Listening'))
