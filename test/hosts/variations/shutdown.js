import express from 'express'
import { createPortalSso } from 'express-portal-sso'
import { createClient } from 'redis'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, PORT } = process.env
const redis = await createClient({ url: REDIS_URL }).connect()
const sso = await createPortalSso({ baseUrl: BASE_URL, secret: SSO_SECRET, database: DATABASE_URL, redis })

const app = express()
app.use(sso.healthRoutes())
app.use(sso.session())
app.use(sso.router())
app.use('/portal', sso.guard(), (req, res) => res.type('text').send(`Hello ${req.user.email}`))
const server = app.listen(PORT, () => console.log('Listening'))

process.once('SIGTERM', async () => {
  // Accept nothing new, and finish the responses in flight.
  const closed = new Promise((resolve) => server.close(resolve))
  // Close connections that wait for another request, and after ten seconds those of clients that never finish.
  const idle = setInterval(() => server.closeIdleConnections(), 100)
  const deadline = setTimeout(() => server.closeAllConnections(), 10_000)
  await closed
  clearInterval(idle)
  clearTimeout(deadline)
  await sso.close()
  await redis.close()
})
