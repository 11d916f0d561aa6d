import { describe, expect, it } from '@jest/globals'
import { safeReturnTo } from '../../lib/web/return-to.ts'

describe('a return path is accepted', () => {
  it.each([
    ['/', '/'],
    ['/portal', '/portal'],
    ['/portal/reports?year=2026&q=a%20b#page-2', '/portal/reports?year=2026&q=a%20b#page-2'],
    ['/portal?next=https://evil.example', '/portal?next=https://evil.example'],
    ['/portal#//evil.example', '/portal#//evil.example'],
    ['/portal//reports', '/portal//reports'],
    ['/a/../portal', '/portal'],
    ['/user@evil.example', '/user@evil.example'],
    ['/:80', '/:80'],
    ['/javascript:alert(1)', '/javascript:alert(1)'],
    ['/%2F/evil.example', '/%2F/evil.example'],
    ['/%2f%2fevil.example', '/%2f%2fevil.example'],
    ['/%5Cevil.example', '/%5Cevil.example'],
    ['/%09/evil.example', '/%09/evil.example'],
    ['/münchen?straße=ä', '/m%C3%BCnchen?stra%C3%9Fe=%C3%A4'],
    ['/日本', '/%E6%97%A5%E6%9C%AC'],
    ['/\u2028/evil.example', '/%E2%80%A8/evil.example'],
    ['/"><script>', '/%22%3E%3Cscript%3E'],
  ])('%j', (value, path) => {
    expect(safeReturnTo(value)).toBe(path)
  })

  it('up to 1,000 characters, counted percent-encoded', () => {
    expect(safeReturnTo(`/${'x'.repeat(999)}`)).toHaveLength(1000)
    expect(safeReturnTo(`/${'x'.repeat(1000)}`)).toBeUndefined()
    expect(safeReturnTo(`/${'日'.repeat(111)}`)).toHaveLength(1000)
    expect(safeReturnTo(`/${'日'.repeat(112)}`)).toBeUndefined()
    expect(safeReturnTo(`/${'a/../'.repeat(200)}`)).toBeUndefined()
  })
})

describe('a return path is refused', () => {
  it.each([
    '',
    'portal',
    './portal',
    '?year=2026',
    '#top',
    ' /portal',
    '//evil.example',
    '///evil.example',
    '//evil.example@portal.example',
    '//[',
    '//evil.example:99999/',
    '/\\evil.example',
    '\\/evil.example',
    '\\\\evil.example',
    '/portal\\evil',
    '/\t/evil.example',
    '/\n/evil.example',
    '/\r\n/evil.example',
    '\t//evil.example',
    '/portal\r\nset-cookie: a=b',
    '/ /evil.example',
    '/portal\u0000',
    '/portal\u007f',
    '/.//evil.example',
    '/..//evil.example',
    '/./..//evil.example',
    '/a/..//evil.example',
    '/%2e//evil.example',
    '/%2E%2e//evil.example',
    'https://evil.example',
    'https:evil.example',
    'http:/evil.example',
    'javascript:alert(1)',
    'data:text/html,hello',
    '\u2044/evil.example',
    '\uff0f/evil.example',
  ])('%j', (value) => {
    expect(safeReturnTo(value)).toBeUndefined()
  })

  it.each([[undefined], [null], [42], [{}], [[]], [['/portal']], [['/portal', '/portal']]])('%j', (value) => {
    expect(safeReturnTo(value)).toBeUndefined()
  })

  it('never leads to another host, whatever its prefix', () => {
    const parts = ['/', '\\', '.', '..', '%2f', '%2e', '%5c', '@', ':', ';', '?', '#', '\t', ' ', '\u00a0']
    const starts = parts.flatMap((a) => parts.flatMap((b) => parts.map((c) => `/${a}${b}${c}`)))
    for (const start of starts) {
      const path = safeReturnTo(`${start}evil.example/`)
      const landed = path && new URL(path, 'https://portal.example/login').origin
      expect(landed ?? 'https://portal.example').toBe('https://portal.example')
    }
  })
})
