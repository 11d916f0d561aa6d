/**
 * Runs the plugin beside its peers. The slices of all servers alternate, and each is compared with the hand-wired slice of the same
 * round, so a busy machine changes both. `--quick` takes about two minutes. `--only=hand-wired,plugin` selects servers by the start
 * of their names. `--before=<folder>` adds the build in another checkout.
 */
import os from 'node:os'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { createClient } from 'redis'
import { postgres } from '../test/support/services/postgres.ts'
import { redis as redisService } from '../test/support/services/redis.ts'
import { Browser, repeat } from './browser.ts'
import { baseline, listPeers, type Peer } from './peers.ts'
import { ServerProcess, type Usage } from './server-process.ts'

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean' }, only: { type: 'string' }, before: { type: 'string' } },
})
const rounds = options.quick ? 5 : 21
const sliceShare = options.quick ? 0.4 : 1
const signInsForMemory = options.quick ? 200 : 2000

const peers = listPeers(options.before).filter(
  ({ name }) =>
    name === baseline || !options.only || options.only.split(',').some((start) => name.startsWith(start)),
)

interface Row {
  name: string
  /** requests or sign-ins in a slice */
  times: number
  target: string
  applies?: (peer: Peer) => boolean
  operation: (peer: Peer, portal: Portal, n: number) => Promise<void>
}

interface Portal {
  server: ServerProcess
  env: Record<string, string>
  signedIn: Browser[]
}

const canSignIn = ({ file }: Peer) => file !== 'bare-express'
const rows: Row[] = [
  {
    name: 'guarded page',
    times: 300,
    target: '≤ 0.70',
    async operation(_peer, { signedIn }, n) {
      const page = await signedIn[n % signedIn.length]?.request('/portal')
      if (page?.status !== 200) throw new Error(`the guarded page responded with ${page?.status}`)
    },
  },
  {
    name: 'sign-in to the first guarded page',
    times: 40,
    target: '≤ 1.20',
    applies: canSignIn,
    operation: (peer, { server }, n) => signIn(peer, new Browser(server.url, n % 50)),
  },
  {
    name: 'redirect of an anonymous visitor',
    times: 300,
    target: '≤ 0.65',
    async operation(_peer, { server }, n) {
      const { location } = await new Browser(server.url, n % 50).request('/portal')
      if (!location) throw new Error('an anonymous visitor was not redirected')
    },
  },
  {
    name: 'picker, two providers',
    times: 150,
    target: '≤ 0.90',
    applies: ({ picker }) => picker !== undefined,
    async operation({ picker = '' }, { server }, n) {
      const { status } = await new Browser(server.url, n % 50).request(picker)
      if (status !== 200) throw new Error(`the picker responded with ${status}`)
    },
  },
]

async function signIn(peer: Peer, browser: Browser): Promise<void> {
  const { body } = await peer.signIn(browser)
  if (!body.includes('Hello Person')) throw new Error(`${peer.name}: no sign-in: ${body}`)
}

interface Slice {
  cpuMs: number
  wallMs: number
  latencies: number[]
}

const cpuMs = ({ cpu }: Usage) => (cpu.user + cpu.system) / 1000

async function measureSlice(row: Row, peer: Peer, portal: Portal): Promise<Slice> {
  const latencies: number[] = []
  const before = cpuMs(await portal.server.ask())
  const started = performance.now()
  await repeat(row.times * sliceShare, async (n) => {
    const from = performance.now()
    await row.operation(peer, portal, n)
    latencies.push(performance.now() - from)
  })
  const wallMs = performance.now() - started
  return { cpuMs: cpuMs(await portal.server.ask()) - before, wallMs, latencies }
}

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? Number.NaN
const percentile99 = (numbers: number[]) =>
  numbers.sort((a, b) => a - b)[Math.floor(numbers.length * 0.99)] ?? 0
const medianRatio = (slices: Slice[], base: Slice[], of: 'cpuMs' | 'wallMs') =>
  median(slices.map((slice, round) => slice[of] / (base[round]?.[of] ?? Number.NaN))).toFixed(2)

function printTable(title: string, columns: string[], lines: (string | number)[][]): void {
  const row = (cells: (string | number)[]) => `| ${cells.join(' | ')} |`
  console.log([`\n**${title}**\n`, row(columns), row(columns.map(() => '---')), ...lines.map(row)].join('\n'))
}

const [postgresProgram, redisProgram] = [await postgres.find(), await redisService.find()]
if (!postgresProgram || !redisProgram) throw new Error('the benchmark needs PostgreSQL and Redis on PATH')
const [database, redisServer] = [
  await postgres.start(postgresProgram),
  await redisService.start(redisProgram),
]
const redis = await createClient({ url: redisServer.env.TEST_REDIS_URL }).connect()
const provider = await ServerProcess.start('provider.js', {})
const administrator = new pg.Client({ connectionString: database.env.TEST_DATABASE_URL })
await administrator.connect()

const start = (peer: Peer, env: Record<string, string>, port?: number) =>
  ServerProcess.start(`peers/${peer.file}.js`, env, port)

