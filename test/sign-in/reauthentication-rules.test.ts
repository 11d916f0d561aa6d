import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { clockToleranceSeconds } from '../../lib/oidc/provider-client.ts'
import {
  assertReauthenticated,
  isValidAcrList,
  maxAgeLimitSeconds,
  readReauthentication,
  reauthenticationQuery,
  satisfies,
} from '../../lib/sign-in/reauthentication.ts'

// What each demand is for, `reauthentication.test.ts` says over HTTP. Here is where each limit lies, to the second and to the
// character.
const now = 1_800_000_000
beforeEach(() => {
  jest.spyOn(Date, 'now').mockReturnValue(now * 1000)
})
afterEach(() => {
  jest.restoreAllMocks()
})

const longest = 'x'.repeat(200)

describe('the requirement of a link', () => {
  it.each([
    [{ max_age: '0' }, { maxAge: 0 }],
    [{ max_age: '99999999' }, { maxAge: maxAgeLimitSeconds }],
    [{ max_age: String(maxAgeLimitSeconds) }, { maxAge: maxAgeLimitSeconds }],
    [{ acr_values: 'mfa' }, { acr: ['mfa'] }],
    [{ acr_values: '! ~' }, { acr: ['!', '~'] }],
    [{ acr_values: longest }, { acr: [longest] }],
    [
      { max_age: '900', acr_values: 'mfa phr' },
      { maxAge: 900, acr: ['mfa', 'phr'] },
    ],
    [{ max_age: '900', acr_values: ' ' }, { maxAge: 900 }],
    [{ max_age: '-1', acr_values: 'mfa' }, { acr: ['mfa'] }],
  ])('%j is read', (query, read) => {
    expect(readReauthentication(query)).toEqual(read)
  })

  it.each([
    {},
    ...['', '-1', '1.5', '1e3', ' 1', '1 ', '0x1', '100000000', ['1'], 1, null].map((max_age) => ({
      max_age,
    })),
    ...['', ' ', ' a', 'a ', 'a  b', 'a\tb', 'a\u0000', 'm\u00fcfa', `${longest}x`, ['mfa'], null].map(
      (acr_values) => ({ acr_values }),
    ),
  ])('%j says nothing', (query) => {
    expect(readReauthentication(query)).toBeUndefined()
  })

  it('is written as it is read', () => {
    const query = { max_age: '900', acr_values: 'mfa phr' }
    expect(reauthenticationQuery(readReauthentication(query))).toEqual(query)
    expect(reauthenticationQuery({ maxAge: 0 })).toEqual({ max_age: '0', acr_values: undefined })
    expect(reauthenticationQuery(undefined)).toEqual({})
  })
})

it('a requirement must fit into a link', () => {
  for (const acr of [['mfa'], ['mfa', 'phr'], [longest], ['x'.repeat(99), 'x'.repeat(100)]])
    expect(isValidAcrList(acr)).toBe(true)
  for (const acr of [
    [],
    [''],
    ['mfa', ''],
    ['mfa phr'],
    ['mfa', 'p h'],
    ['m\u00fcfa'],
    [2],
    [null],
    ['x'.repeat(100), 'x'.repeat(100)],
  ])
    expect(isValidAcrList(acr)).toBe(false)
})

describe('a session', () => {
  const seconds = (ago: number) => ({ at: (now - ago) * 1000, acr: undefined })

  it('is recent up to the maximum age plus the clock tolerance', () => {
    expect(satisfies(seconds(900 + clockToleranceSeconds), { maxAge: 900 })).toBe(true)
    expect(satisfies(seconds(901 + clockToleranceSeconds), { maxAge: 900 })).toBe(false)
    expect(satisfies(seconds(clockToleranceSeconds), { maxAge: 0 })).toBe(true)
    expect(satisfies(seconds(0), {})).toBe(true)
  })

  it('of unknown time and method does not satisfy a requirement', () => {
    const unknown = { at: undefined, acr: undefined }
    expect(satisfies(unknown, {})).toBe(true)
    expect(satisfies(unknown, { maxAge: maxAgeLimitSeconds })).toBe(false)
    expect(satisfies(unknown, { acr: ['mfa'] })).toBe(false)
  })

  it('is to meet all that is demanded', () => {
    const demanded = { maxAge: 900, acr: ['mfa', 'phr'] }
    expect(satisfies({ ...seconds(0), acr: 'phr' }, demanded)).toBe(true)
    expect(satisfies({ ...seconds(0), acr: 'pwd' }, demanded)).toBe(false)
    expect(satisfies({ ...seconds(1000), acr: 'mfa' }, demanded)).toBe(false)
  })
})

describe('a token', () => {
  const judged = (
    identity: Parameters<typeof assertReauthenticated>[0],
    demanded: Parameters<typeof assertReauthenticated>[1],
  ) => {
    try {
      assertReauthenticated(identity, demanded)
      return undefined
    } catch (error) {
      return (error as { code: string; message: string }).message
    }
  }
  const moment = (ago: number) => ({ authenticatedAt: now - ago, acr: undefined })
  const nothing = { authenticatedAt: undefined, acr: undefined }

  it('needs no claim if nothing is required', () => {
    expect(judged(nothing, undefined)).toBeUndefined()
    expect(judged(nothing, {})).toBeUndefined()
  })

  it('must have a recent auth_time', () => {
    expect(judged(nothing, { maxAge: 900 })).toContain('no valid auth_time')
    expect(judged(moment(900 + clockToleranceSeconds), { maxAge: 900 })).toBeUndefined()
    expect(judged(moment(901 + clockToleranceSeconds), { maxAge: 900 })).toContain('older than max_age')
    // 1970 is a moment, and long ago.
    expect(judged({ ...nothing, authenticatedAt: 0 }, { maxAge: 900 })).toContain('older than max_age')
  })

  it('must have one of the required values of acr', () => {
    expect(judged(nothing, { acr: ['mfa'] })).toContain('has no acr')
    expect(judged({ ...nothing, acr: 'pwd' }, { acr: ['mfa'] })).toContain('none of acr_values')
    expect(judged({ ...nothing, acr: 'mfa' }, { acr: ['phr', 'mfa'] })).toBeUndefined()
  })
})
