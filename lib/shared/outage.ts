import { describeError, type ProblemCode } from './errors.ts'
import type { Logger } from './logger.ts'
import { newReference } from './random-code.ts'
import { MINUTE, SECOND } from './time.ts'

/** A service that fails again this soon, such as a database that is read-only, was not available in between. */
const quietMs = 5 * SECOND

/**
 * Logs the failure of a service once when it starts, once a minute while it lasts, and once when it is over. Its reference is on the
 * page of every request that failed because of it.
 */
export class Outage {
  readonly #logger: Pick<Logger, 'error' | 'warn'>
  readonly #service: string
  readonly #code: ProblemCode
  #reference: string | undefined
  // milliseconds since 1970
  #startedAt = 0
  #loggedAt = 0
  #failedAt = 0

  /** @param service as the log names it */
  constructor(logger: Pick<Logger, 'error' | 'warn'>, service: string, code: ProblemCode) {
    this.#logger = logger
    this.#service = service
    this.#code = code
  }

  get isOngoing(): boolean {
    return this.#reference !== undefined
  }

  /** @returns the reference of the log lines */
  report(error: unknown): string {
    const now = Date.now()
    const isNew = this.#reference === undefined
    this.#reference ??= newReference()
    this.#failedAt = now
    if (isNew) this.#startedAt = now
    else if (now - this.#loggedAt < MINUTE) return this.#reference
    this.#loggedAt = now
    const fields = { reference: this.#reference, code: this.#code, cause: describeError(error) }
    if (isNew) this.#logger.error(fields, `${this.#service} is not available`)
    else this.#logger.error({ ...fields, ...this.#duration(now) }, `${this.#service} is still not available`)
    return this.#reference
  }

  /** The service has responded. */
  end(): void {
    const now = Date.now()
    if (this.#reference === undefined || now - this.#failedAt < quietMs) return
    const fields = { reference: this.#reference, ...this.#duration(now) }
    this.#reference = undefined
    this.#logger.warn(fields, `${this.#service} is available again`)
  }

  #duration(now: number): { seconds: number } {
    return { seconds: Math.round((now - this.#startedAt) / SECOND) }
  }
}
