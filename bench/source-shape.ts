import fs from 'node:fs'
import path from 'node:path'
import { parseSync } from '@swc/core'

/** A node of swc's syntax tree. */
export type Node = Record<string, unknown>

interface SourceFile {
  /** relative to `lib/` */
  file: string
  text: string
  ast: Node
}

export function readSources(folder: string): SourceFile[] {
  const files = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()
  return files
    .filter((file) => file.endsWith('.ts'))
    .map((file) => parseSource(file, fs.readFileSync(path.join(folder, file), 'utf8')))
}

export function parseSource(file: string, text: string): SourceFile {
  const ast: unknown = parseSync(text, { syntax: 'typescript', target: 'es2022' })
  return { file, text, ast: ast as Node }
}

/** Numbers, and lists whose lengths are the other numbers. */
export function measureSources(sources: SourceFile[]) {
  const functions = sources.flatMap(functionsIn)
  const withoutMigrations = sources.filter(({ file }) => !file.includes('migration'))
  const details = {
    settingFiles: withoutMigrations
      .filter(({ text }) => /emailDomains|email_domains|email-domain/.test(text))
      .map(({ file }) => file),
    duplicateExports: duplicateExports(withoutMigrations),
    longFunctions: functions
      .filter(({ lines, excused }) => lines > 50 && !excused)
      .map(({ at, lines }) => `${at}, ${lines} lines`),
    wideFunctions: functions
      .filter(({ parameters }) => parameters >= 5)
      .map(({ at, parameters }) => `${at}, ${parameters} parameters`),
    errorsWithoutCode: errorsWithoutCode(sources),
  }
  const numbers = {
    files: sources.length,
    lines: sources.reduce((sum, { text }) => sum + text.split('\n').length - 1, 0),
    wiringImports: wiringImports(sources),
  }
  return { numbers, details }
}

function wiringImports(sources: SourceFile[]): number {
  const find = (name: string) => sources.find(({ file }) => file === name)
  const wiring = find('create-portal-sso.ts') ?? find('portal-parts.ts')
  if (!wiring) throw new Error('lib/ has no file that wires the modules together')
  return (wiring.ast.body as Node[]).filter(({ type }) => type === 'ImportDeclaration').length
}

function functionsIn({ file, text, ast }: SourceFile) {
  const lines = text.split('\n')
  const lineAt = createLineAt(text)
  // Types of functions and signatures of overloads have no body.
  const functions = nodesIn(ast).filter(({ params, body }) => Array.isArray(params) && isNode(body))
  return functions.map(({ params, span }) => {
    const { start, end } = span as { start: number; end: number }
    const first = lineAt(start)
    return {
      at: `${file}:${first}`,
      lines: lineAt(end) - first + 1,
      parameters: (params as unknown[]).length,
      excused: /^\s*\/\/ Long: \S/.test(lines[first - 2] ?? ''),
    }
  })
}

/** swc counts bytes, from 1. */
function createLineAt(text: string): (position: number) => number {
  const bytes = Buffer.from(text)
  return (position) => bytes.toString('utf8', 0, position - 1).split('\n').length
}

function duplicateExports(sources: SourceFile[]): string[] {
  const filesOf = new Map<string, string[]>()
  for (const { file, ast } of sources)
    for (const name of new Set((ast.body as Node[]).flatMap(exportedNames)))
      filesOf.set(name, [...(filesOf.get(name) ?? []), file])
  const duplicates = [...filesOf].filter(([, files]) => files.length > 1)
  return duplicates.map(([name, files]) => `${name}: ${files.join(', ')}`)
}

/** Names that a statement declares and exports. Re-exports do not count. */
function exportedNames({ type, declaration, specifiers, source }: Node): string[] {
  if (type === 'ExportDeclaration') {
    const { declarations, identifier, id } = declaration as Node
    return declarations ? (declarations as Node[]).map((each) => nameOf(each.id)) : [nameOf(identifier ?? id)]
  }
  if (type !== 'ExportNamedDeclaration' || source) return []
  return (specifiers as Node[]).map(({ exported, orig }) => nameOf(exported ?? orig))
}

/** Each `new` of an own error class without a `code`, and each `throw new` of a built-in one, as `file:line Class`. */
function errorsWithoutCode(sources: SourceFile[]): string[] {
  const classes = sources.flatMap(({ ast }) => nodesIn(ast).filter(({ type }) => type === 'ClassDeclaration'))
  const byName = new Map(classes.map((node) => [nameOf(node.identifier), node]))
  const lacksCode = (name: string): boolean => {
    const own = byName.get(name)
    if (!own) return /^(Type|Range|Syntax|Aggregate)?Error$/.test(name)
    return (
      !(own.body as Node[]).some(({ key }) => nameOf(key) === 'code') && lacksCode(nameOf(own.superClass))
    )
  }
  return sources.flatMap(({ file, text, ast }) => {
    const lineAt = createLineAt(text)
    const nodes = nodesIn(ast)
    const thrown = new Set(nodes.map(({ type, argument }) => type === 'ThrowStatement' && argument))
    return nodes
      .filter(({ type }) => type === 'NewExpression')
      .map((node) => ({
        node,
        name: nameOf(node.callee),
        at: lineAt((node.span as { start: number }).start),
      }))
      .filter(({ node, name }) => lacksCode(name) && (byName.has(name) || thrown.has(node)))
      .map(({ name, at }) => `${file}:${at} ${name}`)
  })
}

export function nameOf(identifier: unknown): string {
  return isNode(identifier) ? String(identifier.value) : ''
}

export function nodesIn(value: unknown): Node[] {
  if (Array.isArray(value)) return value.flatMap(nodesIn)
  return isNode(value) ? [value, ...Object.values(value).flatMap(nodesIn)] : []
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
