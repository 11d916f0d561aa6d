import { createForgetOver, type ForgetOverParts } from './forget-over.ts'
import { createForgetRemoved } from './forget-removed.ts'
import { createRetireDue, type RetireDueParts } from './retire-due.ts'
import type { Task } from './upkeep.ts'
import { createWarnOfExpiry, type WarnOfExpiryParts } from './warn-of-expiry.ts'

export interface TasksParts extends RetireDueParts, WarnOfExpiryParts, ForgetOverParts {}

/** All that has its time, in the order in which it is looked after. */
export function createTasks(parts: TasksParts): Readonly<Record<string, Task>> {
  return {
    'retire providers': createRetireDue(parts),
    'warn of expiry': createWarnOfExpiry(parts),
    'forget removed providers': createForgetRemoved(parts),
    ...createForgetOver(parts),
  }
}
