import { describe, expect, it } from '@jest/globals'
import express from 'express'
import { CompactEncrypt, compactDecrypt } from 'jose'
import request from 'supertest'
import { deriveKey, Seal } from '../../lib/shared/seal.ts'
import { SealedCookies } from '../../lib/web/sealed-cookie.ts'
import { cookieCore } from '../support/cookie-core.ts'

const secret = 'the secret of these tests, longer than 32 characters'
const older = 'the secret before that one, longer than 32 characters'
const seal = new Seal([secret], 'tests')
const value = { text: 'Ada ✓', list: [1, null, true] }

describe('a sealed value', () => {
  it('opens to the same value, whatever its type', async () => {
    for (const each of [value, 'text', '', 0, false, null, []])
      expect(seal.open(seal.close(each, 'here'), 'here')).toEqual(each)
  })

  it('opens with the same secret and purpose on another instance', async () => {
    expect(new Seal([secret], 'tests').open(seal.close(value, 'here'), 'here')).toEqual(value)
  })

  it.each([
    ['in another context', seal, 'there'],
    ['for another purpose', new Seal([secret], 'other tests'), 'here'],
    ['under another secret', new Seal([older], 'tests'), 'here'],
  ])('does not open %s', async (_difference, other, context) => {
    expect(other.open(seal.close(value, 'here'), context)).toBeUndefined()
  })

  it('does not open after any character is changed, even if it decodes to the same bytes', () => {
    const sealed = seal.close(value, 'here')
    for (let at = 0; at < sealed.length; at++)
      for (const other of ['A', 'B', '.', '+', '=', ' ']) {
        if (sealed[at] === other) continue
        expect(seal.open(sealed.slice(0, at) + other + sealed.slice(at + 1), 'here')).toBeUndefined()
      }
  })

  // Attacker: needs only 2^32 attempts for a tag of four bytes, which Node accepts unless the length is fixed.
  it.each([0, 4, 8, 12, 13, 14, 15])('does not open with its tag shortened to %i bytes', (length) => {
    const [header, key, iv, encrypted, tag = ''] = seal.close(value, 'here').split('.')
    const shortened = Buffer.from(tag, 'base64url').subarray(0, length).toString('base64url')
    expect(seal.open([header, key, iv, encrypted, shortened].join('.'), 'here')).toBeUndefined()
  })

  it.each([
    ['another algorithm', { alg: 'none' }],
    ['a weaker encryption', { enc: 'A128GCM' }],
    ['compressed contents', { zip: 'DEF' }],
    ['the key of another secret', { kid: 'AAAAAAAA' }],
    ['another context', { ctx: 'AAAAAAAAAAAAAAAA' }],
  ])('does not open with a header that names %s', (_change, change) => {
    const [header = '', ...parts] = seal.close(value, 'here').split('.')
    const original = JSON.parse(Buffer.from(header, 'base64url').toString()) as object
    const forged = Buffer.from(JSON.stringify({ ...original, ...change })).toString('base64url')
    expect(seal.open([forged, ...parts].join('.'), 'here')).toBeUndefined()
  })

  it('does not open with the header of another context, whose authentication includes it', () => {
    const [, ...parts] = seal.close(value, 'here').split('.')
    const [there] = seal.close(value, 'there').split('.')
    expect(seal.open([there, ...parts].join('.'), 'there')).toBeUndefined()
  })

  // Older versions sealed with jose. Their secrets are still in the tables, and both versions can run side by side.
  it('is a JWE that jose opens, and opens those of jose', async () => {
    const sealed = seal.close(value, 'here')
    const key = deriveKey(secret, 'tests')
    const { plaintext, protectedHeader } = await compactDecrypt(sealed, key)
    expect(JSON.parse(new TextDecoder().decode(plaintext))).toEqual(value)
    const byJose = await new CompactEncrypt(plaintext).setProtectedHeader(protectedHeader).encrypt(key)
    expect(seal.open(byJose, 'here')).toEqual(value)
    expect(byJose).toHaveLength(sealed.length)
  })

  it('does not open after truncation at any length', async () => {
    const sealed = seal.close(value, 'here')
    for (let length = 0; length < sealed.length; length++)
      expect(seal.open(sealed.slice(0, length), 'here')).toBeUndefined()
  })

  it('does not open if it is assembled from parts of two values', async () => {
    const one = seal.close('one', 'here').split('.')
    const two = seal.close('two', 'here').split('.')
    for (const part of [2, 3, 4]) {
      const mixed = one.map((each, at) => (at === part ? two[at] : each)).join('.')
      expect(seal.open(mixed, 'here')).toBeUndefined()
    }
  })

  it.each([
    '',
    '.',
    '....',
    'null',
    '{}',
    'eyJhbGciOiJub25lIn0.e30.',
    'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA',
  ])('is never %j', async (text) => {
    expect(seal.open(text, 'here')).toBeUndefined()
  })

  it('differs each time, and reveals neither the value nor its context', async () => {
    const one = seal.close('the value', 'the context')
    const two = seal.close('the value', 'the context')
    expect(one).not.toBe(two)
    const readable = one
      .split('.')
      .map((part) => Buffer.from(part, 'base64url').toString())
      .join(' ')
    expect(readable).toContain('A256GCM')
    expect(readable).not.toMatch(/the value|the context/)
  })
})

