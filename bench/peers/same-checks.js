/**
 * The least that a sign-in with the plugin's checks can cost: its SQL statements, Redis commands, PKCE, state, nonce and signature,
 * wired by hand for one provider. It has no limits, no error pages and no settings, so nobody should use it.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  randomBytes,
  verify,
} from 'node:crypto'
import http from 'node:http'
import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import pg from 'pg'
import { createClient } from 'redis'
import { client, databaseUrl, guardedPage, issuer, people, redisUrl, secret, serve, url } from './serve.js'

const database = new pg.Pool({ connectionString: databaseUrl })
const redis = await createClient({ url: redisUrl }).connect()
const agent = new http.Agent({ keepAlive: true })
const callbackUrl = `${url}/login/one/callback`
const sealingKey = createHash('sha256').update(secret).digest()
const random = () => randomBytes(32).toString('base64url')

function seal(value) {
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', sealingKey, iv)
  const sealed = cipher.update(JSON.stringify(value))
  cipher.final()
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64url')
}

function open(text) {
  const bytes = Buffer.from(text, 'base64url')
  const decipher = createDecipheriv('aes-256-gcm', sealingKey, bytes.subarray(0, 12))
  decipher.setAuthTag(bytes.subarray(12, 28))
  const value = decipher.update(bytes.subarray(28), undefined, 'utf8')
  decipher.final()
  return JSON.parse(value)
}

/** @param form posted to the token endpoint; without it, a GET */
async function fetchJson(target, form) {
  const headers = form && {
    authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': Buffer.byteLength(form),
  }
  const request = http.request(target, { agent, method: form ? 'POST' : 'GET', headers })
  const responded = new Promise((resolve, reject) => request.on('response', resolve).on('error', reject))
  request.end(form)
  let body = ''
  for await (const chunk of await responded) body += chunk
  return JSON.parse(body)
}

/** by `kid` */
const keys = new Map()

async function verifyIdToken(token, nonce) {
  const [header, claims, signature] = token.split('.')
  const parse = (part) => JSON.parse(Buffer.from(part, 'base64url'))
  const { alg, kid } = parse(header)
  if (!keys.has(kid))
    for (const jwk of (await fetchJson(`${issuer}/jwks`)).keys)
      keys.set(jwk.kid, createPublicKey({ key: jwk, format: 'jwk' }))
  const isSigned = verify('sha256', `${header}.${claims}`, keys.get(kid), Buffer.from(signature, 'base64url'))
  const identity = parse(claims)
  const isFor = identity.iss === issuer && identity.aud === client.id && identity.nonce === nonce
  if (!isSigned || alg !== 'RS256' || !isFor || identity.exp < Date.now() / 1000) throw new Error('refused')
  return identity
}

const app = express()
app.set('trust proxy', 'loopback')
const store = new RedisStore({ client: redis, disableTouch: true })
app.use(session({ store, secret, resave: false, saveUninitialized: false }))
app.get('/portal', (req, res) => {
  if (!req.session.user) return res.redirect('/login/one')
  res.send(guardedPage(req.session.user.name))
})
app.get('/login/one', async (_req, res) => {
  await database.query("select version from providers where slug = 'one'")
  const attempt = { state: random(), nonce: random(), verifier: random(), until: Date.now() + 600_000 }
  const challenge = createHash('sha256').update(attempt.verifier).digest('base64url')
  res.cookie('attempt', seal(attempt), { httpOnly: true, sameSite: 'lax' })
  const { state, nonce } = attempt
  const request = { client_id: client.id, response_type: 'code', redirect_uri: callbackUrl, state, nonce }
  const pkce = { code_challenge: challenge, code_challenge_method: 'S256' }
  res.redirect(
    `${issuer}/authorize?${new URLSearchParams({ ...request, ...pkce, scope: 'openid email profile' })}`,
  )
})
app.get('/login/one/callback', async (req, res) => {
  const { code, state, iss } = req.query
  const attempt = open(/attempt=([^;]+)/.exec(req.headers.cookie)[1])
  if (attempt.state !== state || iss !== issuer || attempt.until < Date.now()) throw new Error('refused')
  await database.query("select version from providers where slug = 'one'")
  const marker = { condition: 'NX', expiration: { type: 'EX', value: 600 } }
  if (!(await redis.set(`code:${state}`, '1', marker))) throw new Error('refused')
  const exchange = { grant_type: 'authorization_code', code, redirect_uri: callbackUrl }
  const form = new URLSearchParams({ ...exchange, code_verifier: attempt.verifier }).toString()
  const { id_token } = await fetchJson(`${issuer}/token`, form)
  const { sub } = await verifyIdToken(id_token, attempt.nonce)
  const byIdentity =
    'select users.* from users join identities on user_id = id where issuer = $1 and subject = $2'
  const [user] = (await database.query(byIdentity, [issuer, sub])).rows
  // A new id. The visitor's session was never stored, and the end of the response stores this one.
  req.sessionStore.generate(req)
  req.session.user = user
  req.session.idToken = id_token
  const row = [req.sessionID, user.id, sub, new Date()]
  await database.query('insert into sessions values ($1, $2, $3, $4)', row)
  await database.query('select 1 from sessions where id = $1', [req.sessionID])
  await database.query("insert into events values ($1, 'signed-in', $2)", [random(), user.id])
  res.clearCookie('attempt').redirect('/portal')
})
serve(app, async () => {
  await database.query('create table users (id serial primary key, email text unique, name text)')
  await database.query(
    'create table identities (user_id int, issuer text, subject text, primary key (issuer, subject))',
  )
  await database.query('create table providers (slug text primary key, version text)')
  await database.query(
    'create table sessions (id text primary key, user_id int, subject text, at timestamptz)',
  )
  await database.query('create table events (id text primary key, kind text, user_id int)')
  await database.query("insert into providers values ('one', '1')")
  for (const { sub, email, name } of people) {
    const inserted = await database.query('insert into users (email, name) values ($1, $2) returning id', [
      email,
      name,
    ])
    await database.query('insert into identities values ($1, $2, $3)', [inserted.rows[0].id, issuer, sub])
  }
})
