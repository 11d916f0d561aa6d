import { randomInt } from 'node:crypto'

/** Digits and capitals without look-alikes: what a person reads aloud or copies by hand comes through. */
export const plainCharacters = '23456789ABCDEFGHJKLMNPQRSTUVWXYZ'

/** Random characters out of `plainCharacters`, five bits each. */
export function randomText(length: number): string {
  return Array.from({ length }, () => plainCharacters[randomInt(plainCharacters.length)]).join('')
}
