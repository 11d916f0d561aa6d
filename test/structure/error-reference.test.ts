import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { type Node, nameOf, nodesIn, readSources } from '../../bench/source-shape.ts'
import { eventKinds } from '../../lib/admin/event-filter.ts'
import { problemStatus } from '../../lib/shared/errors.ts'

const root = path.resolve(import.meta.dirname, '../..')
const page = fs.readFileSync(path.join(root, 'docs/errors.md'), 'utf8')
const sources = readSources(path.join(root, 'lib')).map(({ file, ast }) => ({ file, nodes: nodesIn(ast) }))
const allNodes = sources.flatMap(({ nodes }) => nodes)
const nodesOf = (name: string) => sources.find(({ file }) => file === name)?.nodes ?? []
const english = JSON.parse(fs.readFileSync(path.join(root, 'views/locales/en.json'), 'utf8')) as {
  problems: Record<string, { title: string }>
}

/** The cells of the rows of one section, in their order. */
function rowsOf(heading: string): string[][] {
  const [, section] = page.split(new RegExp(`^## ${heading}$`, 'm'))
  const lines = section?.split(/^## /m)[0]?.split('\n') ?? []
  const rows = lines.filter((line) => line.startsWith('| ')).slice(1)
  return rows.map((line) => line.slice(2, -2).split(' | '))
}

const literalsIn = (value: unknown): string[] =>
  nodesIn(value)
    .filter(({ type }) => type === 'StringLiteral')
    .map((node) => String(node.value))

const codesOf = (heading: string) => rowsOf(heading).map(([code = '']) => code.replace(/`/g, ''))

/** Values that differ on each page. */
const withoutValues = (text: string) => text.replace(/\{\{\w+\}\}/g, '…')

describe('the pages in docs/errors.md', () => {
  const rows = [...rowsOf('Pages of a sign-in'), ...rowsOf('Other pages')]

  it('are all problems, with their status and the title that the user reads', () => {
    const titles = Object.entries(problemStatus).map(([code, status]) => [
      `\`${code}\``,
      String(status),
      withoutValues(english.problems[code]!.title),
    ])
    const found = rows.map(([code, status, title]) => [code, status, title?.replace(/, or: .*/, '')])
    expect(found.sort()).toEqual(titles.sort())
  })
})

it('docs/errors.md quotes each message of a form', () => {
  const messages: string[] = []
  const collect = (value: unknown, key: string) => {
    if (typeof value === 'string') {
      if (key.includes('.errors.')) messages.push(withoutValues(value))
    } else for (const [name, each] of Object.entries(value as object)) collect(each, `${key}.${name}`)
  }
  collect(english, '')
  expect(messages.length).toBeGreaterThan(10)
  expect(rowsOf('Messages in forms').map(([message]) => message)).toEqual(messages.sort())
})

describe('the events in docs/errors.md', () => {
  const rows = rowsOf('Events').filter(([kind]) => kind?.startsWith('`'))

  it('are all kinds', () => {
    expect(rows.map(([kind]) => kind)).toEqual(eventKinds.map(({ value }) => `\`${value}\``).sort())
  })

  it('explain each value of their details', () => {
    const types = nodesOf('events/event-types.ts')
    const interfaces = types.filter(({ type }) => type === 'TsInterfaceDeclaration')
    const missing = interfaces.flatMap((node) => {
      const detail = nodesIn(node.body).find(({ key }) => nameOf(key) === 'detail')
      const kinds = literalsIn([node.extends, node.typeParams]).filter((each) =>
        codesOf('Events').includes(each),
      )
      const text = rows.filter(([kind]) => kinds.includes(kind!.replace(/`/g, ''))).join(' ')
      const named = nodesIn(detail).map(({ typeName }) => nameOf(typeName))
      const aliases = types.filter(
        ({ type, id }) => type === 'TsTypeAliasDeclaration' && named.includes(nameOf(id)),
      )
      return literalsIn([detail, aliases]).filter((value) => !text.includes(`\`${value}\``))
    })
    expect(missing).toEqual([])
  })
})

describe('the codes in docs/errors.md', () => {
  it('are the checks of the connection test that can fail or warn', () => {
    const checks = callsIn(/^management\/checks\//, ({ callee }) => {
      const names = nodesIn(callee).map(nameOf)
      return names.includes('failed') || names.includes('warning')
    })
    expect(codesOf('The connection test')).toEqual(codesIn(checks))
  })

  it('are those of each CheckError', () => {
    const classes = allNodes.filter(({ superClass }) => superClass)
    const heirsOf = (name: string): string[] => [
      name,
      ...classes
        .filter(({ superClass }) => nameOf(superClass) === name)
        .flatMap(({ identifier }) => heirsOf(nameOf(identifier))),
    ]
    const errors = heirsOf('CheckError')
    const bodies = classes.filter(({ superClass }) => errors.includes(nameOf(superClass)))
    // A subclass may have a code of its own: `super('unreachable', message)`.
    const superCalls = bodies.flatMap(({ identifier, body }) =>
      nodesIn(body)
        .filter(({ callee }) => (callee as Node | undefined)?.type === 'Super')
        .map((call) => ({ name: nameOf(identifier), call })),
    )
    const withOwnCode = superCalls.flatMap(({ name }) => heirsOf(name))
    const made = callsIn(/./, ({ type, callee }) => {
      const name = nameOf(callee)
      return type === 'NewExpression' && errors.includes(name) && !withOwnCode.includes(name)
    })
    const own = superCalls.map(({ name, call }) => ({ file: name, call }))
    expect(codesOf('Causes')).toEqual(codesIn([...made, ...own]))
  })

  it('are those of the errors that the package exports, and of any other in a script', () => {
    const errors = nodesOf('shared/errors.ts')
    const [codes] = errors.filter(({ id }) => nameOf(id) === 'ManagementErrorCode')
    const fixed = errors.filter(({ type, key }) => type === 'ClassProperty' && nameOf(key) === 'code')
    const [other] = nodesOf('cli/output.ts').filter(({ id }) => nameOf(id) === 'code')
    const expected = [codes, fixed.map(({ value }) => value), other].flatMap(literalsIn)
    expect(codesOf('The command line and the API')).toEqual([...new Set(expected)].sort())
  })

  it('are those of the routes for providers', () => {
    const routes = sources.filter(({ file }) => file.startsWith('logout/'))
    const errors = routes
      .flatMap(({ nodes }) => nodes)
      .filter(({ type, key }) => type === 'KeyValueProperty' && nameOf(key) === 'error')
    const expected = errors.flatMap(({ value }) => literalsIn(value))
    expect(codesOf('Routes for providers')).toEqual(expected.sort())
  })
})