async function startPortal(peer: Peer, number: number): Promise<Portal> {
  await administrator.query(`create database bench_${number}`)
  const env = {
    ISSUER: provider.url,
    REDIS_URL: `${redisServer.env.TEST_REDIS_URL}/${number}`,
    DATABASE_URL: database.env.TEST_DATABASE_URL.replace(/[^/]*$/, `bench_${number}`),
    ...peer.env,
  }
  const server = await start(peer, env)
  await server.ask('set up')
  const signedIn = Array.from({ length: 50 }, (_, person) => new Browser(server.url, person))
  await repeat(signedIn.length, (n) => signIn(peer, signedIn[n] as Browser))
  return { server, env, signedIn }
}

// Commands within a script are not counted. The benchmark's own ones go to the database 0.
let redisCommands = 0
const monitor = redis.duplicate()
await monitor.connect()
await monitor.monitor((line) => {
  if (/ \[[1-9]\d* (?!lua)/.test(line.toString())) redisCommands++
})

/** @returns SQL statements, Redis commands and provider calls of one operation. Medians, because timers work in between. */
async function count(row: Row, peer: Peer, portal: Portal): Promise<string> {
  const read = async () => [
    (await portal.server.ask()).statements,
    (await provider.ask<{ calls: number }>()).calls,
    redisCommands,
  ]
  const counts: number[][] = []
  for (let n = 0; n < 5; n++) {
    const before = await read()
    await row.operation(peer, portal, 0)
    const after = await read()
    counts.push(after.map((value, kind) => value - (before[kind] ?? 0)))
  }
  return [0, 2, 1].map((kind) => median(counts.map((each) => each[kind] ?? 0))).join(', ')
}

const portals = new Map<Peer, Portal>()
try {
  for (const [number, peer] of peers.entries()) portals.set(peer, await startPortal(peer, number + 1))
  console.log(`\n${os.cpus().length} × ${os.cpus()[0]?.model}, Node ${process.version}, ${rounds} rounds`)

  const applicable = (row: Row) => [...portals].filter(([peer]) => row.applies?.(peer) ?? true)
  const counted = new Map<Row, Map<Peer, string>>()
  for (const row of rows) {
    counted.set(row, new Map())
    for (const [peer, portal] of applicable(row)) counted.get(row)?.set(peer, await count(row, peer, portal))
  }
  printTable(
    'SQL statements, Redis commands, provider calls',
    ['', ...rows.map(({ name }) => name)],
    peers.map((peer) => [peer.name, ...rows.map((row) => counted.get(row)?.get(peer) ?? '–')]),
  )

  monitor.destroy()

  for (const row of rows) {
    const slices = new Map<Peer, Slice[]>(applicable(row).map(([peer]) => [peer, []]))
    // The first rounds only warm up: V8 compiles the code of a sign-in until about the thousandth.
    for (let round = options.quick ? -3 : -30; round < rounds; round++) {
      for (const [peer, portal] of applicable(row)) {
        const slice = await measureSlice(row, peer, portal)
        if (round >= 0) slices.get(peer)?.push(slice)
      }
    }
    const base = [...slices.values()][0] ?? []
    printTable(
      `${row.name} (target ${row.target})`,
      ['', 'CPU, ratio', 'time, ratio', 'CPU each', 'p99'],
      [...slices].map(([{ name }, own]) => [
        name,
        medianRatio(own, base, 'cpuMs'),
        medianRatio(own, base, 'wallMs'),
        `${(median(own.map((slice) => slice.cpuMs)) / (row.times * sliceShare)).toFixed(3)} ms`,
        `${percentile99(own.flatMap((slice) => slice.latencies)).toFixed(1)} ms`,
      ]),
    )
  }
  for (const { server } of portals.values()) await server.stop()
  await measureStart()
} finally {
  for (const { server } of portals.values()) await server.stop()
  await administrator.end()
  redis.destroy()
  if (monitor.isOpen) monitor.destroy()
  await provider.stop()
  await Promise.all([database.stop(), redisServer.stop()])
}
process.exit()

/** Starts each server again, on its prepared database. */
async function measureStart(): Promise<void> {
  const starts = new Map([...portals.keys()].map((peer) => [peer, [] as ServerProcess[]]))
  for (let round = 0; round < (options.quick ? 3 : 7); round++) {
    for (const [peer, { env, server }] of portals) {
      const restarted = await start(peer, env, server.port)
      starts.get(peer)?.push(restarted)
      await restarted.stop()
    }
  }
  const lines: string[][] = []
  for (const [peer, { env, server }] of portals) {
    const fresh = await start(peer, env, server.port)
    const usage = await fresh.ask()
    await repeat(canSignIn(peer) ? signInsForMemory : 0, (n) => signIn(peer, new Browser(fresh.url, n % 50)))
    const megabytes = [usage, await fresh.ask()].map(({ memory }) => `${Math.round(memory / 2 ** 20)} MB`)
    const startMs = median(starts.get(peer)?.map((each) => each.startMs) ?? [])
    lines.push([peer.name, `${Math.round(startMs)} ms`, `${Math.round(cpuMs(usage))} ms`, ...megabytes])
    await fresh.stop()
  }
  const columns = ['', 'start', 'CPU of the start', 'memory', `after ${signInsForMemory} sign-ins`]
  printTable('Start (target ≤ 400 ms, 130 MB, after 2,000 sign-ins 200 MB)', columns, lines)
}
