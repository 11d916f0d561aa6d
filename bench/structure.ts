/** Prints measures of the structure of `lib/` as a Markdown table; `--json` prints JSON, with the list of everything counted. */
import path from 'node:path'
import { measureRequests } from './request-cost.ts'
import { measureSources, readSources } from './source-shape.ts'

const sources = measureSources(readSources(path.resolve(import.meta.dirname, '..', 'lib')))
const { start, callback } = await measureRequests()
const details = {
  ...sources.details,
  callbackFiles: callback.files,
  callbackFunctions: callback.functions,
  callbackStatements: callback.statements,
  startFiles: start.files,
  startFunctions: start.functions,
  startStatements: start.statements,
}
const counts = Object.entries(details).map(([name, found]) => [name, found.length])
const numbers = {
  ...sources.numbers,
  ...(Object.fromEntries(counts) as Record<keyof typeof details, number>),
}
export type StructureNumbers = typeof numbers

const rows: [label: string, ...measures: (keyof StructureNumbers)[]][] = [
  ['files in `lib/`, lines', 'files', 'lines'],
  ['callback¹: files, functions, SQL statements', 'callbackFiles', 'callbackFunctions', 'callbackStatements'],
  ['start²: files, functions, SQL statements', 'startFiles', 'startFunctions', 'startStatements'],
  ['files that name a provider setting (`emailDomains`), without migrations', 'settingFiles'],
  ['imports of the file that wires the modules together', 'wiringImports'],
  ['exported names that exist twice, without migrations', 'duplicateExports'],
  ['functions over 50 lines³, functions with 5 or more parameters', 'longFunctions', 'wideFunctions'],
  ['errors without a machine-readable code⁴', 'errorsWithoutCode'],
]

if (process.argv.includes('--json')) {
  console.log(JSON.stringify({ numbers, details }, null, 2))
} else {
  console.log('| measure | now |\n|---|---|')
  for (const [label, ...measures] of rows)
    console.log(
      `| ${label} | ${measures.map((measure) => numbers[measure].toLocaleString('en')).join(', ')} |`,
    )
  console.log(`
¹ \`GET /login/:provider/callback\` for the second sign-in of a user of the built-in table, with rate limits on and sessions in
  this process: files and functions of \`lib/\` that run until the work that the request causes has ended
² \`GET /login/:provider\` before it
³ without those that have a \`// Long: …\` reason on the line above
⁴ each \`new\` of an own error class without a \`code\`, and each \`throw new\` of a built-in error class:
  ${countByClass(sources.details.errorsWithoutCode)}

\`--json\` lists everything that was counted.`)
}

function countByClass(errors: string[]): string {
  const counts = new Map<string, number>()
  for (const error of errors) {
    const [, name = ''] = error.split(' ')
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ')
}
