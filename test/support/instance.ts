/**
 * One instance of a portal in its own process, configured by PORT, BASE_URL, DATABASE_URL and REDIS_URL. Prints `ready`.
 * `POST /test/:api/:act` calls a method of `sso.providers` or `sso.sessions` with the JSON arguments; `/test/portal/:act`, of `sso`. `GET /test/heap` returns the number
 * of live bytes, if Node was started with `--expose-gc`. `POST /test/password-login` signs Ada in like a host's classic login.
 */
import { setTimeout } from 'node:timers/promises'
import express, { type Request } from 'express'
import { createClient } from 'redis'
import { createPortalSso } from '../../lib/index.ts'
import { mountDefault, testSecret } from './portal.ts'

const { PORT, BASE_URL, DATABASE_URL, REDIS_URL } = process.env as Record<string, string>
const redis = createClient({ url: REDIS_URL! })
redis.on('error', () => {})
await redis.connect()
const sso = await createPortalSso({
  baseUrl: BASE_URL!,
  secret: testSecret,
  database: DATABASE_URL!,
  redis,
  // All requests of the tests have one client address.
  rateLimits: false,
  logger: { info() {}, warn() {}, error() {} },
})

const app = express()
app.use((_req, res, next) => {
  res.set('x-instance', PORT)
  next()
})
const apis: Record<string, unknown> = { portal: sso, providers: sso.providers, sessions: sso.sessions }
app.post('/test/:api/:act', express.json(), async (req: Request<{ api: string; act: string }>, res, next) => {
  const { api, act } = req.params
  if (!apis[api]) return next()
  const acts = apis[api] as Record<string, (...given: unknown[]) => Promise<unknown>>
  try {
    res.json((await acts[act]!(...req.body)) ?? null)
  } catch (error) {
    res.status(400).json(String(error))
  }
})
app.get('/test/heap', async (_req, res) => {
  // Requests release memory shortly after their response, some of it only after finalizers have run.
  for (let round = 0; round < 4; round++) {
    await setTimeout(50)
    globalThis.gc?.()
  }
  const { heapUsed, external } = process.memoryUsage()
  res.json(heapUsed + external)
})
app.get('/favicon.ico', (_req, res) => void res.sendStatus(204))
mountDefault(app, sso)
app.post('/test/password-login', async (req, res, next) => {
  const user = await sso.users.findByEmail('ada@example.com')
  req.login(user as Express.User, (error: unknown) => (error ? next(error) : res.send('signed in')))
})
app.listen(Number(PORT), '127.0.0.1', () => console.log('ready'))
