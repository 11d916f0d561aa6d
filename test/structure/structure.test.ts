import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from '@jest/globals'
import { measureSources, parseSource } from '../../bench/source-shape.ts'
import type { StructureNumbers } from '../../bench/structure.ts'

/** Upper bounds of what `npm run structure` measures. Lower them when the structure improves. */
const bounds: StructureNumbers = {
  files: 225,
  lines: 31_960,
  callbackFiles: 49,
  callbackFunctions: 176,
  // One of them marks the code as redeemed. With Redis, there are five.
  callbackStatements: 6,
  startFiles: 29,
  startFunctions: 72,
  startStatements: 1,
  settingFiles: 8,
  wiringImports: 24,
  duplicateExports: 0,
  longFunctions: 0,
  wideFunctions: 0,
  errorsWithoutCode: 0,
}

interface Report {
  numbers: StructureNumbers
  details: Record<string, string[]>
}

describe('the structure of lib', () => {
  let report: Report

  // In a separate process: Jest rewrites modules and keeps several copies of them, which distorts V8's coverage.
  beforeAll(async () => {
    const root = path.resolve(import.meta.dirname, '../..')
    const script = ['--import', 'tsx', 'bench/structure.ts', '--json']
    const { stdout } = await promisify(execFile)(process.execPath, script, { cwd: root, timeout: 110_000 })
    report = JSON.parse(stdout) as Report
  }, 120_000)

  it.each(Object.entries(bounds))('%s: at most %i', (name, bound) => {
    const { numbers, details } = report
    const found = numbers[name as keyof StructureNumbers]
    if (found > bound && details[name]) throw new Error(`${found} ${name}:\n${details[name].join('\n')}`)
    expect(found).toBeLessThanOrEqual(bound)
  })

  it('was measured during requests', () => {
    expect(report.details.callbackFunctions).toContainEqual(expect.stringMatching(/^sign-in\/.+:\w+@\d+$/))
    expect(report.details.callbackStatements).toContainEqual(
      expect.stringMatching(/^insert into .?sso_sessions\b/),
    )
  })
})

describe('the measures of source text', () => {
  const body = '\n'.repeat(50)
  const measure = (text: string, other = '') =>
    measureSources([parseSource('create-portal-sso.ts', text), parseSource('other.ts', other)])

  it('count functions over 50 lines, unless the line above gives a reason', () => {
    const long = `const f = () => {${body}}\nclass A {\n  b() {${body}}\n}\n`
    expect(measure(`// é\n${long}`).details.longFunctions).toEqual([
      'create-portal-sso.ts:2, 51 lines',
      'create-portal-sso.ts:54, 51 lines',
    ])
    const excused = long.replace(/^(?=const| {2}b)/gm, '// Long: one table\n')
    expect(measure(excused).details.longFunctions).toEqual([])
  })

  it('count functions with five parameters, but no function types', () => {
    const text = `type F = (a: 1, b: 1, c: 1, d: 1, e: 1) => void
      declare function f(a: 1, b: 1, c: 1, d: 1, e: 1): void
      export function g(a: 1, b: 1, c: 1, d: 1) {}
      class A { constructor(a: 1, { b }: A, c = 1, d?: 1, ...e: 1[]) {} }`
    expect(measure(text).details.wideFunctions).toEqual(['create-portal-sso.ts:4, 5 parameters'])
  })

  it('count exported names that two files declare, but no re-exports', () => {
    const text = 'export type A = 1\nexport const A = 1, b = 1\nfunction c() {}\nexport { c }'
    expect(measure(text, "export { b } from './b.ts'").details.duplicateExports).toEqual([])
    const other = 'export interface A {}\nexport function c() {}\nexport class b {}'
    expect(measure(text, other).details.duplicateExports).toHaveLength(3)
  })

  it('count errors with neither an own nor an inherited code', () => {
    const classes = `class Plain extends Error {}
      class Coded extends Error { readonly code = 'x' }
      class Heir extends Coded {}
      class Poor extends Plain {}`
    const uses =
      'throw new Heir()\nthrow new Coded()\nf(new Poor())\nthrow new TypeError()\nf(new Error(), new Map())'
    expect(measure(classes, uses).details.errorsWithoutCode).toEqual([
      'other.ts:3 Poor',
      'other.ts:4 TypeError',
    ])
  })
})
