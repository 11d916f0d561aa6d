import type { EventLog } from '../events/events.ts'
import type { Logger } from '../logger.ts'
import type { How } from '../providers/how.ts'
import type { Tickets } from '../rehearsal/tickets.ts'
import type { Addresses } from '../web/addresses.ts'

/** The way in when every provider fails: opens the classic login to one browser, once, for a while, and loudly. */
export interface BreakGlass {
  /** An address that is good once and for 15 minutes. Whoever has it needs a password of the classic login all the same. */
  link(how?: How): Promise<{ url: string; expiresAt: Date }>
}

export interface BreakGlassParts {
  addresses: Addresses
  events: EventLog
  logger: Logger
  tickets: Tickets
}

export function createBreakGlass({ addresses, events, logger, tickets }: BreakGlassParts): BreakGlass {
  return {
    async link({ portal = 'default', by = 'code' } = {}) {
      const origin = addresses.origin(portal)
      const { ticket, expiresAt } = await tickets.make(portal, 'break-glass', { by })
      logger.warn({ portal, by }, 'a link was made that opens the classic login')
      await events.record({ kind: 'break-glass', portal, by, detail: { step: 'made' } })
      return { url: origin + addresses.path('/login/break-glass', { ticket }), expiresAt }
    },
  }
}
