/** A portal with its own look: `npm run start:branded`, then open http://localhost:3000/login. */
import { randomBytes } from 'node:crypto'
import express from 'express'
import { createPortalSso } from '../../lib/index.ts'
import { startIdentityProviders } from '../identity-providers.ts'
import { branded, publicFolder } from './branding.ts'

const port = Number(process.env.PORT ?? 3000)
const sso = await createPortalSso({
  baseUrl: `http://localhost:${port}`,
  secret: randomBytes(32).toString('base64url'),
  database: 'sqlite::memory:',
  ...branded,
})

const app = express()
app.use('/brand', express.static(publicFolder))
app.use(sso.session())
app.use(sso.router())
app.get(['/imprint', '/privacy'], (_req, res) => {
  res.send('Wide World Importers, 1 Example Way, Redmond')
})
app.get('/', sso.guard(), (req, res) => {
  res.json({ user: req.user })
})

const identityProviders = await startIdentityProviders(port, (slug) => ({
  clientSecret: randomBytes(32).toString('base64url'),
  redirectUri: sso.providers.redirectUri(slug),
  postLogoutRedirectUri: sso.providers.postLogoutRedirectUri(),
  backChannelLogoutUri: sso.providers.backChannelLogoutUri(slug),
}))
for (const { slug, displayName, issuer, clientId, clientSecret } of identityProviders)
  await sso.providers.connect({
    slug,
    displayName,
    issuer,
    clientId,
    clientSecret,
    emailDomains: ['example.com'],
  })

const server = app.listen(port, '127.0.0.1', () => console.log(`Open http://localhost:${port}/login`))

process.once('SIGTERM', async () => {
  server.close()
  server.closeAllConnections()
  await sso.close()
  for (const provider of identityProviders) await provider.close()
})
