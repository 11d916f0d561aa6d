import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { domainOf, normaliseEmail } from '../../lib/users/email-address.ts'
import { safeReturnTo } from '../../lib/web/return-to.ts'
import { effort, textOf } from '../support/properties.ts'

const path = textOf([
  ...['/', '//', '\\', '.', '..', '/./', '/../', '?', '#', '&', '=', '@', ':', ';', '|', '"', '<', '>'],
  ...['\t', '\n', '\r', ' ', '\u0000', '\u007f', '\u0085', '\u00a0', '\u2028', '\ufeff', '\ufffe'],
  ...['%', '%2f', '%2F', '%5c', '%2e', '%2E%2e', '%09', '%0d%0a', '%00', '%zz', '%e2%80', '%u002f'],
  ...['evil.example', 'https:', 'javascript:', 'data:', 'user:pass@', '[::1]', '127.1', 'ü', '日', '\u2044'],
  ...['x'.repeat(700), 'portal', 'login', 'a'],
])
const hostilePath = fc.oneof(
  path.map((text) => `/${text}`),
  path,
  fc.string({ unit: 'binary' }),
)

/** Cleans an address like a browser before it parses it (URL Standard, 4.4, and `\` in special schemes). */
function clean(address: string): string {
  const around = String.fromCharCode(...Array(33).keys())
  let [from, to] = [0, address.length]
  while (from < to && around.includes(address[from]!)) from++
  while (from < to && around.includes(address[to - 1]!)) to--
  return address
    .slice(from, to)
    .replace(/[\t\r\n]/g, '')
    .replaceAll('\\', '/')
}

describe('any text as a return path', () => {
  const origin = 'https://portal.example'

  it('is refused, or leads to the portal, however often a browser cleans it', () => {
    let passed = 0
    const property = fc.property(hostilePath, (text) => {
      const safe = safeReturnTo(text)
      if (safe === undefined) return
      passed++
      for (const read of [safe, clean(safe), clean(clean(safe))]) {
        expect(read).toMatch(/^\/(?!\/)/)
        expect(new URL(read, `${origin}/login/acme/callback`).origin).toBe(origin)
        expect(new URL(read, 'http://127.0.0.1:8080').origin).toBe('http://127.0.0.1:8080')
      }
    })
    fc.assert(property, effort(5))
    expect(passed).toBeGreaterThan(0)
  })

  it('is safe in a Location header without encoding', () => {
    const property = fc.property(hostilePath, (text) => {
      const safe = safeReturnTo(text) ?? '/'
      expect(safe).toMatch(/^[\u0021-\u007e]{1,1500}$/)
      expect(new Headers({ location: safe }).get('location')).toBe(safe)
    })
    fc.assert(property, effort(5))
  })

  it('does not change when it is checked again', () => {
    const property = fc.property(hostilePath, (text) => {
      const safe = safeReturnTo(text)
      if (safe !== undefined) expect(safeReturnTo(safe)).toBe(safe)
    })
    fc.assert(property, effort(5))
  })

  it('is refused if it is not a string, and never throws', () => {
    const property = fc.property(fc.anything(), (value) => {
      if (typeof value !== 'string') expect(safeReturnTo(value)).toBeUndefined()
    })
    fc.assert(property, effort())
  })
})

const address = textOf(
  [
    ...['@', '.', '-', '_', '+', '"', '(', ')', '<', '>', ',', ';', ':', '\\', '[', ']', '/', '%40', 'xn--'],
    ...[' ', '\t', '\r\n', '\u0000', '\u007f', '\u0085', '\u00a0', '\u00ad', '\u200b', '\u202e', '\ufeff'],
    ...['\u212a', '\u0130', '\u0131', '\u017f', '\uff21', '\uff20', '\u3002', '\u0430', '\u0308', 'ü', 'ß'],
    ...['ada', 'ADA', 'Ada', 'K', 'i', 'example.com', 'EXAMPLE.com', 'bücher.example', 'x'.repeat(60)],
  ],
  8,
)
const hostileAddress = fc.oneof(
  fc.tuple(address, address).map(([local, domain]) => `${local}@${domain}`),
  address.map((local) => `${local}@example.com`),
  address.map((domain) => `ada@${domain}`),
  address,
  fc.emailAddress(),
)

describe('any text as an e-mail address', () => {
  it('is refused, or has one @, an ASCII domain and only visible characters', () => {
    let passed = 0
    const property = fc.property(hostileAddress, (text) => {
      const email = normaliseEmail(text)
      if (email === undefined) return
      passed++
      expect(email.split('@')).toHaveLength(2)
      expect(domainOf(email)).toMatch(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/)
      expect(email).not.toMatch(/[\s\p{Cc}\p{Cf}\p{Cs}\p{Z}A-Z]/u)
      expect(Buffer.byteLength(email)).toBeLessThanOrEqual(254)
    })
    fc.assert(property, effort(5))
    expect(passed).toBeGreaterThan(0)
  })

  it('does not change when it is normalised again', () => {
    const property = fc.property(hostileAddress, (text) => {
      const email = normaliseEmail(text)
      if (email !== undefined) expect(normaliseEmail(email)).toBe(email)
    })
    fc.assert(property, effort(5))
  })

  it('survives a round trip through UTF-8 unchanged, so that two addresses never become one', () => {
    const property = fc.property(hostileAddress, (text) => {
      const email = normaliseEmail(text)
      if (email !== undefined) expect(Buffer.from(email).toString()).toBe(email)
    })
    fc.assert(property, effort(5))
  })

  it('keeps every character before the @, except the case of ASCII letters', () => {
    const property = fc.property(hostileAddress, (text) => {
      const email = normaliseEmail(text)
      if (email === undefined) return
      const given = [...text.trim().slice(0, text.trim().lastIndexOf('@'))]
      const kept = [...email.slice(0, email.lastIndexOf('@'))]
      expect(kept).toHaveLength(given.length)
      for (const [at, letter] of given.entries())
        expect(kept[at]).toBe(/[A-Z]/.test(letter) ? String.fromCharCode(letter.charCodeAt(0) + 32) : letter)
    })
    fc.assert(property, effort(5))
  })

  it('never becomes another user’s address with look-alike letters', () => {
    const letter = fc.constantFrom(
      ...'kisa',
      '\u212a',
      '\u0130',
      '\u0131',
      '\u017f',
      '\uff4b',
      '\u0430',
      '\u00aa',
    )
    const locals = fc.array(letter, { minLength: 1, maxLength: 5 }).map((letters) => letters.join(''))
    const property = fc.property(locals, locals, (one, other) => {
      const [a, b] = [one, other].map((local) => normaliseEmail(`${local}@example.com`))
      expect(a === b).toBe(one === other)
    })
    fc.assert(property, effort())
  })

  it('is refused if it is not a string, and never throws', () => {
    const property = fc.property(fc.anything(), (value) => {
      if (typeof value !== 'string') expect(normaliseEmail(value)).toBeUndefined()
    })
    fc.assert(property, effort())
  })
})
