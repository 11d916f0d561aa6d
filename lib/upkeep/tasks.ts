import { forgetOld } from '../database/forget-old.ts'
import { createForgetRemoved } from './forget-removed.ts'
import { createRetireDue, type RetireDueParts } from './retire-due.ts'
import type { Task } from './upkeep.ts'
import { createWarnOfExpiry, type WarnOfExpiryParts } from './warn-of-expiry.ts'

export interface TasksParts extends RetireDueParts, WarnOfExpiryParts {}

const day = 24 * 3_600_000

/** All that has its time, in the order in which it is looked after. */
export function createTasks(parts: TasksParts): Readonly<Record<string, Task>> {
  const oldTickets = { table: 'sso_tickets', column: 'expires_at', keep: day } as const
  return {
    'retire providers': createRetireDue(parts),
    'warn of expiry': createWarnOfExpiry(parts),
    'forget removed providers': createForgetRemoved(parts),
    'forget tickets': () => forgetOld(parts.knex, oldTickets),
  }
}
