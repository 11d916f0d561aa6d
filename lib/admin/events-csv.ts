import type { StoredEvent } from '../events/event-history.ts'

/**
 * One line of CSV (RFC 4180). Strangers write to the log, and a spreadsheet runs a cell such as `=HYPERLINK(…)`, which can
 * send neighbouring cells away. An apostrophe makes it text, also after `;`, which separates cells in many locales.
 */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(cell).join(',')}\r\n`
}

function cell(text: string): string {
  const escaped = text.replace(/(^|;)(?=[\s"]*[=+\-@＝＋－＠]|[\t\r\n])/g, "$1'")
  return /[",\r\n]/.test(escaped) ? `"${escaped.replaceAll('"', '""')}"` : escaped
}

/** Header of the download and of the command's output, so that one script can read both. */
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
