import { describe, expect, it } from '@jest/globals'
import express from 'express'
import request from 'supertest'
import { createSeal, deriveKey } from '../../lib/shared/seal.ts'
import { cookieName, createSealedCookies } from '../../lib/web/sealed-cookie.ts'

const secret = 'the secret of these tests, longer than 32 characters'
const older = 'the secret before that one, longer than 32 characters'
const seal = createSeal([secret], 'tests')
const value = { text: 'Ada ✓', list: [1, null, true] }

describe('a sealed value', () => {
  it('opens again, whatever it was', async () => {
    for (const each of [value, 'text', '', 0, false, null, []])
      expect(await seal.open(await seal.close(each, 'here'), 'here')).toEqual(each)
  })

  it('opens with another seal of the same secret and purpose, as another instance has', async () => {
    expect(await createSeal([secret], 'tests').open(await seal.close(value, 'here'), 'here')).toEqual(value)
  })

  it.each([
    ['in another context', seal, 'there'],
    ['for another purpose', createSeal([secret], 'other tests'), 'here'],
    ['under another secret', createSeal([older], 'tests'), 'here'],
  ])('does not open %s', async (_where, other, context) => {
    expect(await other.open(await seal.close(value, 'here'), context)).toBeUndefined()
  })

  it('does not open with any one of its characters changed', async () => {
    const sealed = await seal.close(value, 'here')
    for (let at = 0; at < sealed.length; at++) {
      // Not by one: the last character of a part has bits that say nothing.
      const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'f' : 'A') + sealed.slice(at + 1)
      expect(await seal.open(changed, 'here')).toBeUndefined()
    }
  })

  it('does not open when it is cut off anywhere', async () => {
    const sealed = await seal.close(value, 'here')
    for (let length = 0; length < sealed.length; length++)
      expect(await seal.open(sealed.slice(0, length), 'here')).toBeUndefined()
  })

  it('does not open when parts of two are put together', async () => {
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
  ])('is not %j', async (text) => {
    expect(await seal.open(text, 'here')).toBeUndefined()
  })

  it('never looks the same twice, and shows neither the value nor its context', async () => {
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

describe('when the secret is rotated', () => {
  const rotated = createSeal([secret, older], 'tests')

  it('what the older one sealed still opens', async () => {
    expect(await rotated.open(await createSeal([older], 'tests').close(value, 'here'), 'here')).toEqual(value)
  })

  it('only the newer one seals', async () => {
    const sealed = await rotated.close(value, 'here')
    expect(await createSeal([secret], 'tests').open(sealed, 'here')).toEqual(value)
    expect(await createSeal([older], 'tests').open(sealed, 'here')).toBeUndefined()
  })

  it('nothing opens that was sealed under one that is gone', async () => {
    const gone = createSeal(['the secret long ago, longer than 32 characters'], 'tests')
    expect(await rotated.open(await gone.close(value, 'here'), 'here')).toBeUndefined()
  })

  it('one secret at least is there', () => {
    expect(() => createSeal([], 'tests')).toThrow('at least one secret')
  })
})

it('a key is 32 bytes, and another one for every purpose and secret', () => {
  const keys = [deriveKey(secret, 'one'), deriveKey(secret, 'two'), deriveKey(older, 'one')]
  for (const key of keys) expect(key).toHaveLength(32)
  expect(new Set(keys.map((key) => Buffer.from(key).toString('hex'))).size).toBe(3)
  expect(deriveKey(secret, 'one')).toEqual(keys[0])
})

describe('a sealed cookie', () => {
  /** Sets a cookie and gives back what a browser would send along, as it stands and in full. */
  async function set(
    lifetime: number,
    secure = false,
    name = 'note',
  ): Promise<{ sent: string; line: string }> {
    const cookies = createSealedCookies<string>(seal, { lifetime, secure })
    const app = express().get('/', (_req, res) => {
      cookies.set(res, name, 'the value').then(
        () => res.end(),
        () => res.status(500).end(),
      )
    })
    const { headers } = await request(app).get('/')
    const [line = ''] = headers['set-cookie'] as unknown as string[]
    return { sent: line.split(';')[0]!, line }
  }

  async function read(cookie: string, name = 'note'): Promise<unknown> {
    const cookies = createSealedCookies<string>(seal, { lifetime: 60, secure: false })
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

  it('comes back as it was set', async () => {
    expect(await read((await set(60)).sent)).toBe('the value')
  })

  it('is out of reach of scripts and of other sites', async () => {
    const { line } = await set(60, true)
    expect(line).toMatch(/; Max-Age=60; Path=\/; .*HttpOnly; Secure; SameSite=Lax$/)
  })

  it('is worth nothing after its time, whatever the browser thinks', async () => {
    expect(await read((await set(0)).sent)).toBeUndefined()
  })

  it('is worth nothing under another name', async () => {
    const { sent } = await set(60)
    expect(await read(sent.replace('note=', 'other='), 'other')).toBeUndefined()
  })

  it.each(['note=', 'note=forged', 'note', ''])('is not what anybody makes up: %j', async (cookie) => {
    expect(await read(cookie)).toBeUndefined()
  })

  it('is pinned to its host by its name, where there is TLS', () => {
    expect(cookieName('note', true)).toBe('__Host-note')
    expect(cookieName('note', false)).toBe('note')
  })
})
