import fs from 'node:fs'
import { initPostgres, postgres, postgresUrlAt, runPostgres } from '../../support/services/postgres.ts'
import { findRedis, startRedis } from '../../support/services/redis.ts'
import {
  freePort,
  guard,
  privateFolder,
  type ServerOptions,
  type Stop,
} from '../../support/services/server.ts'

type Run = (spawned: ServerOptions['spawned']) => Promise<Stop>

/** A real server that a scenario breaks and restores. */
export class BreakableServer {
  readonly url: string
  readonly #run: Run
  readonly #remove: Stop
  #pid = 0
  #stop: Stop | undefined

  private constructor(url: string, run: Run, remove: Stop) {
    this.url = url
    this.#run = run
    this.#remove = remove
  }

  static async start(url: string, run: Run, remove: Stop = async () => {}): Promise<BreakableServer> {
    const server = new BreakableServer(url, run, remove)
    await server.start()
    return server
  }

  /** Starts it, again at the same address and with its data. */
  async start(): Promise<void> {
    this.#stop ??= await this.#run((pid) => {
      this.#pid = pid
    })
  }

  async stop(): Promise<void> {
    const stop = this.#stop
    this.#stop = undefined
    // A paused process would receive no signal.
    if (stop) this.resume()
    await stop?.()
  }

  async kill(): Promise<void> {
    process.kill(this.#pid, 'SIGKILL')
    await this.stop()
  }

  /** Makes it hang: the system still accepts connections, and nothing responds. */
  pause(): void {
    this.#signal('SIGSTOP')
  }

  resume(): void {
    this.#signal('SIGCONT')
  }

  /** Ends it for good, with its data. */
  async close(): Promise<void> {
    await this.stop()
    await this.#remove()
  }

  /** The parent comes first, so that it starts no other child. */
  #signal(signal: NodeJS.Signals): void {
    send(this.#pid, signal)
    for (const pid of childrenOf(this.#pid)) send(pid, signal)
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    // It ended in the meantime.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** PostgreSQL has a process for each connection. */
function childrenOf(parent: number): number[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
        return Number(stat.slice(stat.lastIndexOf(')')).split(' ')[2]) === parent
      } catch {
        return false
      }
    })
}

/** Keeps its data, as in production. @param more arguments of the program */
export async function startBreakableRedis(...more: string[]): Promise<BreakableServer> {
  const program = findRedis()
  if (!program) throw new Error('redis-server is not installed')
  const port = await freePort()
  const data = privateFolder()
  const durable = ['--dir', data, '--appendonly', 'yes', ...more]
  return await BreakableServer.start(
    `redis://127.0.0.1:${port}`,
    (spawned) => startRedis(program, port, durable, spawned),
    guard(data),
  )
}

export async function startBreakablePostgres(): Promise<BreakableServer> {
  const bin = await postgres.find()
  if (!bin) throw new Error('PostgreSQL is not installed')
  const port = await freePort()
  const { data, remove } = await initPostgres(bin)
  return await BreakableServer.start(
    postgresUrlAt(port),
    (spawned) => runPostgres(bin, data, { port, folder: privateFolder(), spawned }),
    remove,
  )
}
