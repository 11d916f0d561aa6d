import { once } from 'node:events'
import stringWidth from 'string-width'
import type { Check } from '../providers/provider.ts'
import { ConfigurationError, describeError, ManagementError } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'

export interface Result {
  json: unknown
  /** default: the JSON */
  text?: string
  /** makes the exit code 1; default false */
  failed?: boolean
}

/** The flag that selects the output for scripts. */
type OutputFlags = { json?: boolean | undefined }

const checkMarks = { ok: '✓', warning: '!', failed: '✗', absent: '–' } as const

/** Characters that a terminal interprets, or that change the direction of text; line breaks are allowed. */
const terminalControls = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** The result of a check, also of one without a name. */
export type Finding = Pick<Check, 'result' | 'message'> & { hint?: string | undefined }

export function checkText({ result, message, hint }: Finding): string {
  const hintLine = result !== 'ok' && hint ? `\n    → ${sanitizeText(hint)}` : ''
  return `  ${checkMarks[result]} ${sanitizeText(message)}${hintLine}`
}

/** The properties to show, by heading, or how to read a cell from a row. */
type Columns<Row> = Record<string, keyof Row | ((row: Row) => string)>

/** A table in which each cell stays in one line. @param empty replaces a table without rows */
export function table<Row>(
  rows: readonly Row[],
  columns: Columns<Row>,
  empty: string,
): Result & { text: string } {
  const text = rows.length === 0 ? empty : align([Object.keys(columns), ...cellsOf(rows, columns)])
  return { json: rows, text }
}

/** Prints a table, or an array of JSON, while it is read: a list can be longer than the memory. */
export async function printPages<Row>(
  { json }: OutputFlags,
  pages: AsyncIterable<readonly Row[]>,
  columns: Columns<Row>,
  empty: string,
): Promise<undefined> {
  const widths: number[] = []
  let isFirst = true
  if (json) await write('[')
  for await (const rows of pages) {
    if (rows.length === 0) continue
    const cells = cellsOf(rows, columns)
    const lines = align(isFirst ? [Object.keys(columns), ...cells] : cells, widths)
    const items = rows.map((row) => `\n${toJson(row, 0)}`).join()
    await write(json ? `${isFirst ? '' : ','}${items}` : `${sanitizeForTerminal(lines)}\n`)
    isFirst = false
  }
  if (json) await write('\n]\n')
  else if (isFirst) print(empty)
}

function cellsOf<Row>(rows: readonly Row[], columns: Columns<Row>): string[][] {
  const read = Object.values(columns)
  return rows.map((row) =>
    read.map((column) => cellText(typeof column === 'function' ? column(row) : row[column])),
  )
}

/** Waits for a slow reader. */
export async function write(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain')
}

function cellText(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return sanitizeText(String(value ?? ''), 300)
}

/** One name and value per line, aligned; without those that have no value. */
export function pairs(all: [name: string, value: string | undefined][]): string {
  const given = all.filter(([, value]) => value !== undefined)
  return align(given.map(([name, value = '']) => [`  ${name}`, sanitizeText(value, 2000)]))
}

/** @param widths of the columns in earlier lines, and then also in these */
function align(lines: string[][], widths: number[] = []): string {
  for (const line of lines)
    for (const [at, cell] of line.entries()) widths[at] = Math.max(widths[at] ?? 0, stringWidth(cell))
  // Not `padEnd`: an ideograph takes two columns of a terminal.
  const pad = (cell: string, width = 0) => cell + ' '.repeat(width - stringWidth(cell))
  const padded = lines.map((line) => line.map((cell, at) => pad(cell, widths[at])).join('  '))
  return padded.map((line) => line.trimEnd()).join('\n')
}

export function printResult({ json }: OutputFlags, result: Result): void {
  if (result.failed) process.exitCode = 1
  if (json || result.text === undefined) printJson(result.json)
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
  // Only pages translate texts, from their parts.
  const withoutPhrases = (name: string, each: unknown) => (/^phrases?$/.test(name) ? undefined : each)
  return JSON.stringify(value, withoutPhrases, indent).replace(terminalControls, (character) =>
    character.replace(/./gs, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  )
}
