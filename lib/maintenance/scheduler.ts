import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { withTimeout } from '../shared/with-timeout.ts'

/** Something to look after: bounded, and harmless when several instances do it at once. */
export type Task = () => Promise<void>

export interface Maintenance {
  /** From now on it is done about once a minute; harmless when it is begun twice. */
  start(): void
  /** Does all of it once, now. What fails is logged and done at the next time. */
  run(): Promise<void>
  stop(): Promise<void>
}

const minute = 60_000
/** milliseconds that `stop` waits for what is under way */
const patience = 5000

/**
 * What has its time, looked after from within: no cron, nothing to set up, and any number of instances. Each waits its own while
 * between half a minute and a minute and a half, so that they do not all come at once.
 */
export function createMaintenance(tasks: Readonly<Record<string, Task>>, logger: Logger): Maintenance {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  let stopped = false

  async function runAll(): Promise<void> {
    for (const [task, perform] of Object.entries(tasks)) {
      if (stopped) return
      try {
        await perform()
      } catch (error) {
        logger.error({ task, cause: describeError(error) }, 'upkeep failed, and is tried again in a minute')
      }
    }
  }

  /** Never two at once. */
  function run(): Promise<void> {
    running = running.then(runAll)
    return running
  }

  function next(): void {
    if (stopped) return
    timer = setTimeout(() => void run().then(next), minute * (0.5 + Math.random()))
    // It must not keep a process alive that is done.
    timer.unref()
  }

  return {
    start() {
      if (!timer) next()
    },
    run,
    async stop() {
      stopped = true
      clearTimeout(timer)
      await withTimeout(patience, running).catch(() => {})
    },
  }
}
