import type { Check } from '../providers/provider.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'

const marks = { ok: '✓', warning: '!', failed: '✗' } as const

export function printCheck({ result, message, hint }: Pick<Check, 'result' | 'message' | 'hint'>): void {
  const advice = result !== 'ok' && hint ? `\n    → ${sanitizeText(hint)}` : ''
  print(`  ${marks[result]} ${sanitizeText(message)}${advice}`)
}

/** One line, whatever is in it. */
export function printHeading(text: string): void {
  print(sanitizeText(text))
}

/** Columns as wide as their widest cell; a cell is one line, whatever was put into it. */
export function printTable(heads: string[], given: string[][]): void {
  const rows = given.map((row) => row.map((cell) => sanitizeText(cell, 300)))
  const widths = heads.map((head, at) => Math.max(head.length, ...rows.map((row) => row[at]?.length ?? 0)))
  for (const row of [heads, ...rows])
    print(
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

/** What a thing is and says, one a line. */
export function printPairs(pairs: (readonly [name: string, value: string])[]): void {
  const width = Math.max(...pairs.map(([name]) => name.length))
  for (const [name, value] of pairs) print(`  ${name.padEnd(width)}  ${sanitizeText(value, 2000)}`)
}

/** For scripts. What a terminal obeys is spelled as JSON spells it: controls beyond ASCII are left alone by `stringify`. */
export function printJson(value: unknown, indent = 2): void {
  console.log(
    JSON.stringify(value, null, indent).replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
      [...Array(character.length).keys()]
        .map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, '0')}`)
        .join(''),
    ),
  )
}

/** An outcome: a sentence for a person, an object for a script. */
export function printResult(
  { json }: { json?: boolean | undefined },
  outcome: object,
  sentence: string,
): void {
  if (json) printJson(outcome)
  else print(sentence)
}

/** That something takes a while. A script that wants JSON reads only errors where this would stand. */
export function progress({ json }: { json?: boolean | undefined }, text: string): void {
  if (!json) process.stderr.write(`${sanitizeForTerminal(text)}\n`)
}

/** Texts from providers may hold sequences that a terminal obeys, or that turn the direction of text. */
export function sanitizeForTerminal(text: string): string {
  return text.replace(/(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\u{fffd}')
}

export function print(text: string): void {
  console.log(sanitizeForTerminal(text))
}
