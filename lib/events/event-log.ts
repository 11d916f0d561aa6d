import { captureRejectionSymbol, EventEmitter } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Knex } from 'knex'
import { changeRows, insertInto } from '../database/statement.ts'
import type { CircuitBreaker } from '../shared/circuit-breaker.ts'
import { describeError, toProblem } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { timeOrderedUuid } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { clientNetwork } from '../web/request.ts'
import type { StoredEvent } from './event-history.ts'
import type { EventKind, EventOf, PortalEvent } from './event-types.ts'

/** How much of each event is stored, and for how long. */
export interface EventSettings {
  /** How much of a client's address is stored. Default `shortened`: its /24 network, of IPv6 its /48. */
  clientAddress: 'full' | 'shortened' | 'none'
  /** Days after which the maintenance deletes an event: 1 to 3650, default 365. */
  retentionDays: number
}

/** Emits each event under its kind: `sso.events.on('signed-in', (event) => …)`. An error in a listener is only logged. */
export type PortalEvents = EventEmitter<{ [Kind in EventKind]: [EventOf<Kind>] }>

type Row = Parameters<typeof insertInto>[1]

/** that are written together */
const maxBatch = 100
const maxFieldLength = 255
const maxDetailLength = 1000

const prefixLengths = { full: { ipv4: 32, ipv6: 128 }, shortened: { ipv4: 24, ipv6: 48 }, none: undefined }

/** Writes events to `sso_events` and emits them to the host's listeners. It depends on no other module. */
export class EventLog {
  readonly emitter: PortalEvents
  readonly #database: CircuitBreaker
  readonly #knex: Knex
  readonly #logger: Logger
  readonly #prefixLength: { ipv4: number; ipv6: number } | undefined
  /** of this turn */
  #batch: { rows: Row[]; written: Promise<unknown> } | undefined

  constructor(
    { breakers, knex, logger }: Pick<Core, 'breakers' | 'knex' | 'logger'>,
    { clientAddress }: Pick<EventSettings, 'clientAddress'>,
  ) {
    this.#database = breakers.database
    this.#knex = knex
    this.#logger = logger
    this.#prefixLength = prefixLengths[clientAddress]
    // An async listener that rejects would otherwise end the process.
    this.emitter = new EventEmitter({ captureRejections: true })
    Object.assign(this.emitter, {
      [captureRejectionSymbol]: (error: unknown, kind: unknown) => this.#logListenerError(kind, error),
    })
  }

  /** Never throws: a failure to write or emit an event must not undo the action. */
  async record(event: PortalEvent): Promise<void> {
    const { clientAddress: received, detail: untrusted, ...rest } = event as Columns
    const clientAddress = this.addressOf(received)
    const sanitized: Columns = {
      ...sanitizeTexts(rest, maxFieldLength),
      ...(untrusted && { detail: sanitizeTexts(untrusted, maxDetailLength) }),
      ...(clientAddress && { clientAddress }),
    }
    const { portal, kind, userId, provider, reference, actor, detail } = sanitized
    try {
      await this.#insert({
        id: timeOrderedUuid(),
        portal,
        at: new Date().toISOString(),
        kind,
        user_id: userId ?? null,
        provider: provider ?? null,
        reference: reference ?? null,
        actor: actor ?? null,
        detail: JSON.stringify(detail ?? {}),
        client_address: clientAddress ?? null,
      })
    } catch (error) {
      if (toProblem(error).code === 'database_unavailable') this.#database.outage.report(error)
      else this.#logger.error({ kind, cause: describeError(error) }, 'an event could not be written')
    }
    try {
      this.emitter.emit(kind, sanitized as never)
    } catch (error) {
      this.#logListenerError(kind, error)
    }
  }

  /** Rows of one turn of the event loop share a statement. Attacker: causes a row that fails, so that others are missing. */
  async #insert(row: Row): Promise<void> {
    const batch = this.#batch ?? { rows: [], written: Promise.resolve() }
    if (batch.rows.push(row) === 1) {
      this.#batch = batch
      batch.written = nextTurn().then(async () => {
        if (this.#batch === batch) this.#batch = undefined
        await this.#database.run(changeRows(this.#knex, insertInto('sso_events', ...batch.rows)))
      })
    }
    if (batch.rows.length >= maxBatch) this.#batch = undefined
    try {
      await batch.written
    } catch (error) {
      // The database wrote none of them, and says so. While it does not respond, nobody knows.
      if (batch.rows.length === 1 || toProblem(error).code === 'database_unavailable') throw error
      await this.#database.run(changeRows(this.#knex, insertInto('sso_events', row)))
    }
  }

  /** @returns the part of a client's address that may be stored */
  addressOf(clientAddress: string | undefined): string | undefined {
    return this.#prefixLength && clientNetwork(clientAddress, this.#prefixLength)
  }

  #logListenerError(kind: unknown, error: unknown): void {
    this.#logger.error({ kind, cause: describeError(error) }, 'a listener of sso.events threw')
  }
}

/** The fields of all kinds together: the columns of a row. */
type Columns = Pick<StoredEvent, 'portal' | 'kind'> & Partial<Omit<StoredEvent, 'id' | 'at'>>

function sanitizeTexts<T extends object>(fields: T, maxLength: number): T {
  const sanitized: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(fields))
    sanitized[name] = typeof value === 'string' ? sanitizeText(value, maxLength) : value
  return sanitized as T
}
