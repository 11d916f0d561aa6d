/** Sessions in the encrypted cookie, or in Redis with `SESSIONS=redis`. The user is the ID token's claims. */
import { RedisStore } from 'connect-redis'
import express from 'express'
import openidConnect from 'express-openid-connect'
import { createClient } from 'redis'
import { client, guardedPage, issuer, redisUrl, secret, serve, url } from './serve.js'

const { auth, requiresAuth } = openidConnect
const store =
  process.env.SESSIONS === 'redis'
    ? new RedisStore({ client: await createClient({ url: redisUrl }).connect(), prefix: 'eoidc:' })
    : undefined
const app = express()
app.set('trust proxy', 'loopback')
app.use(
  auth({
    authRequired: false,
    baseURL: url,
    issuerBaseURL: issuer,
    clientID: client.id,
    clientSecret: client.secret,
    secret,
    authorizationParams: { response_type: 'code', scope: 'openid email profile' },
    session: store && { store },
  }),
)
app.get('/portal', requiresAuth(), (req, res) => {
  res.send(guardedPage(req.oidc.user.name))
})
serve(app)
