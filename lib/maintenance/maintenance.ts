import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'

/** Bounded work that several instances may do at the same time. */
export type Task = () => Promise<void>

const stopTimeoutMs = 5 * SECOND

/**
 * Runs all tasks about once a minute, on any number of instances, without cron. Each instance waits a random time between half
 * a minute and a minute and a half, so that instances do not run in step.
 */
export class Maintenance {
  readonly #logger: Logger
  readonly #tasks: Readonly<Record<string, Task>>
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()
  #stopped = false

  constructor({ logger }: Pick<Core, 'logger'>, tasks: Readonly<Record<string, Task>>) {
    this.#logger = logger
    this.#tasks = tasks
  }

  start(): void {
    if (!this.#timer) this.#schedule()
  }

  /** Runs all tasks once, after a run in progress. A failed task is logged, and retried by the next run. */
  run(): Promise<void> {
    this.#running = this.#running.then(() => this.#runAll())
    return this.#running
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await withTimeout(stopTimeoutMs, this.#running).catch(() => {})
  }

  async #runAll(): Promise<void> {
    for (const [task, perform] of Object.entries(this.#tasks)) {
      if (this.#stopped) return
      try {
        await perform()
      } catch (error) {
        this.#logger.error(
          { task, cause: describeError(error) },
          'a maintenance task failed; it will run again in a minute',
        )
      }
    }
  }

  #schedule(): void {
    if (this.#stopped) return
    const delayMs = MINUTE * (0.5 + Math.random())
    this.#timer = setTimeout(() => void this.run().then(() => this.#schedule()), delayMs)
    // A pending timer must not keep a finished process alive.
    this.#timer.unref()
  }
}
