import type { Addresses } from '../web/addresses.ts'

// `alert`: what was wanted was not done.
const notices = {
  confirm: 'alert',
  confirmed: 'status',
  linked: 'status',
  already: 'status',
  unlinked: 'status',
  last: 'alert',
  unavailable: 'alert',
  ended: 'status',
  others: 'status',
} as const

/** What the page is shown after. A word of this list, never a text: whoever sends somebody an address says nothing by it. */
export type Done = keyof typeof notices

export function accountPage(addresses: Addresses, done?: Done): string {
  return addresses.path('/account/security', { done })
}

export function readDone(value: unknown): { word: Done; role: 'alert' | 'status' } | undefined {
  if (typeof value !== 'string' || !Object.hasOwn(notices, value)) return undefined
  const word = value as Done
  return { word, role: notices[word] }
}