describe('after the secret is rotated,', () => {
  const rotated = new Seal([secret, older], 'tests')

  it('values sealed with the older secret still open', async () => {
    expect(rotated.open(new Seal([older], 'tests').close(value, 'here'), 'here')).toEqual(value)
  })

  it('only the newer secret seals', async () => {
    const sealed = rotated.close(value, 'here')
    expect(new Seal([secret], 'tests').open(sealed, 'here')).toEqual(value)
    expect(new Seal([older], 'tests').open(sealed, 'here')).toBeUndefined()
  })

  it('values sealed with a removed secret do not open', async () => {
    const removed = new Seal(['the secret long ago, longer than 32 characters'], 'tests')
    expect(rotated.open(removed.close(value, 'here'), 'here')).toBeUndefined()
  })
})

it('only a value sealed with the first secret, for this context, is current', () => {
  const rotated = new Seal([secret, older], 'tests')
  expect(rotated.isCurrent(rotated.close(value, 'here'), 'here')).toBe(true)
  expect(rotated.isCurrent(new Seal([older], 'tests').close(value, 'here'), 'here')).toBe(false)
  expect(rotated.isCurrent(rotated.close(value, 'there'), 'here')).toBe(false)
})

it('a seal requires at least one secret', () => {
  expect(() => new Seal([], 'tests')).toThrow('at least one secret')
})

it('deriveKey derives a key of 32 bytes that differs for every purpose and secret', () => {
  const keys = [deriveKey(secret, 'one'), deriveKey(secret, 'two'), deriveKey(older, 'one')]
  for (const key of keys) expect(key).toHaveLength(32)
  expect(new Set(keys.map((key) => Buffer.from(key).toString('hex'))).size).toBe(3)
  expect(deriveKey(secret, 'one')).toEqual(keys[0])
})

describe('a sealed cookie', () => {
  /** Sets a cookie. @returns the pair that a browser sends back, and the complete header line */
  async function set(ttlSeconds: number, secure = false): Promise<{ sent: string; line: string }> {
    const cookies = new SealedCookies<string>(cookieCore(seal, { secure }), 'tests', { ttlSeconds })
    const app = express().get('/', (_req, res) => {
      cookies.set(res, 'note', 'the value')
      res.end()
    })
    const { headers } = await request(app).get('/')
    const [line = ''] = headers['set-cookie'] as unknown as string[]
    return { sent: line.split(';')[0]!, line }
  }

  async function read(cookie: string, name = 'note', core = cookieCore(seal)): Promise<unknown> {
    const cookies = new SealedCookies<string>(core, 'tests', { ttlSeconds: 60 })
    const app = express().get('/', (req, res) => {
      res.json({ read: cookies.get(req, name) })
    })
    const { status, body } = await request(app).get('/').set('cookie', cookie)
    expect(status).toBe(200)
    return (body as { read?: unknown }).read
  }

  it('returns the value that was set', async () => {
    expect(await read((await set(60)).sent)).toBe('the value')
  })

  it('is not accessible to scripts or other sites', async () => {
    const { line } = await set(60, true)
    expect(line).toMatch(/; Max-Age=60; Path=\/; .*HttpOnly; Secure; SameSite=Lax$/)
  })

  it('is rejected after its time to live, even if the browser still sends it', async () => {
    expect(await read((await set(0)).sent)).toBeUndefined()
  })

  it('is rejected under another name', async () => {
    const { sent } = await set(60)
    expect(await read(sent.replace('note=', 'other='), 'other')).toBeUndefined()
  })

  it.each([{ baseUrl: 'https://staging.example' }, { mountPath: '/staff' }])(
    'is rejected by a portal with the same secret and %j',
    async (place) => {
      const { sent } = await set(60)
      expect(await read(sent, 'note', cookieCore(seal, place))).toBeUndefined()
    },
  )

  it.each(['note=', 'note=forged', 'note', ''])('is rejected if it is forged: %j', async (cookie) => {
    expect(await read(cookie)).toBeUndefined()
  })

  it('has the prefix `__Host-` with TLS', () => {
    expect(cookieCore(seal, { secure: true }).cookieName('note')).toBe('__Host-sso-note')
    expect(cookieCore(seal).cookieName('note')).toBe('sso-note')
  })
})
