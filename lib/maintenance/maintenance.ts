import { pauseAfterBatch } from '../database/connect.ts'
import { countEvents } from '../events/event-counts.ts'
import type { EventLog } from '../events/event-log.ts'
import type { RefusalLog } from '../events/refusal-log.ts'
import type { HealthProbes } from '../health/health-probes.ts'
import type { Mail } from '../mail/mail.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { describeError, toProblem } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import type { Outage } from '../shared/outage.ts'
import { DAY, HOUR, MINUTE, SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { purgeRemovedProviders, retireDueProviders } from './provider-tasks.ts'
import { warnExpiringSecrets } from './warn-expiring-secrets.ts'

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

/** The tasks in the order in which they run. Expired rows are kept as long as a rule or a slow clock needs them. */
export function createMaintenance(
  core: Core,
  modules: {
    events: EventLog
    healthProbes: HealthProbes
    refusalLog: RefusalLog
    sessions: Sessions
    mail: Mail | undefined
    adminMail: readonly string[]
    /** days for which events are kept */
    retentionDays: number
  },
): Maintenance {
  const { events, healthProbes, refusalLog, sessions, mail, adminMail, retentionDays } = modules
  const tasks = {
    'summarize omitted records': () => refusalLog.summarize(),
    'retire providers': () => retireDueProviders(core, events, sessions),
    'end sessions': () => sessions.finishAbandonedEndings(),
    'warn of expiring secrets': () => warnExpiringSecrets(core, { events, mail, adminMail }),
    'probe failing providers': () => healthProbes.probeDue(),
    'purge removed providers': () => purgeRemovedProviders(core, events),
    'delete sessions': () => deleteInBatches(core, 'sso_sessions', 'expires_at', HOUR),
    // The mail limits count the codes of the last hour.
    'delete codes': () => deleteInBatches(core, 'sso_email_verifications', 'sent_at', 2 * HOUR),
    'delete logout tokens': () => deleteInBatches(core, 'sso_logout_tokens', 'expires_at', HOUR),
    'delete one-time links': () => deleteInBatches(core, 'sso_one_time_links', 'expires_at', DAY),
    'delete redeemed codes': () => deleteInBatches(core, 'sso_redeemed_codes', 'expires_at', HOUR),
    'count events': () => countEvents(core),
    'delete events': () => deleteInBatches(core, 'sso_events', 'at', retentionDays * DAY),
  } satisfies Record<string, Task>
  return new Maintenance(core, reportingOutages(tasks, core.breakers.database.outage))
}

/** The failures of all tasks while the database is down are one outage. */
function reportingOutages(tasks: Readonly<Record<string, Task>>, outage: Outage): Record<string, Task> {
  const reporting = Object.entries(tasks).map(([name, perform]): [string, Task] => [
    name,
    async () => {
      await perform().catch((error: unknown) => {
        if (toProblem(error).code !== 'database_unavailable') throw error
        outage.report(error)
      })
    },
  ])
  return Object.fromEntries(reporting)
}

/** Other requests wait while SQLite deletes this many rows. */
const batchSize = 250
/** The next run deletes the rest. */
const maxRowsPerRun = 20_000
const maxRunMs = 10 * SECOND

type AgingTable =
  | 'sso_events'
  | 'sso_logout_tokens'
  | 'sso_email_verifications'
  | 'sso_sessions'
  | 'sso_one_time_links'
  | 'sso_redeemed_codes'

/**
 * Deletes rows whose `column` is older than `retentionMs` by the database's time, oldest first, up to the limits of one run. Several
 * instances may do so at the same time.
 *
 * @param column an ISO 8601 date with an index
 */
async function deleteInBatches(
  { clock, knex }: Pick<Core, 'clock' | 'knex'>,
  table: AgingTable,
  column: string,
  retentionMs: number,
): Promise<void> {
  const startedAt = performance.now()
  // By our clock, too: after a failover, that of the database may be wrong.
  const now = Math.min(await clock.measure(), Date.now())
  const until = new Date(now - retentionMs).toISOString()
  for (let done = 0; done < maxRowsPerRun && performance.now() - startedAt < maxRunMs; done += batchSize) {
    const batchStartedAt = performance.now()
    // Two statements: not every database can delete with a limit, or from a table that the same statement reads.
    const ids: string[] = await knex(table)
      .where(column, '<', until)
      .orderBy(column)
      .limit(batchSize)
      .pluck('id')
    if (ids.length > 0) await knex(table).whereIn('id', ids).delete()
    if (ids.length < batchSize) return
    await pauseAfterBatch(knex, batchStartedAt)
  }
}
