import type { Check } from '../providers/provider.ts'

const marks = { ok: '✓', warning: '!', failed: '✗' } as const

export function printCheck({ result, finding, remedy }: Pick<Check, 'result' | 'finding' | 'remedy'>): void {
  print(`  ${marks[result]} ${finding}${result !== 'ok' && remedy ? `\n    → ${remedy}` : ''}`)
}

export function printHeading(text: string): void {
  print(text)
}

/** Columns as wide as their widest cell. */
export function printTable(heads: string[], rows: string[][]): void {
  const widths = heads.map((head, at) => Math.max(head.length, ...rows.map((row) => row[at]?.length ?? 0)))
  for (const row of [heads, ...rows])
    print(
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

/** Texts from providers may hold sequences that a terminal obeys. */
export function harmless(text: string): string {
  return text.replace(/(?!\n)\p{Cc}/gu, '\u{fffd}')
}

function print(text: string): void {
  console.log(harmless(text))
}
