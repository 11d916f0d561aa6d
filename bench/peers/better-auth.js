/** Better Auth with PostgreSQL, its sessions in the table `session`. */
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { fromNodeHeaders, toNodeHandler } from 'better-auth/node'
import { genericOAuth } from 'better-auth/plugins'
import express from 'express'
import pg from 'pg'
import { client, databaseUrl, guardedPage, issuer, secret, serve, url } from './serve.js'

const options = {
  baseURL: url,
  secret,
  database: new pg.Pool({ connectionString: databaseUrl }),
  rateLimit: { enabled: false },
  plugins: [
    genericOAuth({
      config: [
        {
          providerId: 'one',
          clientId: client.id,
          clientSecret: client.secret,
          discoveryUrl: `${issuer}/.well-known/openid-configuration`,
          scopes: ['openid', 'email', 'profile'],
          pkce: true,
        },
      ],
    }),
  ],
}
const auth = betterAuth(options)
const app = express()
app.set('trust proxy', 'loopback')
app.all('/api/auth/*splat', toNodeHandler(auth))
app.get('/portal', async (req, res) => {
  const session = await auth.api.getSession({ headers: fromNodeHeaders(req.headers) })
  if (!session) return res.redirect('/login')
  res.send(guardedPage(session.user.name))
})
serve(app, async () => {
  const { runMigrations } = await getMigrations(options)
  await runMigrations()
})
