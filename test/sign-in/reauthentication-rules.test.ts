import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals'
import { maxAgeLimitSeconds } from '../../lib/providers/setting-values.ts'
import type { Authentication } from '../../lib/sessions/sessions.ts'
import { clockToleranceSeconds } from '../../lib/shared/time.ts'
import type { ReauthenticationRequirement } from '../../lib/sign-in/attempts.ts'
import {
  assertReauthenticated,
  isValidAcrList,
  readReauthentication,
  reauthenticationQuery,
  satisfies,
} from '../../lib/sign-in/reauthentication.ts'

// `reauthentication.test.ts` tests re-authentication over HTTP. These tests cover the exact limits.
const now = 1_800_000_000
beforeEach(() => {
  jest.spyOn(Date, 'now').mockReturnValue(now * 1000)
})
afterEach(() => {
  jest.restoreAllMocks()
})

const longest = 'x'.repeat(200)

describe('the query of a sign-in link', () => {
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
  ])('%j contains a requirement', (query, requirement) => {
    expect(readReauthentication(query)).toEqual(requirement)
  })

  it.each([
    {},
    ...['', '-1', '1.5', '1e3', ' 1', '1 ', '0x1', '100000000', ['1'], 1, null].map((max_age) => ({
      max_age,
    })),
    ...['', ' ', ' a', 'a ', 'a  b', 'a\tb', 'a\u0000', 'm\u00fcfa', `${longest}x`, ['mfa'], null].map(
      (acr_values) => ({ acr_values }),
    ),
  ])('%j contains no valid requirement', (query) => {
    expect(readReauthentication(query)).toBeUndefined()
  })

  it('is written so that it can be read back', () => {
    const query = { max_age: '900', acr_values: 'mfa phr' }
    expect(reauthenticationQuery(readReauthentication(query))).toEqual(query)
    expect(reauthenticationQuery({ maxAge: 0 })).toEqual({ max_age: '0', acr_values: undefined })
    expect(reauthenticationQuery(undefined)).toEqual({})
  })
})

it('a required acr must be valid and fit into a link', () => {
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
  const meets = (session: Authentication, requirement: ReauthenticationRequirement) =>
    satisfies(session, requirement, Date.now())
  const authenticated = (ago: number) => ({ at: (now - ago) * 1000, acr: undefined })

  it('is recent up to the maximum age plus the clock tolerance', () => {
    expect(meets(authenticated(900 + clockToleranceSeconds), { maxAge: 900 })).toBe(true)
    expect(meets(authenticated(901 + clockToleranceSeconds), { maxAge: 900 })).toBe(false)
    expect(meets(authenticated(clockToleranceSeconds), { maxAge: 0 })).toBe(true)
    expect(meets(authenticated(0), {})).toBe(true)
  })

  it('with an unknown authentication time and acr satisfies no requirement', () => {
    const unknown = { at: undefined, acr: undefined }
    expect(meets(unknown, {})).toBe(true)
    expect(meets(unknown, { maxAge: maxAgeLimitSeconds })).toBe(false)
    expect(meets(unknown, { acr: ['mfa'] })).toBe(false)
  })

  it('must meet both maxAge and acr', () => {
    const requirement = { maxAge: 900, acr: ['mfa', 'phr'] }
    expect(meets({ ...authenticated(0), acr: 'phr' }, requirement)).toBe(true)
    expect(meets({ ...authenticated(0), acr: 'pwd' }, requirement)).toBe(false)
    expect(meets({ ...authenticated(1000), acr: 'mfa' }, requirement)).toBe(false)
  })
})

describe('an ID token', () => {
  const rejection = (
    identity: Parameters<typeof assertReauthenticated>[0],
    requirement: Parameters<typeof assertReauthenticated>[1],
  ) => {
    try {
      assertReauthenticated(identity, requirement)
      return undefined
    } catch (error) {
      return (error as { code: string; message: string }).message
    }
  }
  const authenticated = (ago: number) => ({ authenticatedAt: now - ago, acr: undefined })
  const noClaims = { authenticatedAt: undefined, acr: undefined }

  it('needs no claims if nothing is required', () => {
    expect(rejection(noClaims, {})).toBeUndefined()
  })

  it('must have a recent auth_time', () => {
    expect(rejection(noClaims, { maxAge: 900 })).toContain('no valid auth_time')
    expect(rejection(authenticated(900 + clockToleranceSeconds), { maxAge: 900 })).toBeUndefined()
    expect(rejection(authenticated(901 + clockToleranceSeconds), { maxAge: 900 })).toContain(
      'older than max_age',
    )
    // A time of 0 is a valid time, not a missing one.
    expect(rejection({ ...noClaims, authenticatedAt: 0 }, { maxAge: 900 })).toContain('older than max_age')
  })

  it('must have one of the required acr values', () => {
    expect(rejection(noClaims, { acr: ['mfa'] })).toContain('has no acr')
    expect(rejection({ ...noClaims, acr: 'pwd' }, { acr: ['mfa'] })).toContain('none of acr_values')
    expect(rejection({ ...noClaims, acr: 'mfa' }, { acr: ['phr', 'mfa'] })).toBeUndefined()
  })
})
