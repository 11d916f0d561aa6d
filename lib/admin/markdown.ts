/** What our guides are written with, and no more of Markdown than that. It is read into values: a view escapes them. */
export type Block =
  | { type: 'heading'; level: number; text: Inline[] }
  | { type: 'paragraph'; text: Inline[] }
  | { type: 'list'; ordered: boolean; items: Inline[][] }
  | { type: 'table'; head: Inline[][]; rows: Inline[][][] }
  | { type: 'code'; text: string }

export interface Inline {
  style: 'plain' | 'strong' | 'emphasis' | 'code' | 'link'
  text: string
  /** of a link */
  href?: string
}

const fence = /^\s*```/
const item = /^(?:[-*]|\d+\.)\s+/

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = []
  const lines = markdown.split(/\r?\n/)
  while (lines.length > 0) {
    const line = lines.shift() as string
    const [, marks, title] = /^(#{1,4}) (.+)$/.exec(line) ?? []
    const isRule = /^-{3,}$/.test(line)
    if (line.trim() === '' || isRule) continue
    if (marks && title) blocks.push({ type: 'heading', level: marks.length, text: inlinesOf(title) })
    else if (fence.test(line)) blocks.push({ type: 'code', text: takeCode(lines, line.search(/\S/)) })
    else if (line.startsWith('|'))
      blocks.push(tableOf([line, ...takeWhile(lines, (next) => next.startsWith('|'))]))
    else if (item.test(line)) blocks.push(listOf([line, ...takeWhile(lines, (next) => next.trim() !== '')]))
    else {
      const more = takeWhile(
        lines,
        (next) => next.trim() !== '' && !/^(#|\s*```|\|)/.test(next) && !item.test(next),
      )
      blocks.push({ type: 'paragraph', text: inlinesOf([line, ...more].join(' ')) })
    }
  }
  return blocks
}

function takeWhile(lines: string[], belongs: (line: string) => boolean): string[] {
  const end = lines.findIndex((line) => !belongs(line))
  return lines.splice(0, end < 0 ? lines.length : end)
}

/** @param indent of a fence within a list: its lines have the same */
function takeCode(lines: string[], indent: number): string {
  const code = takeWhile(lines, (line) => !fence.test(line))
  lines.shift()
  return code.map((line) => line.slice(indent)).join('\n')
}

function tableOf(lines: string[]): Block {
  const [head = [], , ...rows] = lines.map((line) =>
    line
      .replace(/^\||\|\s*$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => inlinesOf(cell.trim().replaceAll('\\|', '|'))),
  )
  return { type: 'table', head, rows }
}

/** A line that begins no item goes on with the last one. */
function listOf(lines: string[]): Block {
  const items: string[] = []
  for (const line of lines) {
    if (item.test(line)) items.push(line.replace(item, ''))
    else items.push(`${items.pop() ?? ''} ${line.trim()}`)
  }
  return { type: 'list', ordered: /^\d/.test(lines[0] ?? ''), items: items.map(inlinesOf) }
}

const marked = /(`[^`]+`|\*\*.+?\*\*|\*[^*\s][^*]*\*|\[[^\]]+\]\([^)\s]+\))/

function inlinesOf(text: string): Inline[] {
  return text
    .split(marked)
    .filter((part) => part !== '')
    .map((part): Inline => {
      const [, label, href] = /^\[([^\]]+)\]\(([^)]+)\)$/.exec(part) ?? []
      if (label && href) return { style: 'link', text: label.replaceAll('`', ''), href }
      if (/^`.+`$/.test(part)) return { style: 'code', text: part.slice(1, -1) }
      if (/^\*\*.+\*\*$/.test(part)) return { style: 'strong', text: part.slice(2, -2).replaceAll('`', '') }
      if (/^\*[^*].*\*$/.test(part)) return { style: 'emphasis', text: part.slice(1, -1) }
      return { style: 'plain', text: part }
    })
}
