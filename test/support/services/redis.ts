import { createClient } from 'redis'
import { findOnPath } from './programs.ts'
import { freePort, privateFolder, type ServerOptions, type Stop, startServer } from './server.ts'

export const findRedis = (): string | undefined => findOnPath('redis-server', 'valkey-server')

export function startRedis(
  program: string,
  port: number,
  more: readonly string[] = [],
  spawned?: ServerOptions['spawned'],
): Promise<Stop> {
  const folder = privateFolder()
  const args = [
    '--bind',
    '127.0.0.1',
    '--port',
    String(port),
    '--dir',
    folder,
    '--save',
    '',
    '--appendonly',
    'no',
    ...more,
  ]
  return startServer(program, args, folder, { spawned })
}

export const redis = {
  name: 'Redis',
  variable: 'REDIS_URL',
  debianPackage: 'redis-server',
  find: async () => findRedis(),

  async start(program: string) {
    const port = await freePort()
    const stop = await startRedis(program, port)
    return { env: { TEST_REDIS_URL: `redis://127.0.0.1:${port}` }, stop }
  },

  async use(url: string) {
    const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 5000 } })
    client.on('error', () => {})
    await client.connect()
    await client.ping()
    client.destroy()
    return { env: { TEST_REDIS_URL: url }, stop: async () => {} }
  },
}
