import { describe, expect, it } from '@jest/globals'
import { MemoryStore } from 'express-session'
import { knownStores } from '../../lib/sessions/revocation.ts'
import { parseUserAgent } from '../../lib/sessions/session-data.ts'
import { LimitsByPortal } from '../../lib/sessions/session-limits.ts'

const minute = 60_000
const hour = 60 * minute

describe('a user agent', () => {
  it.each([
    [
      'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0',
      { browser: 'Firefox', os: 'Windows' },
    ],
    [
      'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1',
      { browser: 'Safari', os: 'iOS' },
    ],
    [
      'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
      { browser: 'Chrome', os: 'Linux' },
    ],
  ])('is reduced to browser and operating system: %s', (userAgent, device) => {
    expect(parseUserAgent(userAgent)).toEqual(device)
  })

  it.each([
    ['missing', undefined],
    ['empty', ''],
    ['longer than any browser sends', `Mozilla/5.0 ${'x'.repeat(500)} Firefox/128.0`],
  ])('gives neither browser nor operating system if it is %s', (_what, userAgent) => {
    expect(parseUserAgent(userAgent)).toEqual({ browser: undefined, os: undefined })
  })

  it('gives one short line, even from hostile input', () => {
    for (const hostile of [
      '\u202e<script>alert(1)</script>/1.0',
      `${'a'.repeat(400)}/1`,
      'x\r\ny/2',
      '((((((/',
    ])
      for (const text of Object.values(parseUserAgent(hostile)))
        expect(text ?? '').toMatch(/^[^\r\n\u202e]{0,61}$/)
  })
})

describe('the limits of a session', () => {
  const limits = { idleMinutes: 30, absoluteHours: 12 }
  const portals = { north: { idleMinutes: 5 }, south: { absoluteHours: 24 } }
  const limitsByPortal = new LimitsByPortal(limits, portals, Date)

  it('are those of its portal, and default to those of all portals', () => {
    expect(limitsByPortal.of('north')).toEqual({
      idleMs: 5 * minute,
      absoluteMs: 12 * hour,
      renewAfterMs: minute / 2,
    })
    expect(limitsByPortal.of('south')).toEqual({
      idleMs: 30 * minute,
      absoluteMs: 24 * hour,
      renewAfterMs: 3 * minute,
    })
    for (const other of ['default', 'constructor', '__proto__', undefined])
      expect(limitsByPortal.of(other)).toEqual({
        idleMs: 30 * minute,
        absoluteMs: 12 * hour,
        renewAfterMs: 3 * minute,
      })
  })

  it('give the cookie the longest absolute limit of all portals', () => {
    expect(limitsByPortal.longestMs).toBe(24 * hour)
    expect(new LimitsByPortal(limits, { north: { absoluteHours: 1 } }, Date).longestMs).toBe(12 * hour)
  })

  it('keep a session in its store for its idle time, but never beyond its absolute limit', () => {
    const ttlMsOf = (passport?: object) => limitsByPortal.storeTtl({ passport } as never).ttlMs
    const of = (portal: string, ago: number) => ({
      user: { portalSso: 1, portal, since: Date.now() - ago },
    })
    expect(ttlMsOf(of('north', 0))).toBe(5 * minute)
    expect(ttlMsOf(of('south', 0))).toBe(30 * minute)
    expect(Math.round(ttlMsOf(of('north', 12 * hour - minute)) / 1000)).toBe(60)
    expect(ttlMsOf(of('north', 13 * hour))).toBeLessThan(0)
    // Sessions without a sign-in of ours.
    for (const other of [undefined, {}, { user: 'id of a host' }, { user: null }, { user: { id: 1 } }])
      expect(ttlMsOf(other)).toBe(30 * minute)
  })
})

describe('the known session stores', () => {
  it('are eight different ones at most, of which the oldest is dropped', () => {
    const known = knownStores()
    const stores = Array.from({ length: 9 }, () => new MemoryStore())
    for (const store of [...stores.slice(0, 8), ...stores.slice(0, 8)]) known.set(store, true)
    expect(known.size).toBe(8)
    known.set(stores[8]!, true)
    expect(known.size).toBe(8)
    expect(known.has(stores[8]!)).toBe(true)
    expect(known.has(stores[0]!)).toBe(false)
  })
})
