import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Plugin } from 'esbuild'
import { bundle } from './bundle.ts'
import { type FreshDatabase, postgresUrl } from './databases.ts'
import { freePort } from './services/server.ts'

/** See instance.ts. */
export interface Instance {
  port: number
  /** Calls a method of `sso.providers` in this instance. */
  act(name: string, ...given: unknown[]): Promise<unknown>
  /** Calls a method of `sso.providers`, `sso.sessions`, or of `sso` itself (`portal`). */
  call(api: 'portal' | 'providers' | 'sessions', name: string, ...given: unknown[]): Promise<unknown>
  /** Ends the process immediately, like a power cut. */
  kill(): Promise<void>
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
  const port = await freePort()
  const child = spawn(process.execPath, [await bundle('test/support/instance.ts', ...version)], {
    env: {
      ...process.env,
      PORT: String(port),
      BASE_URL: url,
      DATABASE_URL: postgresUrl(database),
      REDIS_URL: process.env.TEST_REDIS_URL,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  await new Promise<void>((resolve, reject) => {
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
        if (output.includes('ready')) resolve()
      })
    exited.then(() => reject(new Error(`the instance ended: ${output}`)), reject)
  })
  const call: Instance['call'] = async (api, name, ...given) => {
    const response = await fetch(`http://127.0.0.1:${port}/test/${api}/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(given),
    })
    if (!response.ok) throw new Error(await response.text())
    return await response.json()
  }
  return {
    port,
    call,
    act: (name, ...given) => call('providers', name, ...given),
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
  }
}
