/** What all servers of the benchmark share. The servers are JavaScript, so that their start needs no compiler. */
import pg from 'pg'

export const { PORT: port, ISSUER: issuer, REDIS_URL: redisUrl, DATABASE_URL: databaseUrl } = process.env
export const url = `http://127.0.0.1:${port}`
export const client = { id: 'portal', secret: 'the-secret-of-this-client-at-the-provider' }
export const secret = 'a-secret-of-the-benchmark-longer-than-32-characters'
export const people = Array.from({ length: 50 }, (_, n) => ({
  sub: `person-${n}`,
  email: `person-${n}@example.com`,
  name: `Person ${n}`,
}))

// Everything that any server sends to PostgreSQL passes through this method, transactions included.
let statements = 0
const { query } = pg.Client.prototype
pg.Client.prototype.query = function (...parameters) {
  statements++
  return query.apply(this, parameters)
}

/** The guarded page of every server. */
export const guardedPage = (name) => `<!doctype html><title>Portal</title><p>Hello ${name}</p>`

/** The login page of the servers that have none of their own. */
export const staticPicker =
  '<!doctype html><title>Sign in</title><a href="/login/one">One</a><a href="/login/two">Two</a>'

/** @param setUp runs once, before the first measurement: creates tables, users and providers */
export function serve(app, setUp = async () => {}) {
  const server = app.listen(Number(port), '127.0.0.1', () => process.send('ready'))
  server.keepAliveTimeout = 60_000
  process.on('message', async (message) => {
    if (message === 'set up') await setUp()
    process.send({ cpu: process.cpuUsage(), memory: process.memoryUsage.rss(), statements })
  })
  process.on('disconnect', () => process.exit())
}
