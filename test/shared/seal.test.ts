import { describe, expect, it } from '@jest/globals'
import express from 'express'
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
      expect(await seal.open(await seal.close(each, 'here'), 'here')).toEqual(each)
  })

  it('opens with the same secret and purpose on another instance', async () => {
    expect(await new Seal([secret], 'tests').open(await seal.close(value, 'here'), 'here')).toEqual(value)
  })

  it.each([
    ['in another context', seal, 'there'],
    ['for another purpose', new Seal([secret], 'other tests'), 'here'],
    ['under another secret', new Seal([older], 'tests'), 'here'],
  ])('does not open %s', async (_difference, other, context) => {
    expect(await other.open(await seal.close(value, 'here'), context)).toBeUndefined()
  })

  it('does not open after any character is changed', async () => {
    const sealed = await seal.close(value, 'here')
    for (let at = 0; at < sealed.length; at++) {
      // The last character of a part has unused bits, so choose a replacement that differs in a used one.
      const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'f' : 'A') + sealed.slice(at + 1)
      expect(await seal.open(changed, 'here')).toBeUndefined()
    }
  })

  it('does not open after truncation at any length', async () => {
    const sealed = await seal.close(value, 'here')
    for (let length = 0; length < sealed.length; length++)
      expect(await seal.open(sealed.slice(0, length), 'here')).toBeUndefined()
  })

  it('does not open if it is assembled from parts of two values', async () => {
    const one = (await seal.close('one', 'here')).split('.')
    const two = (await seal.close('two', 'here')).split('.')
    for (const part of [2, 3, 4]) {
      const mixed = one.map((each, at) => (at === part ? two[at] : each)).join('.')
      expect(await seal.open(mixed, 'here')).toBeUndefined()
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
    expect(await seal.open(text, 'here')).toBeUndefined()
  })

  it('differs each time, and reveals neither the value nor its context', async () => {
    const one = await seal.close('the value', 'the context')
    const two = await seal.close('the value', 'the context')
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
    expect(await rotated.open(await new Seal([older], 'tests').close(value, 'here'), 'here')).toEqual(value)
  })

  it('only the newer secret seals', async () => {
    const sealed = await rotated.close(value, 'here')
    expect(await new Seal([secret], 'tests').open(sealed, 'here')).toEqual(value)
    expect(await new Seal([older], 'tests').open(sealed, 'here')).toBeUndefined()
  })

  it('values sealed with a removed secret do not open', async () => {
    const removed = new Seal(['the secret long ago, longer than 32 characters'], 'tests')
    expect(await rotated.open(await removed.close(value, 'here'), 'here')).toBeUndefined()
  })
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
      cookies.set(res, 'note', 'the value').then(
        () => res.end(),
        () => res.status(500).end(),
      )
    })
    const { headers } = await request(app).get('/')
    const [line = ''] = headers['set-cookie'] as unknown as string[]
    return { sent: line.split(';')[0]!, line }
  }

  async function read(cookie: string, name = 'note', core = cookieCore(seal)): Promise<unknown> {
    const cookies = new SealedCookies<string>(core, 'tests', { ttlSeconds: 60 })
    const app = express().get('/', (req, res) => {
      cookies.get(req, name).then(
        (read) => res.json({ read }),
        () => res.status(500).end(),
      )
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
