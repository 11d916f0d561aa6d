import { randomInt } from 'node:crypto'

/** Digits and capitals without look-alikes: what a person reads aloud or copies by hand comes through. */
export const unambiguousCharacters = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'

/** Random characters out of `unambiguousCharacters`, five bits each. */
export function randomCode(length: number): string {
  return Array.from({ length }, () => unambiguousCharacters[randomInt(unambiguousCharacters.length)]).join('')
}
