import type { Check } from '../providers/provider.ts'
import { ConfigurationError, describeError, ManagementError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'

/** The result of a command: text for a person or, with `--json`, a value for a script. */
export interface Result {
  json: unknown
  text: string
  /** makes the exit code 1; default false */
  failed?: boolean
}

/** The flag that selects the output for scripts. */
interface OutputFlags {
  json?: boolean | undefined
}

const checkMarks = { ok: '✓', warning: '!', failed: '✗' } as const

/** Characters that a terminal interprets, or that change the direction of text; line breaks are allowed. */
const terminalControls = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

type CheckResult = Pick<Check, 'result' | 'message'> & { hint?: string | undefined }

/** One line, and a second one with the advice for a problem. */
export function checkText({ result, message, hint }: CheckResult): string {
  const hintLine = result !== 'ok' && hint ? `\n    → ${sanitizeText(hint)}` : ''
  return `  ${checkMarks[result]} ${sanitizeText(message)}${hintLine}`
}

/** Aligned columns. Each cell stays in one line. */
export function table(headings: string[], cells: (string | undefined)[][]): string {
  const rows = [headings, ...cells.map((row) => row.map((cell = '') => sanitizeText(cell, 300)))]
  const widths = headings.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '))
    .map((line) => line.trimEnd())
    .join('\n')
}

/** One name and value per line, aligned. */
export function pairs(all: (readonly [name: string, value: string])[]): string {
  const width = Math.max(...all.map(([name]) => name.length))
  return all.map(([name, value]) => `  ${name.padEnd(width)}  ${sanitizeText(value, 2000)}`).join('\n')
}

export function printResult({ json }: OutputFlags, result: Result): void {
  if (result.failed) process.exitCode = 1
  if (json) printJson(result.json)
  else print(result.text)
}

export function printJson(value: unknown, indent = 2): void {
  console.log(toJson(value, indent))
}

export function print(text: string): void {
  console.log(sanitizeForTerminal(text))
}

/** Shows that a command is busy. With `--json`, standard error holds only errors. */
export function printProgress({ json }: OutputFlags, text: string): void {
  if (!json) process.stderr.write(`${sanitizeForTerminal(text)}\n`)
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
    character.replace(/./gs, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
}
