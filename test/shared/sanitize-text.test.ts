import { expect, it } from '@jest/globals'
import { sanitizingLogger } from '../../lib/shared/logger.ts'
import { sanitizeText } from '../../lib/shared/sanitize-text.ts'

it.each([
  ['plain words, ümlauts and 漢字', 'plain words, ümlauts and 漢字'],
  ['a\r\nb', 'a\\u{d}\\u{a}b'],
  ['\u001b[31m', '\\u{1b}[31m'],
  ['a\u2028b\u202ec', 'a\\u{2028}b\\u{202e}c'],
  ['half \ud83d', 'half \\u{d83d}'],
  ['got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl back', 'got eyJ… back'],
])('sanitizeText escapes control characters and shortens tokens: %j', (text, line) => {
  expect(sanitizeText(text)).toBe(line)
})

it('sanitizeText truncates text to 1,000 characters', () => {
  expect(sanitizeText('x'.repeat(2000))).toBe(`${'x'.repeat(999)}…`)
  expect(sanitizeText('\u0000'.repeat(2000)).length).toBe(1000)
})

it('the sanitizing logger sanitizes nested fields, and keeps only the message of an error', () => {
  const lines: string[] = []
  const write = (fields: object, message: string) => {
    lines.push(JSON.stringify({ ...fields, message }))
  }
  const cause = Object.assign(new Error('a\nb'), { headers: { authorization: 'Bearer secret' } })
  const logger = sanitizingLogger({ info: write, warn: write, error: write })
  logger.warn({ deep: { list: ['a\u001bb'] }, cause, count: 3 }, 'c\nd')
  expect(JSON.parse(lines[0]!)).toEqual({
    deep: { list: ['a\\u{1b}b'] },
    cause: 'Error: a\\u{a}b',
    count: 3,
    message: 'c\\u{a}d',
  })
})
