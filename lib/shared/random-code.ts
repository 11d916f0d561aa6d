import { randomInt, randomUUID } from 'node:crypto'

/** Digits and capital letters without look-alikes, so that people can read a code aloud or copy it by hand. */
export const unambiguousCharacters = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'

/** @returns random `unambiguousCharacters`, five bits each */
export function randomCode(length: number): string {
  return Array.from({ length }, () => unambiguousCharacters[randomInt(unambiguousCharacters.length)]).join('')
}

/** @returns a UUID of version 7 (RFC 9562, 5.7). It begins with the time, so that new rows are neighbours in the index. */
export function timeOrderedUuid(): string {
  const time = Date.now().toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}

/** Eight characters without look-alikes. The user sees them; the operator finds them in the log and in `sso_events`. */
export function newReference(): string {
  return randomCode(8)
}
