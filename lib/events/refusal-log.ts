import type { Request } from 'express'
import { describeError, type ProblemCode } from '../shared/errors.ts'
import type { Outage } from '../shared/outage.ts'
import { newReference } from '../shared/random-code.ts'
import { MINUTE } from '../shared/time.ts'
import type { Breakers, Core } from '../web/core.ts'
import { clientKey } from '../web/rate-limit.ts'
import type { EventLog } from './event-log.ts'
import type { RateLimitedEvent, SignInFailedEvent } from './event-types.ts'

/** Bounds the memory. Client addresses beyond it share one budget. */
const maxClients = 10_000

type RefusalEvent =
  | Omit<SignInFailedEvent, 'reference' | 'clientAddress'>
  | Omit<RateLimitedEvent, 'reference' | 'clientAddress'>

export interface Refusal {
  /** A service that is not available is reported by its outage, not for each failed request. */
  code?: ProblemCode
  cause?: unknown
  level: 'info' | 'warn' | 'error'
  message: string
  fields: object
  event?: RefusalEvent | undefined
}

/** The current minute of a client address. */
interface Budget {
  ip: string | undefined
  portal: string | undefined
  endsAt: number
  used: number
}

/**
 * Records refused requests: a log line, and mostly an event. A client address may cause a limited number of records per minute
 * without a session, so that no attacker can fill a log or a table. One summary counts those beyond it.
 */
export class RefusalLog {
  readonly #logger: Core['logger']
  readonly #breakers: Breakers
  readonly #events: EventLog
  readonly #maxPerMinute: number
  readonly #budgets = new Map<string, Budget>()

  constructor(
    { breakers, logger }: Pick<Core, 'breakers' | 'logger'>,
    events: EventLog,
    maxPerMinute: number,
  ) {
    this.#breakers = breakers
    this.#logger = logger
    this.#events = events
    this.#maxPerMinute = maxPerMinute
  }

  /** @returns the reference for the user's page; `undefined` if the budget is used up, so that nothing was recorded */
  async write(req: Request, refusal: Refusal): Promise<string | undefined> {
    const { code, cause, level, message, fields, event } = refusal
    const outage = this.#outageOf(code)?.report(cause)
    // Its event could not be written.
    if (outage !== undefined && code === 'database_unavailable') return outage
    if (!this.admits(req, event?.portal)) return outage
    const reference = outage ?? newReference()
    if (outage === undefined)
      this.#logger[level](
        { reference, ...fields, ...(code && { code, cause: describeError(cause) }) },
        message,
      )
    if (event) await this.#events.record({ ...event, reference, clientAddress: req.ip })
    return reference
  }

  #outageOf(code: ProblemCode | undefined): Outage | undefined {
    if (code === 'database_unavailable') return this.#breakers.database.outage
    return code === 'session_unavailable' ? this.#breakers.redis.outage : undefined
  }

  /** Counts a record of this request: one row, one log line, or one of both. @returns whether to write it */
  admits(req: Request, portal?: string): boolean {
    if (req.user) return true
    const address = clientKey(req)
    const key = this.#budgets.size < maxClients || this.#budgets.has(address) ? address : 'others'
    let budget = this.#budgets.get(key)
    if (budget && budget.endsAt <= Date.now()) {
      void this.#summarize(budget)
      budget = undefined
    }
    budget ??= { ip: req.ip, portal, endsAt: Date.now() + MINUTE, used: 0 }
    this.#budgets.set(key, budget)
    budget.portal ??= portal
    budget.used++
    return budget.used <= this.#maxPerMinute
  }

  /** Writes the summaries of the minutes that have ended. */
  async summarize(): Promise<void> {
    const ended = [...this.#budgets].filter(([, { endsAt }]) => endsAt <= Date.now())
    for (const [key] of ended) this.#budgets.delete(key)
    for (const [, budget] of ended) await this.#summarize(budget)
  }

  async #summarize({ ip, portal, used }: Budget): Promise<void> {
    const omitted = used - this.#maxPerMinute
    if (omitted <= 0) return
    const reference = newReference()
    const clientAddress = this.#events.addressOf(ip)
    this.#logger.warn(
      { reference, portal, clientAddress, omitted },
      'records of refused requests were omitted',
    )
    const detail = { limit: 'records', omitted }
    // Without a portal, such as for unknown hosts, the omitted records were log lines only.
    if (portal !== undefined)
      await this.#events.record({ kind: 'rate-limited', portal, clientAddress: ip, reference, detail })
  }
}
