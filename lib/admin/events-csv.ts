import type { StoredEvent } from '../events/event-history.ts'

/**
 * A line of a table (RFC 4180). Spreadsheets run what begins like a formula, and names, addresses and errors come from strangers:
 * `=HYPERLINK(…)` would send away what stands beside it. An apostrophe in front makes it text. Where the comma is a decimal one,
 * spreadsheets begin a cell at each semicolon, in whatever text.
 */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(cell).join(',')}\r\n`
}

function cell(text: string): string {
  const harmless = text.replace(/(^|;)(?=[\s"]*[=+\-@＝＋－＠]|[\t\r\n])/g, "$1'")
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}

/** Heads of the table, on the page and at the terminal: a script reads either. */
export const eventColumns = [
  'at',
  'kind',
  'provider',
  'userId',
  'actor',
  'reference',
  'clientAddress',
  'detail',
] as const

export function eventCells(event: StoredEvent): string[] {
  return eventColumns.map((name) => (name === 'detail' ? JSON.stringify(event.detail) : (event[name] ?? '')))
}