interface Call {
  file: string
  call: Node
}

function callsIn(files: RegExp, isWanted: (node: Node) => boolean): Call[] {
  return sources
    .filter(({ file }) => files.test(file))
    .flatMap(({ file }) =>
      nodesOf(file)
        .filter((node) => /^(?:Call|New)Expression$/.test(String(node.type)) && isWanted(node))
        .map((call) => ({ file, call })),
    )
}

/** All values that the first argument of the calls can have, sorted. */
function codesIn(calls: Call[]): string[] {
  expect(calls.length).toBeGreaterThan(10)
  return [...new Set(calls.flatMap(({ file, call }) => valuesOf(file, argumentOf(call, 0))))].sort()
}

const argumentOf = (call: Node, at: number) => (call.arguments as { expression: Node }[])[at]!.expression

/** @returns the texts that an expression can be, from the constants, loops and calls of its file */
function valuesOf(file: string, expression: Node): string[] {
  const isCondition = expression.type === 'ConditionalExpression'
  const values =
    expression.type === 'Identifier'
      ? valuesOfName(file, expression)
      : literalsIn(isCondition ? [expression.consequent, expression.alternate] : expression)
  if (values.length === 0)
    throw new Error(`${file}: the values of ${nameOf(expression) || expression.type} are unknown`)
  return values
}

function valuesOfName(file: string, identifier: Node): string[] {
  const name = nameOf(identifier)
  const nodes = nodesOf(file)
  const blocks = nodes.filter(({ type }) => type === 'BlockStatement' || type === 'Module')
  const declarations = nodes.flatMap((node): { scope: Node; values(): string[] }[] => {
    const { type, id, init, left, right, params, identifier: of } = node
    if (type === 'VariableDeclarator' && nameOf(id) === name && init)
      return [{ scope: smallest(blocks, node), values: () => valuesOf(file, init as Node) }]
    if (type === 'ForOfStatement' && nodesIn(left).some((each) => nameOf(each) === name))
      return [{ scope: node, values: () => valuesOf(file, right as Node) }]
    const at = Array.isArray(params) ? params.findIndex(({ pat }) => nameOf(pat) === name) : -1
    const calls = nodes.filter(({ callee }) => at >= 0 && nameOf(callee) === nameOf(of))
    const values = () => calls.flatMap((call) => valuesOf(file, argumentOf(call, at)))
    return at < 0 ? [] : [{ scope: node, values }]
  })
  const scope = smallest(
    declarations.map((each) => each.scope),
    identifier,
  )
  return declarations.filter((each) => each.scope === scope).flatMap(({ values }) => values())
}

/** The innermost of the nodes around another one. */
function smallest(nodes: readonly Node[], inner: Node): Node {
  const { start } = spanOf(inner)
  const around = nodes.filter((node) => spanOf(node).start <= start && start < spanOf(node).end)
  const size = (node: Node) => spanOf(node).end - spanOf(node).start
  return around.sort((one, other) => size(one) - size(other))[0] ?? {}
}

const spanOf = ({ span }: Node) => span as { start: number; end: number }
