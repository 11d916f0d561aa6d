/**
 * Signs in `--size` users, abandons as many sign-ins, and lets one in fifty fail: `npm run bench:growth -- --size=20000`. Fails if the
 * portal's memory grows in the second half, or if a callback without a session has left neither an event nor a log line.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { postgres } from '../test/support/services/postgres.ts'
import { redis } from '../test/support/services/redis.ts'
import { type Instance, spawnInstance } from '../test/support/start-instance.ts'
import { Browser, repeat } from './browser.ts'
import { ServerProcess } from './server-process.ts'

const { values } = parseArgs({ options: { size: { type: 'string', default: '20000' } } })
const size = Number(values.size)
const userCount = 200
const failsEvery = 50
/** Bounded caches fill up during the first 30,000 sign-ins. With `--size=48000`, the last quarter adds 0.1 MB. */
const maxGrowth = 1.1

const [postgresProgram, redisProgram] = [await postgres.find(), await redis.find()]
if (!postgresProgram || !redisProgram) throw new Error('the growth test needs PostgreSQL and Redis on PATH')
process.env.TEST_RUN_FOLDER = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-growth-'))
const [database, sessions] = [await postgres.start(postgresProgram), await redis.start(redisProgram)]
const databaseUrl = database.env.TEST_DATABASE_URL
const provider = await ServerProcess.start('provider.js', {})

interface Callback {
  /** 0 if the connection failed */
  status: number
  reference: string | undefined
  hasSession: boolean
}

async function callBack(browser: Browser, response: string): Promise<Callback> {
  try {
    const { status, body } = await browser.request(response)
    const hasSession = status === 303 && (await browser.request('/portal')).status === 200
    return { status, reference: />([A-Z0-9]{8})</.exec(body)?.[1], hasSession }
  } catch {
    return { status: 0, reference: undefined, hasSession: false }
  }
}

/** @returns the callbacks, of sign-ins that are not abandoned */
async function signInMany(url: string, count: number): Promise<Callback[]> {
  const callbacks: Callback[] = []
  await repeat(count, async (n) => {
    const abandoned = new Browser(url, n % userCount)
    await abandoned.request('/login/one')
    const browser = new Browser(url, n % userCount)
    const { location = '' } = await browser.request('/login/one?returnTo=/portal')
    const response = new URL((await browser.request(location)).location ?? '')
    if (n % failsEvery === 0) response.searchParams.set('code', 'made-up')
    callbacks.push(await callBack(browser, response.href))
  })
  return callbacks
}

/** Connects the provider and creates its users. */
async function prepare(instance: Instance): Promise<void> {
  const input = { issuer: provider.url, clientId: 'portal', clientSecret: 'a-secret-of-the-growth-test' }
  await instance.act('connect', { slug: 'one', displayName: 'One', ...input })
  const names = Array.from({ length: userCount }, (_, n) => `person-${n}`)
  await instance.post('users', ...names.map((name) => ({ email: `${name}@example.com`, name, fields: {} })))
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`
const instance = await spawnInstance({
  databaseUrl,
  redisUrl: sessions.env.TEST_REDIS_URL,
  nodeArgs: ['--expose-gc'],
  options: { log: true },
})
const problems: string[] = []
try {
  await prepare(instance)
  const url = `http://127.0.0.1:${instance.port}`
  const started = performance.now()
  const heaps = [Number(await instance.get('heap'))]
  const callbacks: Callback[] = []
  for (let part = 0; part < 4; part++) {
    callbacks.push(...(await signInMany(url, size / 4)))
    heaps.push(Number(await instance.get('heap')))
  }
  const seconds = Math.round((performance.now() - started) / 1000)

  const administrator = new pg.Client({ connectionString: databaseUrl })
  await administrator.connect()
  const { rows } = await administrator.query<{ kind: string; reference: string | null }>(
    "select kind, reference from sso_events where kind in ('signed-in', 'sign-in-failed')",
  )
  await administrator.end()
  const logged = instance.logs.flatMap(({ fields }) => (fields.reference ? String(fields.reference) : []))
  const references = new Set([...logged, ...rows.map(({ reference }) => String(reference))])

  const without = callbacks.filter(({ hasSession }) => !hasSession)
  const silent = without.filter(({ reference = '' }) => !references.has(reference))
  const signedIn = rows.filter(({ kind }) => kind === 'signed-in').length
  const failed = new Set([
    ...rows.flatMap((row) => (row.kind === 'signed-in' ? [] : row.reference)),
    ...logged,
  ])
  const [, , half = 0, , end = 0] = heaps
  console.log(
    [
      `${size} sign-ins and as many abandoned ones in ${seconds} s`,
      `live memory at the start and after each quarter: ${heaps.map(megabytes).join(', ')}`,
      `${callbacks.length} callbacks: ${callbacks.length - without.length} with a session, ${without.length} without`,
      `${signedIn} events of sign-ins, ${failed.size} references of events and log lines`,
    ].join('\n'),
  )
  for (const { status } of silent)
    problems.push(`a callback with status ${status} left no event and no log line`)
  if (signedIn + failed.size < callbacks.length) problems.push('some callbacks left no event and no log line')
  if (end > half * maxGrowth) problems.push(`memory grew from ${megabytes(half)} to ${megabytes(end)}`)
} finally {
  await instance.kill()
  await provider.stop()
  await database.stop()
  await sessions.stop()
  fs.rmSync(process.env.TEST_RUN_FOLDER, { recursive: true, force: true })
}
for (const problem of problems) console.log(`FAILED: ${problem}`)
process.exit(problems.length > 0 ? 1 : 0)
