import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Plugin } from 'esbuild'
import type { PortalSsoOptions } from '../../lib/index.ts'
import { bundle } from './bundle.ts'
import { type FreshDatabase, postgresUrl } from './databases.ts'
import type { LogLine } from './portal.ts'
import { freePort } from './services/server.ts'

/** See instance.ts. */
export interface Instance {
  port: number
  /** Its log with the times of arrival, if the option `log` is set. */
  logs: (LogLine & { at: number })[]
  /** Calls a method of `sso.providers` in this instance. */
  act(name: string, ...given: unknown[]): Promise<unknown>
  /** Calls a method of `sso.providers`, `sso.sessions`, or of `sso` itself (`portal`). */
  call(api: 'portal' | 'providers' | 'sessions', name: string, ...given: unknown[]): Promise<unknown>
  /** Reads another route below `/test`. */
  get(name: string): Promise<unknown>
  /** Posts arguments to another route below `/test`. */
  post(name: string, ...given: unknown[]): Promise<unknown>
  /** Ends the process immediately, like a power cut. */
  kill(): Promise<void>
}

/** Values for instance.ts. */
export interface InstanceOptions {
  /** Prints its log. */
  log?: boolean
  /** Connects to a Redis Cluster. */
  redisPorts?: number[]
  /** Connects through Redis Sentinel. */
  sentinelPort?: number
  /** The host gives its own Knex with a pool of this size. */
  poolSize?: number
  portal?: Partial<PortalSsoOptions>
}

export interface InstanceProcess {
  /** the public URL of all instances; default: its own */
  url?: string
  databaseUrl: string
  redisUrl: string
  version?: Plugin[]
  nodeArgs?: string[]
  env?: Record<string, string>
  options?: InstanceOptions
}

/**
 * Starts one of a portal's processes, with the run's Redis.
 *
 * @param url the public URL of all instances
 * @param version omitted: this one
 */
export async function startInstance(
  url: string,
  database: FreshDatabase,
  ...version: Plugin[]
): Promise<Instance> {
  const redisUrl = process.env.TEST_REDIS_URL!
  return await spawnInstance({ url, databaseUrl: postgresUrl(database), redisUrl, version })
}

export async function spawnInstance({
  url,
  databaseUrl,
  redisUrl,
  version = [],
  nodeArgs = [],
  env,
  options = {},
}: InstanceProcess): Promise<Instance> {
  const port = await freePort()
  const program = await bundle('test/support/instance.ts', ...version)
  const child = spawn(process.execPath, [...nodeArgs, program], {
    env: {
      ...process.env,
      PORT: String(port),
      BASE_URL: url ?? `http://127.0.0.1:${port}`,
      DATABASE_URL: databaseUrl,
      REDIS_URL: redisUrl,
      INSTANCE_OPTIONS: JSON.stringify(options),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  const logs: Instance['logs'] = []
  await new Promise<void>((resolve, reject) => {
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      createInterface({ input: stream }).on('line', (line) => {
        if (line.startsWith('{')) logs.push({ at: performance.now(), ...(JSON.parse(line) as LogLine) })
        else output += line
        if (line === 'ready') resolve()
      })
    exited.then(() => reject(new Error(`the instance ended: ${output}`)), reject)
  })
  const send = async (path: string, given?: unknown[]) => {
    const response = await fetch(`http://127.0.0.1:${port}/test/${path}`, {
      ...(given && { method: 'POST', body: JSON.stringify(given) }),
      headers: { 'content-type': 'application/json' },
    })
    if (!response.ok) throw new Error(await response.text())
    return (await response.json()) as unknown
  }
  const call: Instance['call'] = (api, name, ...given) => send(`${api}/${name}`, given)
  return {
    port,
    logs,
    call,
    act: (name, ...given) => call('providers', name, ...given),
    get: (name) => send(name),
    post: (name, ...given) => send(name, given),
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
  }
}
