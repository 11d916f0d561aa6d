import type { StoredEvent } from './history.ts'

const columns = [
  'at',
  'kind',
  'portal',
  'userId',
  'provider',
  'reference',
  'by',
  'clientAddress',
  'detail',
] as const

/** The first line: names of the columns. */
export const csvHead = line(columns)

/** One event as a line, its end included (RFC 4180). */
export function csvLine(event: StoredEvent): string {
  return line(
    columns.map((name) => (name === 'detail' ? JSON.stringify(event.detail) : String(event[name] ?? ''))),
  )
}

function line(cells: readonly string[]): string {
  return `${cells.map(cell).join(',')}\r\n`
}

/** What a provider or a person sent stands in here: a spreadsheet takes a cell that begins so for a formula, and runs it. */
function cell(text: string): string {
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}
