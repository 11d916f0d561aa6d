/**
 * One instance of a portal in its own process. It is configured by PORT, BASE_URL, DATABASE_URL, REDIS_URL, and by INSTANCE_OPTIONS:
 * the JSON of `InstanceOptions` in start-instance.ts. Prints `ready`, and with `log` also each message as a line of JSON.
 *
 * `POST /test/:api/:act` calls a method of `sso.providers` or `sso.sessions` with the JSON arguments; `/test/portal/:act`, of `sso`.
 * `GET /test/heap` returns the number of live bytes, if Node was started with `--expose-gc`. `POST /test/password-login` signs Ada in
 * like a host's classic login. `POST /test/users` creates users. `POST /test/sql` runs a statement on the host's own pool, and
 * `POST /test/connections` holds all its connections.
 */
import { setTimeout } from 'node:timers/promises'
import express, { type Request } from 'express'
import knexModule from 'knex'
import { createClient, createCluster, createSentinel } from 'redis'
import { configFromUrl } from '../../lib/database/connect.ts'
import { createPortalSso, type PortalSsoOptions, type Registration } from '../../lib/index.ts'
import { mountDefault, testSecret } from './portal.ts'
import type { InstanceOptions } from './start-instance.ts'

const {
  PORT,
  BASE_URL,
  DATABASE_URL,
  REDIS_URL,
  INSTANCE_OPTIONS = '{}',
} = process.env as Record<string, string>
const { log, redisPorts, sentinelPort, poolSize, portal } = JSON.parse(INSTANCE_OPTIONS) as InstanceOptions

const print = (level: string) => (fields: object, message: string) => {
  if (log) console.log(JSON.stringify({ level, message, fields }))
}

const redis = await connectRedis()
const config = configFromUrl(DATABASE_URL!)
const knex =
  poolSize === undefined
    ? undefined
    : knexModule({ ...config, pool: { ...config.pool, min: 0, max: poolSize } })
const sso = await createPortalSso({
  baseUrl: BASE_URL!,
  secret: testSecret,
  database: knex ?? DATABASE_URL!,
  redis,
  // All requests of the tests have one client address.
  rateLimits: false,
  logger: { info: print('info'), warn: print('warn'), error: print('error') },
  ...portal,
} satisfies PortalSsoOptions)

async function connectRedis() {
  const client = sentinelPort
    ? createSentinel({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port: sentinelPort }] })
    : redisPorts
      ? createCluster({ rootNodes: redisPorts.map((port) => ({ url: `redis://127.0.0.1:${port}` })) })
      : createClient({ url: REDIS_URL! })
  client.on('error', () => {})
  await client.connect()
  return client
}

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
app.post('/test/users', express.json(), async (req: Request<object, unknown, Registration[]>, res) => {
  for (const user of req.body) await sso.users.create(user)
  res.json(null)
})
app.post('/test/sql', express.json(), async (req: Request<object, unknown, string[]>, res) => {
  await knex!.raw(req.body[0]!)
  res.json(null)
})
app.post('/test/connections', express.json(), async (req: Request<object, unknown, number[]>, res) => {
  const connections = await Promise.all(
    Array.from({ length: poolSize! }, () => knex!.client.acquireConnection() as Promise<unknown>),
  )
  res.json(connections.length)
  await setTimeout(req.body[0]!)
  for (const connection of connections) await knex!.client.releaseConnection(connection)
})
app.get('/favicon.ico', (_req, res) => void res.sendStatus(204))
app.use(sso.healthRoutes())
mountDefault(app, sso)
app.post('/test/password-login', async (req, res, next) => {
  const user = await sso.users.findByEmail('ada@example.com')
  req.login(user as Express.User, (error: unknown) => (error ? next(error) : res.send('signed in')))
})
app.listen(Number(PORT), '127.0.0.1', () => console.log('ready'))
