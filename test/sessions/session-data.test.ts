import { describe, expect, it } from '@jest/globals'
import { MemoryStore } from 'express-session'
import { createSessionStores } from '../../lib/sessions/end-sessions.ts'
import { parseUserAgent } from '../../lib/sessions/session-data.ts'
import { createLimitsOf, createTimeLeftOf, longestOf } from '../../lib/sessions/session-limits.ts'

const minute = 60_000
const hour = 60 * minute

describe('a device is told', () => {
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
  ])('by browser and system, and nothing finer: %s', (userAgent, device) => {
    expect(parseUserAgent(userAgent)).toEqual(device)
  })

  it.each([
    ['nothing', undefined],
    ['an empty text', ''],
    ['more than any browser sends', `Mozilla/5.0 ${'x'.repeat(500)} Firefox/128.0`],
  ])('by nobody who sends %s', (_what, userAgent) => {
    expect(parseUserAgent(userAgent)).toEqual({ browser: undefined, os: undefined })
  })

  it('on one short line, whatever was sent', () => {
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
  const limitsOf = createLimitsOf(limits, portals)

  it('are those of its portal, and where that says nothing those of all', () => {
    expect(limitsOf('north')).toEqual({ idle: 5 * minute, absolute: 12 * hour, renew: minute / 2 })
    expect(limitsOf('south')).toEqual({ idle: 30 * minute, absolute: 24 * hour, renew: 3 * minute })
    for (const other of ['default', 'constructor', '__proto__', undefined])
      expect(limitsOf(other)).toEqual({ idle: 30 * minute, absolute: 12 * hour, renew: 3 * minute })
  })

  it('let a cookie live as long as any session can', () => {
    expect(longestOf(limits, portals)).toBe(24 * hour)
    expect(longestOf(limits, { north: { absoluteHours: 1 } })).toBe(12 * hour)
  })

  it('leave a session in its store for its idle time, and never beyond its end', () => {
    const timeLeftOf = createTimeLeftOf(limitsOf)
    const leftOf = (passport?: object) => timeLeftOf({ passport } as never).left
    const of = (portal: string, ago: number) => ({
      user: { portalSso: 1, portal, since: Date.now() - ago },
    })
    expect(leftOf(of('north', 0))).toBe(5 * minute)
    expect(leftOf(of('south', 0))).toBe(30 * minute)
    expect(Math.round(leftOf(of('north', 12 * hour - minute)) / 1000)).toBe(60)
    expect(leftOf(of('north', 13 * hour))).toBeLessThan(0)
    // Nobody of ours is signed in.
    for (const other of [undefined, {}, { user: 'id of a host' }, { user: null }, { user: { id: 1 } }])
      expect(leftOf(other)).toBe(30 * minute)
  })
})

describe('the stores that sessions are in', () => {
  it('are each known once, and no more than eight: the oldest goes', () => {
    const known = createSessionStores()
    const stores = Array.from({ length: 9 }, () => new MemoryStore())
    for (const store of [...stores.slice(0, 8), ...stores.slice(0, 8)]) known.note(store)
    expect(known.all()).toHaveLength(8)
    known.note(stores[8]!)
    expect(known.all()).toHaveLength(8)
    expect(known.all()).toContain(stores[8])
    expect(known.all()).not.toContain(stores[0])
  })
})
