import type { Knex } from 'knex'
import type { Logger } from '../shared/logger.ts'
import { SECOND } from '../shared/time.ts'
import { isSqlite } from './connect.ts'
import { isMysql } from './mysql.ts'

/** Providers tolerate 30 s, so the operator must know before sign-ins fail. */
const toleranceMs = 10 * SECOND

/**
 * The database's time, which all instances share. `measure()` reads it, at start and in each maintenance run. `now()` corrects this
 * instance's clock by the last `offsetMs`, without a query. Delete by `measure()` what another instance may still use.
 */
export class DatabaseClock {
  readonly #knex: Knex
  readonly #logger: Logger
  #offsetMs: number | undefined
  #isReported = false
  #providerOffsetMs: number | undefined
  #isProviderReported = false

  constructor(knex: Knex, logger: Logger) {
    this.#knex = knex
    this.#logger = logger
  }

  /** The database's time minus ours: positive if our clock is behind. `undefined` until it was measured. */
  get offsetMs(): number | undefined {
    return this.#offsetMs
  }

  /** True if the last measurement found our clock wrong by more than 10 seconds. */
  get isWrong(): boolean {
    return Math.abs(this.#offsetMs ?? 0) > toleranceMs
  }

  /** @returns the database's time as of the last measurement: milliseconds since 1970 */
  now(): number {
    return Date.now() + (this.#offsetMs ?? 0)
  }

  /** Asks the database, and logs once that our clock is wrong, and once that it is right again. @returns its time */
  async measure(): Promise<number> {
    const askedAt = Date.now()
    const row: { at: unknown } | undefined = await this.#knex
      .select({ at: this.#knex.raw(timeExpression(this.#knex)) })
      .first()
    const at = Math.round(Number(row?.at))
    const answeredAt = Date.now()
    // The smallest offset that explains the result: the database read its clock at some moment in between.
    this.#offsetMs = Math.min(at - askedAt, Math.max(at - answeredAt, 0))
    this.#report()
    return at
  }

  /** A provider's time minus ours, from the last response that stated it, if more than 10 seconds. */
  get providerOffsetMs(): number | undefined {
    return this.#providerOffsetMs
  }

  /**
   * Compares our clock with the `Date` of a provider's response (RFC 9110, 6.6.1). Attacker: a provider that lies, to fill the log or
   * to have instances taken out of use. So there is one line for each process, and only `/readyz` shows the offset: nothing depends on it.
   */
  compareWithProvider({ headers }: Response, askedAt: number, issuer: string): void {
    // A cache in between sends the time at which it got the response, and the seconds since then.
    const age = Number(headers.get('age') ?? 0) * SECOND
    const at = Date.parse(headers.get('date') ?? '') + (Number.isFinite(age) ? age : 0)
    if (Number.isNaN(at)) return
    // The header names a whole second, and its clock was read at some moment in between.
    const [ahead, behind] = [at - Date.now(), at + SECOND - askedAt]
    const offsetMs = ahead > 0 ? ahead : Math.min(behind, 0)
    this.#providerOffsetMs = Math.abs(offsetMs) > toleranceMs ? offsetMs : undefined
    if (this.#providerOffsetMs === undefined || this.#isProviderReported) return
    this.#isProviderReported = true
    const seconds = Math.round(offsetMs / SECOND)
    this.#logger.warn(
      { seconds, issuer },
      `the clock of this server is ${Math.abs(seconds)} s ${seconds > 0 ? 'behind' : 'ahead of'} a provider’s: from 30 s on, its sign-ins fail; synchronize both (NTP)`,
    )
  }

  #report(): void {
    if (this.isWrong === this.#isReported) return
    this.#isReported = this.isWrong
    const seconds = Math.round((this.#offsetMs ?? 0) / SECOND)
    if (this.isWrong)
      this.#logger.error(
        { seconds },
        `the clock of this server is ${Math.abs(seconds)} s ${seconds > 0 ? 'behind' : 'ahead of'} the database’s, so sign-ins fail: synchronize it (NTP)`,
      )
    else this.#logger.info({ seconds }, 'the clock of this server is right again')
  }
}

function timeExpression(knex: Knex): string {
  if (isSqlite(knex)) return "(julianday('now') - 2440587.5) * 86400000"
  if (isMysql(knex)) return "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6)) / 1000"
  // Not `now()`, which is the start of the transaction.
  return 'extract(epoch from clock_timestamp()) * 1000'
}
