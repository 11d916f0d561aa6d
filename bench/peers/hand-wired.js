/** express-session, connect-redis and passport-openidconnect, as their documentation wires them. No PKCE, nonce or signature check. */
import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import { Passport } from 'passport'
import OpenIdConnectStrategy from 'passport-openidconnect'
import pg from 'pg'
import { createClient } from 'redis'
import {
  client,
  databaseUrl,
  guardedPage,
  issuer,
  people,
  redisUrl,
  secret,
  serve,
  staticPicker,
  url,
} from './serve.js'

const database = new pg.Pool({ connectionString: databaseUrl })
const redis = await createClient({ url: redisUrl }).connect()
const passport = new Passport()

if (process.env.USER_FROM === 'session') {
  passport.serializeUser((user, done) => done(null, user))
  passport.deserializeUser((user, done) => done(null, user))
} else {
  passport.serializeUser((user, done) => done(null, user.id))
  passport.deserializeUser((id, done) => {
    database.query('select * from users where id = $1', [id]).then(({ rows }) => done(null, rows[0]), done)
  })
}
const userOfSubject =
  'select users.* from users join identities on user_id = id where issuer = $1 and subject = $2'
const endpoints = {
  issuer,
  authorizationURL: `${issuer}/authorize`,
  tokenURL: `${issuer}/token`,
  userInfoURL: `${issuer}/userinfo`,
  clientID: client.id,
  clientSecret: client.secret,
  callbackURL: `${url}/login/one/callback`,
  scope: ['email', 'profile'],
}
passport.use(
  'one',
  new OpenIdConnectStrategy(endpoints, (iss, profile, done) => {
    database.query(userOfSubject, [iss, profile.id]).then(({ rows }) => done(null, rows[0]), done)
  }),
)

const app = express()
app.set('trust proxy', 'loopback')
app.use(
  session({ store: new RedisStore({ client: redis }), secret, resave: false, saveUninitialized: false }),
)
app.use(passport.initialize())
app.use(passport.session())
app.get('/portal', (req, res) => {
  if (!req.user) return res.redirect('/login?returnTo=/portal')
  res.send(guardedPage(req.user.name))
})
app.get('/login', (_req, res) => res.send(staticPicker))
app.get('/login/one', passport.authenticate('one'))
app.get('/login/one/callback', passport.authenticate('one', { successRedirect: '/portal' }))
serve(app, async () => {
  await database.query('create table users (id serial primary key, email text unique, name text)')
  await database.query(
    'create table identities (user_id int, issuer text, subject text, primary key (issuer, subject))',
  )
  for (const { sub, email, name } of people) {
    const { rows } = await database.query('insert into users (email, name) values ($1, $2) returning id', [
      email,
      name,
    ])
    await database.query('insert into identities values ($1, $2, $3)', [rows[0].id, issuer, sub])
  }
})
