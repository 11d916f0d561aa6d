import { randomUUID } from 'node:crypto'
import { captureRejectionSymbol, EventEmitter } from 'node:events'
import type { Knex } from 'knex'
import { explain } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { within } from '../within.ts'

export type EventKind =
  | 'signed-in'
  | 'signed-out'
  | 'refused'
  | 'linked'
  | 'registered'
  | 'address-proof-sent'
  | 'address-proven'
  | 'address-proof-failed'
  | 'provider-connected'
  | 'provider-changed'
  | 'provider-removed'

/** Something that happened: one row in `sso_events`, one call of each listener. Never holds a token, code or secret. */
export interface PortalEvent {
  kind: EventKind
  portal: string
  userId?: string | undefined
  /** slug */
  provider?: string | undefined
  /** the reference on the page that the person saw */
  reference?: string | undefined
  detail?: Record<string, string | number | boolean | undefined> | undefined
}

export interface EventSettings {
  /** how much of a client's address is written down: `shortened` keeps a /24, of IPv6 a /48; default `shortened` */
  clientAddress: 'full' | 'shortened' | 'none'
  /** days after which an event is deleted; default 365 */
  keepDays: number
}

/** `events.on('signed-in', (event) => …)` */
export type PortalEvents = EventEmitter<Record<EventKind, [PortalEvent]>>

export interface EventLog {
  readonly emitter: PortalEvents
  record(event: PortalEvent): Promise<void>
}

/** milliseconds that a person waits for an event to be written; it may still be, after that */
const patience = 1000

export function createEventLog(knex: Knex, logger: Logger): EventLog {
  const heardBadly = (kind: unknown, error: unknown) =>
    logger.error({ kind, cause: explain(error) }, 'a listener of sso.events threw')
  // A listener that is an async function would otherwise end the process with its rejection.
  const emitter: PortalEvents = new EventEmitter({ captureRejections: true })
  Object.assign(emitter, {
    [captureRejectionSymbol]: (error: unknown, kind: unknown) => heardBadly(kind, error),
  })
  async function write(event: PortalEvent): Promise<void> {
    await knex('sso_events').insert({
      id: randomUUID(),
      portal: event.portal,
      at: new Date().toISOString(),
      kind: event.kind,
      user_id: event.userId ?? null,
      provider: event.provider ?? null,
      reference: event.reference ?? null,
      detail: JSON.stringify(event.detail ?? {}),
    })
  }

  return {
    emitter,
    // An event that cannot be written or heard must not undo what has already happened.
    async record(event) {
      try {
        await within(patience, write(event))
      } catch (error) {
        logger.error({ kind: event.kind, cause: explain(error) }, 'an event could not be written')
      }
      try {
        emitter.emit(event.kind, event)
      } catch (error) {
        heardBadly(event.kind, error)
      }
    },
  }
}
