import type { Check } from '../providers/provider.ts'
import { ConfigurationError, describeError, ManagementError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'

const checkMarks = { ok: '✓', warning: '!', failed: '✗' } as const

/** Characters that a terminal interprets, or that change the direction of text; line breaks are allowed. */
const terminalControls = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

export function printCheck({ result, message, hint }: Pick<Check, 'result' | 'message' | 'hint'>): void {
  const hintLine = result !== 'ok' && hint ? `\n    → ${sanitizeText(hint)}` : ''
  print(`  ${checkMarks[result]} ${sanitizeText(message)}${hintLine}`)
}

/** Prints the text in one line. */
export function printHeading(text: string): void {
  print(sanitizeText(text))
}

/** Prints aligned columns. Each cell stays in one line. */
export function printTable(headings: string[], cells: string[][]): void {
  const rows = cells.map((row) => row.map((cell) => sanitizeText(cell, 300)))
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  )
  for (const row of [headings, ...rows])
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

/** Prints one name and value per line, aligned. */
export function printPairs(pairs: (readonly [name: string, value: string])[]): void {
  const width = Math.max(...pairs.map(([name]) => name.length))
  for (const [name, value] of pairs) print(`  ${name.padEnd(width)}  ${sanitizeText(value, 2000)}`)
}

export function printJson(value: unknown, indent = 2): void {
  console.log(toJson(value, indent))
}

/** A sentence for a person, or an object for a script. */
export function printResult(
  { json }: { json?: boolean | undefined },
  result: object,
  sentence: string,
): void {
  if (json) printJson(result)
  else print(sentence)
}

/** Shows that a command is busy. With `--json`, standard error holds only errors. */
export function printProgress({ json }: { json?: boolean | undefined }, text: string): void {
  if (!json) process.stderr.write(`${sanitizeForTerminal(text)}\n`)
}

export function print(text: string): void {
  console.log(sanitizeForTerminal(text))
}

/** @returns a sentence for a person, or `{ error, code, issues }` in one line of JSON for a script */
export function formatError(error: unknown, { json }: { json: boolean }): string {
  const expected = error instanceof ManagementError || error instanceof ConfigurationError
  const message = expected
    ? error.message
    : `Failed: ${describeError(error)}. Run \`portal-sso doctor\` to check the setup.`
  if (!json) return sanitizeForTerminal(message)
  const text = message.trim()
  const code = expected ? error.code : 'internal'
  const issues = error instanceof ManagementError ? error.issues : [{ message: text }]
  return toJson({ error: text, code, issues }, 0)
}

/** Texts from providers may contain control sequences that a terminal executes. */
export function sanitizeForTerminal(text: string): string {
  return text.replace(terminalControls, '\u{fffd}')
}

/** `JSON.stringify` leaves most control characters as they are, so escape them for the terminal. */
function toJson(value: unknown, indent: number): string {
  return JSON.stringify(value, null, indent).replace(terminalControls, (character) =>
    [...Array(character.length).keys()]
      .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
      .join(''),
  )
}
