import {
  createDeleteExpiredRows,
  createPurgeRemovedProviders,
  type ForgetOverParts,
} from './delete-expired-rows.ts'
import { createRetireDue, type RetireDueParts } from './retire-due-providers.ts'
import type { Task } from './scheduler.ts'
import { createWarnOfExpiry, type WarnOfExpiryParts } from './warn-expiring-secrets.ts'

export interface TasksParts extends RetireDueParts, WarnOfExpiryParts, ForgetOverParts {}

/** All that has its time, in the order in which it is looked after. */
export function createTasks(parts: TasksParts): Readonly<Record<string, Task>> {
  return {
    'retire providers': createRetireDue(parts),
    'warn of expiry': createWarnOfExpiry(parts),
    'forget removed providers': createPurgeRemovedProviders(parts),
    ...createDeleteExpiredRows(parts),
  }
}
