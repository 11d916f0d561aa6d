import { RedisStore } from 'connect-redis'
import express from 'express'
import { createPortalSso } from 'express-portal-sso'
import session from 'express-session'
import passport from 'passport'
import { Strategy as LocalStrategy } from 'passport-local'
import { createClient } from 'redis'

const { BASE_URL, SSO_SECRET, DATABASE_URL, REDIS_URL, ISSUER, CLIENT_ID, CLIENT_SECRET, PORT } = process.env
const redis = await createClient({ url: REDIS_URL }).connect()
const sso = await createPortalSso({ baseUrl: BASE_URL, secret: SSO_SECRET, database: DATABASE_URL, redis })
if (!(await sso.users.findByEmail('grace@example.com')))
  await sso.users.create({ email: 'grace@example.com', name: 'Grace Hopper', fields: {} })
if (CLIENT_ID && !(await sso.providers.find('acme')))
  await sso.providers.connect({
    slug: 'acme',
    displayName: 'Acme',
    issuer: ISSUER,
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
  })

passport.use(
  new LocalStrategy({ usernameField: 'email' }, (email, password, done) => {
    if (password !== 'a-password-for-tests') return done(null, false)
    sso.users.findByEmail(email).then((user) => done(null, user ?? false), done)
  }),
)

passport.serializeUser(sso.serializeUser)

const app = express()
app.use(
  session({
    name: 'host.sid',
    secret: SSO_SECRET,
    store: new RedisStore({ client: redis, prefix: 'host:' }),
    resave: false,
    saveUninitialized: false,
    cookie: { sameSite: 'lax' },
  }),
)
app.use(sso.session({ own: true }))
app.use((req, _res, next) => {
  req.session.visits = (req.session.visits ?? 0) + 1
  next()
})
app.use(sso.router())
app.get('/login', (_req, res) => res.send('<form action="/password-login" method="post">…</form>'))
app.post(
  '/password-login',
  sso.classicLoginGate(),
  express.urlencoded(),
  passport.authenticate('local', { successRedirect: '/portal', failureRedirect: '/login' }),
)
app.use('/portal', sso.guard(), (req, res) =>
  res.type('text').send(`Hello ${req.user.email}, visits: ${req.session.visits > 0}`),
)
app.listen(PORT, () => console.log('Listening'))
