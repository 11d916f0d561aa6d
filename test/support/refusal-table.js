const marks = { passed: '✓', failed: '✕' }

/**
 * Lists every test below a `describe` whose title begins with `refused: ` or `accepted: `.
 *
 * @returns lines with a final line break; empty if the run had no such test
 */
export function refusalTable({ testResults }) {
  const groups = new Map()
  for (const { ancestorTitles, title, status } of testResults.flatMap((file) => file.testResults)) {
    const [group = ''] = ancestorTitles
    // Skip tests that were filtered out.
    if (!/^(refused|accepted): /.test(group) || !(status in marks)) continue
    groups.set(group, [...(groups.get(group) ?? []), { title, status }])
  }
  const sections = ['refused', 'accepted'].flatMap((kind) => section(kind, groups))
  return sections.length === 0 ? '' : `\nRefused and accepted input\n${sections.join('\n')}\n\n`
}

function section(kind, groups) {
  const own = [...groups].filter(([group]) => group.startsWith(`${kind}: `))
  if (own.length === 0) return []
  return [
    ...own.flatMap(([group, rows]) => [`  ${group}  ${count(rows)}`, ...rows.map(row)]),
    total(kind, own),
  ]
}

function row({ title, status }) {
  return `    ${marks[status]} ${title}`
}

function total(kind, groups) {
  return `  total ${kind}  ${count(groups.flatMap(([, rows]) => rows))}`
}

function count(rows) {
  return `${rows.filter(({ status }) => status === 'passed').length}/${rows.length}`
}
