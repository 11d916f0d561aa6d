import { describe, expect, it } from '@jest/globals'
import { domainOf, normaliseEmail } from '../../lib/users/email-address.ts'

describe('normaliseEmail', () => {
  it.each([
    ['ada@example.com', 'ada@example.com'],
    ['  Ada@Example.COM\n', 'ada@example.com'],
    ['ada+portal@example.com', 'ada+portal@example.com'],
    ["o'brien!#$%&*/=?^_`{|}~-@example.com", "o'brien!#$%&*/=?^_`{|}~-@example.com"],
    ['.ada..l.@example.com', '.ada..l.@example.com'],
    ['1-ada|@1.10.example', '1-ada|@1.10.example'],
    ['ada@sub.xn--bcher-kva.example', 'ada@sub.xn--bcher-kva.example'],
    ['ada@b\u00fccher.example', 'ada@xn--bcher-kva.example'],
    ['ada@B\u00dcCHER.example', 'ada@xn--bcher-kva.example'],
    ['ada@bu\u0308cher.example', 'ada@xn--bcher-kva.example'],
    ['ada@\uff45xample.com', 'ada@example.com'],
    ['j\u00f6rg@example.com', 'j\u00f6rg@example.com'],
  ])('turns %j into %j', (text, email) => {
    expect(normaliseEmail(text)).toBe(email)
  })

  it('is idempotent', () => {
    for (const text of ['Ada@Example.COM', 'J\u00d6RG@B\u00dcCHER.example', 'K\u212a@example.com']) {
      const email = normaliseEmail(text)
      expect(email).toBeDefined()
      expect(normaliseEmail(email)).toBe(email)
    }
  })
})

it('domainOf returns the domain of an address', () => {
  expect(domainOf('ada@example.com')).toBe('example.com')
})

describe('normaliseEmail keeps a look-alike different:', () => {
  it.each([
    ['the KELVIN SIGN', 'mi\u212ae@example.com', 'mike@example.com'],
    ['a full-width letter', '\uff4dike@example.com', 'mike@example.com'],
    ['a dotless i', 'm\u0131ke@example.com', 'mike@example.com'],
    ['an I with a dot', 'M\u0130KE@example.com', 'mike@example.com'],
    ['a long s', 'ro\u017fe@example.com', 'rose@example.com'],
    ['a Cyrillic a', '\u0430da@example.com', 'ada@example.com'],
    ['a capital letter outside ASCII', 'J\u00d6RG@example.com', 'j\u00f6rg@example.com'],
    ['two ways to write an umlaut', 'jo\u0308rg@example.com', 'j\u00f6rg@example.com'],
    ['a zero-width joiner', 'mi\u200dke@example.com', 'mike@example.com'],
    ['a Cyrillic domain', 'mike@\u0435xample.com', 'mike@example.com'],
  ])('%s', (_what, alike, email) => {
    expect(normaliseEmail(email)).toBe(email)
    expect(normaliseEmail(alike)).not.toBe(email)
  })
})

describe('normaliseEmail rejects', () => {
  it.each([
    '',
    '@',
    'ada',
    'ada@',
    '@example.com',
    'root@localhost',
    'x@10.0.0.1',
    'x@example.1',
    '-oX@example.com',
    '|reboot@example.com',
    'ada@example.com.',
    'ada@.example.com',
    'ada@example..com',
    'ada@-example.com',
    'ada@example-.com',
    'ada@exam_ple.com',
    'ada@exam ple.com',
    'ada@[127.0.0.1]',
    'ada@[IPv6:::1]',
    'ada@example.com:25',
    'ada@example.com/',
    'ada@example%2ecom',
    'ada@exam\u00adple.com\u0000',
    'ada@eve@example.com',
    'ada@example.com@',
    '"ada"@example.com',
    '"ada@eve"@example.com',
    'ada(comment)@example.com',
    'Ada <ada@example.com>',
    'ada,eve@example.com',
    'ada;eve@example.com',
    'ada:eve@example.com',
    'a\\da@example.com',
    'a da@example.com',
    'a\u00a0da@example.com',
    'a\tda@example.com',
    'ada\r\nbcc:eve@example.com',
    'ada\u0000@example.com',
    'ada@example.com\u0000',
    'ada@exam\u0000ple.com',
    'ada\u007f@example.com',
    'ada\u0085@example.com',
    'ad\u202ea@example.com',
    'a\u200bda@example.com',
    'ada\ufeff.@example.com',
    'ada\ud800@example.com',
  ])('%j', (text) => {
    expect(normaliseEmail(text)).toBeUndefined()
  })

  it.each([[undefined], [null], [42], [true], [{}], [['ada@example.com']]])('%j', (value) => {
    expect(normaliseEmail(value)).toBeUndefined()
  })

  it('addresses that exceed the length limits', () => {
    const label = 'x'.repeat(63)
    const domain = `${label}.${label}.${label}`
    expect(normaliseEmail(`${'a'.repeat(64)}@example.com`)).toBeDefined()
    expect(normaliseEmail(`${'a'.repeat(65)}@example.com`)).toBeUndefined()
    expect(normaliseEmail(`${'a'.repeat(62)}@${domain}`)).toHaveLength(254)
    expect(normaliseEmail(`${'a'.repeat(63)}@${domain}`)).toBeUndefined()
    expect(normaliseEmail(`a@x${label}.com`)).toBeUndefined()
    expect(normaliseEmail(`${'\u00e4'.repeat(64)}@${domain}`)).toBeUndefined()
    expect(normaliseEmail(`${' '.repeat(2000)}ada@example.com`)).toBeUndefined()
  })
})
