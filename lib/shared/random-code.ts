import { randomInt } from 'node:crypto'

/** Digits and capital letters without look-alikes, so that people can read a code aloud or copy it by hand. */
export const unambiguousCharacters = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'

/** @returns random `unambiguousCharacters`, five bits each */
export function randomCode(length: number): string {
  return Array.from({ length }, () => unambiguousCharacters[randomInt(unambiguousCharacters.length)]).join('')
}

/** Eight characters without look-alikes. The user sees them; the operator finds them in the log and in `sso_events`. */
export function newReference(): string {
  return randomCode(8)
}
