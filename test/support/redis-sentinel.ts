import fs from 'node:fs'
import path from 'node:path'
import { createSentinel, type RedisSentinelType } from 'redis'
import { findRedis, startRedis } from './services/redis.ts'
import { freePort, privateFolder, startServer, unprivileged } from './services/server.ts'

export interface OwnSentinel {
  /** Returns a connected client, which the test closes. */
  connect(): Promise<RedisSentinelType>
  stop(): Promise<void>
}

/** Starts a real Redis Sentinel that watches one Redis without replicas. */
export async function startRedisSentinel(): Promise<OwnSentinel> {
  const program = findRedis()
  if (!program) throw new Error('redis-server is not installed')
  const [redisPort, port] = [await freePort(), await freePort()]
  const stopRedis = await startRedis(program, redisPort)
  const folder = privateFolder()
  const file = path.join(folder, 'sentinel.conf')
  // Sentinel writes its state into this file.
  const lines = ['bind 127.0.0.1', `port ${port}`, `sentinel monitor main 127.0.0.1 ${redisPort} 1`]
  fs.writeFileSync(file, lines.join('\n'))
  const user = unprivileged()
  if (user) fs.chownSync(file, user.uid, user.gid)
  const stopSentinel = await startServer(program, [file, '--sentinel', '--dir', folder], folder, {
    ready: /\+monitor master main/,
  })
  return {
    async connect() {
      const sentinelRootNodes = [{ host: '127.0.0.1', port }]
      const sentinel: RedisSentinelType = createSentinel({ name: 'main', sentinelRootNodes })
      sentinel.on('error', () => {})
      await sentinel.connect()
      return sentinel
    },
    async stop() {
      await stopSentinel()
      await stopRedis()
    },
  }
}
