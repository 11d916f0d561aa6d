/**
 * A line of a table (RFC 4180). Spreadsheets run what begins like a formula, and names, addresses and errors come from strangers:
 * `=HYPERLINK(…)` would send away what stands beside it. An apostrophe in front makes it text.
 */
export function csvLine(cells: readonly string[]): string {
  return `${cells.map(cell).join(',')}\r\n`
}

function cell(text: string): string {
  const harmless = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}
