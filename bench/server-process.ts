import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { freePort } from '../test/support/services/server.ts'

export interface Usage {
  cpu: { user: number; system: number }
  /** bytes that are resident */
  memory: number
  /** sent to PostgreSQL since the start */
  statements: number
}

/** A server of the benchmark in its own process. It ends with this one. */
export class ServerProcess {
  readonly url: string
  /** from its start until it accepts requests */
  readonly startMs: number
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, url: string, startMs: number) {
    this.#child = child
    this.url = url
    this.startMs = startMs
  }

  static async start(file: string, env: Record<string, string>, port?: number): Promise<ServerProcess> {
    const PORT = String(port ?? (await freePort()))
    const started = performance.now()
    const child = fork(path.join(import.meta.dirname, file), {
      env: { PATH: process.env.PATH, NODE_ENV: 'production', ...env, PORT },
      // The process would otherwise inherit tsx.
      execArgv: [],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let log = ''
    child.stderr?.on('data', (chunk) => {
      log = `${log}${chunk}`.slice(-2000)
    })
    const exited = once(child, 'exit').then(() => Promise.reject(new Error(`${file} did not start: ${log}`)))
    await Promise.race([once(child, 'message'), exited])
    exited.catch(() => {})
    return new ServerProcess(child, `http://127.0.0.1:${PORT}`, performance.now() - started)
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  /** @returns the usage of the process, or the number of the provider's calls */
  async ask<T = Usage>(message: 'usage' | 'set up' = 'usage'): Promise<T> {
    const reply = once(this.#child, 'message')
    this.#child.send(message)
    const [value] = (await reply) as [T]
    return value
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill()
    await exited
  }
}
