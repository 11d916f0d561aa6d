import { randomUUID } from 'node:crypto'
import { captureRejectionSymbol, EventEmitter } from 'node:events'
import type { Knex } from 'knex'
import { describeError } from '../shared/errors.ts'
import type { Logger } from '../shared/logger.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'
import { withTimeout } from '../shared/with-timeout.ts'
import { clientNetwork } from '../web/request.ts'
import type { EventKind, EventOf, PortalEvent } from './event-types.ts'

export interface EventSettings {
  /** how much of a client's address is written down: `shortened` keeps a /24, of IPv6 a /48; default `shortened` */
  clientAddress: 'full' | 'shortened' | 'none'
  /** days after which an event is deleted, by the instances that serve; default 365 */
  retentionDays: number
}

/** `events.on('signed-in', (event) => …)` */
export type PortalEvents = EventEmitter<{ [Kind in EventKind]: [EventOf<Kind>] }>

export interface EventLog {
  readonly emitter: PortalEvents
  record(event: PortalEvent): Promise<void>
  /** what is kept of a client's address */
  addressOf(clientAddress: string | undefined): string | undefined
}

/** milliseconds that a person waits for an event to be written; it may still be, after that */
const patience = 1000

/** bits of an address that are kept */
const kept = {
  full: { ipv4: 32, ipv6: 128 },
  shortened: { ipv4: 24, ipv6: 48 },
  none: undefined,
}

export function createEventLog(
  knex: Knex,
  logger: Logger,
  settings: Pick<EventSettings, 'clientAddress'>,
): EventLog {
  const heardBadly = (kind: unknown, error: unknown) =>
    logger.error({ kind, cause: describeError(error) }, 'a listener of sso.events threw')
  // A listener that is an async function would otherwise end the process with its rejection.
  const emitter: PortalEvents = new EventEmitter({ captureRejections: true })
  Object.assign(emitter, {
    [captureRejectionSymbol]: (error: unknown, kind: unknown) => heardBadly(kind, error),
  })

  async function write(event: PortalEvent): Promise<void> {
    const { portal, kind, clientAddress, userId, provider, reference, actor, detail } = event as Columns
    await knex('sso_events').insert({
      id: randomUUID(),
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
  }

  function addressOf(clientAddress: string | undefined): string | undefined {
    const bits = kept[settings.clientAddress]
    return bits && clientNetwork(clientAddress, bits)
  }

  /** As it is written and heard: what came from outside is one line of bounded length. */
  function told(event: PortalEvent): PortalEvent {
    const { clientAddress, detail, ...rest } = event as Columns
    const address = addressOf(clientAddress)
    return {
      ...cleaned(rest, 255),
      ...(detail && { detail: cleaned(detail, 1000) }),
      ...(address && { clientAddress: address }),
    } as PortalEvent
  }

  return {
    emitter,
    addressOf,
    // An event that cannot be written or heard must not undo what has already happened.
    async record(given) {
      const event = told(given)
      try {
        await withTimeout(patience, write(event))
      } catch (error) {
        logger.error({ kind: event.kind, cause: describeError(error) }, 'an event could not be written')
      }
      try {
        emitter.emit(event.kind, event as never)
      } catch (error) {
        heardBadly(event.kind, error)
      }
    },
  }
}

/** An event as a row sees it: every kind has some of these. */
interface Columns {
  portal: string
  kind: EventKind
  clientAddress?: string | undefined
  userId?: string | undefined
  provider?: string | undefined
  reference?: string | undefined
  actor?: string | undefined
  detail?: object | undefined
}

function cleaned(texts: object, longest: number): object {
  return Object.fromEntries(
    Object.entries(texts).map(([name, value]) => [
      name,
      typeof value === 'string' ? sanitizeText(value, longest) : value,
    ]),
  )
}
