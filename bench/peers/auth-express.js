/** @auth/express with its default, the session in an encrypted cookie. */
import { ExpressAuth, getSession } from '@auth/express'
import express from 'express'
import { client, guardedPage, issuer, secret, serve } from './serve.js'

const provider = (id) => ({
  id,
  name: id,
  type: 'oidc',
  issuer,
  clientId: client.id,
  clientSecret: client.secret,
  checks: ['pkce', 'state', 'nonce'],
})
const config = { secret, trustHost: true, providers: [provider('one'), provider('two')], basePath: '/auth' }
const app = express()
app.set('trust proxy', 'loopback')
app.use('/auth/*splat', async (req, res, next) => {
  // `ExpressAuth` derives its base path from Express 4's unnamed parameter.
  req.params[0] = [req.params.splat].flat().join('/')
  await ExpressAuth(config)(req, res, next)
})
app.get('/portal', async (req, res) => {
  const session = await getSession(req, config)
  if (!session) return res.redirect('/auth/signin')
  res.send(guardedPage(session.user.name))
})
serve(app)
