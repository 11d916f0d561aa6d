import type { Check } from '../providers/test-provider.ts'

const marks = { ok: '✓', warning: '!', failed: '✗' } as const

export function printCheck({ result, finding, remedy }: Pick<Check, 'result' | 'finding' | 'remedy'>): void {
  console.log(`  ${marks[result]} ${finding}${result !== 'ok' && remedy ? `\n    → ${remedy}` : ''}`)
}

/** Columns as wide as their widest cell. */
export function printTable(heads: string[], rows: string[][]): void {
  const widths = heads.map((head, at) => Math.max(head.length, ...rows.map((row) => row[at]?.length ?? 0)))
  for (const row of [heads, ...rows])
    console.log(
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}
