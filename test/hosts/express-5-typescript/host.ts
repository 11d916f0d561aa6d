import express from 'express'
import { createPortalSso } from 'express-portal-sso'
import { createClient } from 'redis'

declare global {
  namespace Express {
    interface User {
      id: string
      email: string
      name: string
    }
  }
}

function env(name: string): string {
  const value = process.env[name]
  if (!value) throw new Error(`Set ${name}`)
  return value
}

const redis = await createClient({ url: env('REDIS_URL') }).connect()
const sso = await createPortalSso({
  baseUrl: env('BASE_URL'),
  secret: env('SSO_SECRET'),
  database: env('DATABASE_URL'),
  redis,
})
if (!(await sso.providers.find('acme')))
  await sso.providers.connect({
    slug: 'acme',
    displayName: 'Acme',
    issuer: env('ISSUER'),
    clientId: env('CLIENT_ID'),
    clientSecret: env('CLIENT_SECRET'),
  })

const app = express()
app.use(sso.session())
app.use(sso.router())
app.use('/portal', sso.guard(), (req, res) => {
  res.type('text').send(`Hello ${req.user?.email}`)
})
app.use('/admin/sso', sso.admin({ authorize: (req) => req.user?.email === 'admin@example.com' }))
app.listen(env('PORT'), () => console.log('Listening'))
