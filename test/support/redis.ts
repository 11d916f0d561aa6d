import { once } from 'node:events'
import net from 'node:net'
import { createClient, type RedisClientType } from 'redis'
import { findRedis, startRedis } from './services/redis.ts'
import { freePort } from './services/server.ts'

/** Connects by default to the run's Redis, which all test files share: use a separate prefix, and close the client. */
export async function connectRedis(url = process.env.TEST_REDIS_URL!): Promise<RedisClientType> {
  const client: RedisClientType = createClient({ url, socket: { reconnectStrategy: 50 } })
  client.on('error', () => {})
  await client.connect()
  return client
}

export interface OwnRedis {
  url: string
  stop(): Promise<void>
  start(): Promise<void>
}

/** Starts a Redis that a test may stop and start again, at the same address but without its data. */
export async function startOwnRedis(): Promise<OwnRedis> {
  const port = await freePort()
  const program = findRedis()
  const url = new URL(program ? 'redis://127.0.0.1' : process.env.TEST_REDIS_URL!)
  const run = program ? () => startRedis(program, port) : () => startProxy(url, port)
  let stopNow: (() => Promise<void>) | undefined
  const own = {
    async start() {
      stopNow ??= await run()
    },
    async stop() {
      const stop = stopNow
      stopNow = undefined
      await stop?.()
    },
  }
  await own.start()
  const address = new URL(url)
  address.hostname = '127.0.0.1'
  address.port = String(port)
  return { url: address.href, ...own }
}

/** Replaces a Redis program that is not installed: a closable proxy to the given Redis, which keeps its data. */
async function startProxy(to: URL, port: number): Promise<() => Promise<void>> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer((near) => {
    const far = net.connect(Number(to.port || 6379), to.hostname)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.pipe(other)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return async () => {
    server.close()
    for (const socket of sockets) socket.destroy()
    await once(server, 'close')
  }
}
