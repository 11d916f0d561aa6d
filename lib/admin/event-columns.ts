import type { StoredEvent } from '../events/history.ts'

/** Heads of the table, on the page and at the terminal: a script reads either. */
export const eventColumns = [
  'at',
  'kind',
  'provider',
  'userId',
  'by',
  'reference',
  'clientAddress',
  'detail',
] as const

export function eventCells(event: StoredEvent): string[] {
  return eventColumns.map((name) => (name === 'detail' ? JSON.stringify(event.detail) : (event[name] ?? '')))
}
