import fs from 'node:fs'
import path from 'node:path'
import { createClient, createSentinel, type RedisSentinelType } from 'redis'
import { waitForReplica } from './redis-cluster.ts'
import { findRedis, startRedis } from './services/redis.ts'
import { freePort, privateFolder, type Stop, startServer, unprivileged } from './services/server.ts'

export interface OwnSentinel {
  port: number
  /** Ends the master immediately. */
  killMaster(): void
  /** Returns a connected client, which the test closes. */
  connect(): Promise<RedisSentinelType>
  stop(): Promise<void>
}

/** Starts a real Redis Sentinel that watches one Redis. @param replicas take over a second after it has failed */
export async function startRedisSentinel(replicas: 0 | 1 = 0): Promise<OwnSentinel> {
  const program = findRedis()
  if (!program) throw new Error('redis-server is not installed')
  const [redisPort, port] = [await freePort(), await freePort()]
  let pid = 0
  const stopRedis = await startRedis(program, redisPort, [], (spawned) => {
    pid = spawned
  })
  const stopReplica = replicas > 0 ? await startReplica(program, redisPort) : undefined
  const folder = privateFolder()
  const file = path.join(folder, 'sentinel.conf')
  // Sentinel writes its state into this file.
  const lines = ['bind 127.0.0.1', `port ${port}`, `sentinel monitor main 127.0.0.1 ${redisPort} 1`]
  if (replicas > 0)
    lines.push('sentinel down-after-milliseconds main 1000', 'sentinel failover-timeout main 3000')
  fs.writeFileSync(file, lines.join('\n'))
  const user = unprivileged()
  if (user) fs.chownSync(file, user.uid, user.gid)
  const stopSentinel = await startServer(program, [file, '--sentinel', '--dir', folder], folder, {
    ready: replicas > 0 ? /\+slave slave/ : /\+monitor master main/,
  })
  return {
    port,
    killMaster: () => void process.kill(pid, 'SIGKILL'),
    async connect() {
      const sentinelRootNodes = [{ host: '127.0.0.1', port }]
      const sentinel: RedisSentinelType = createSentinel({ name: 'main', sentinelRootNodes })
      sentinel.on('error', () => {})
      await sentinel.connect()
      return sentinel
    },
    async stop() {
      await stopSentinel()
      await stopReplica?.()
      await stopRedis()
    },
  }
}

async function startReplica(program: string, masterPort: number): Promise<Stop> {
  const port = await freePort()
  const stop = await startRedis(program, port, ['--replicaof', '127.0.0.1', String(masterPort)])
  const client = await createClient({ url: `redis://127.0.0.1:${port}` }).connect()
  await waitForReplica(client)
  client.destroy()
  return stop
}
