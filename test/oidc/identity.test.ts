import { describe, expect, it } from '@jest/globals'
import { type Claims, identityFrom, lacksEmail, trustedEmail } from '../../lib/oidc/identity.ts'
import type { Provider } from '../../lib/providers/provider.ts'

const clock = { now: 1_800_000_000, tolerance: 30, askedAt: 1_799_999_990_000 }
const acme = {
  clientId: 'portal',
  emailClaim: 'email',
  trustsEmail: false,
  emailDomains: [],
} as unknown as Provider
const ada: Claims = {
  iss: 'https://id.example',
  sub: 'ada',
  iat: clock.now,
  email: 'ada@example.com',
  email_verified: true,
}

interface Given {
  claims?: Claims
  userInfo?: Claims
  row?: Partial<Provider>
  token?: string
}

const identity = ({ claims = {}, userInfo, row = {}, token = 'e.e.e' }: Given = {}) =>
  identityFrom({ ...acme, ...row }, token, { ...ada, ...claims }, userInfo, clock)

it('an identity is who a provider says it is, and nothing else', () => {
  expect(identity({ claims: { name: 'Ada Lovelace', sid: 'a session', roles: ['admin'] } })).toEqual({
    issuer: 'https://id.example',
    subject: 'ada',
    email: 'ada@example.com',
    emailTrusted: true,
    name: 'Ada Lovelace',
    sid: 'a session',
    logoutHint: 'e.e.e',
    askedAt: clock.askedAt,
  })
})

describe('when somebody authenticated', () => {
  const at = (auth_time: unknown) => identity({ claims: { auth_time } }).authenticatedAt

  it('is what the provider says, up to now', () => {
    const latest = clock.now + clock.tolerance
    expect([0, 1_799_999_000, latest].map(at)).toEqual([0, 1_799_999_000, latest])
  })

  it('is not known where that is no moment, or one that lies ahead and would count as just now until then', () => {
    const said = [
      undefined,
      null,
      '1799999000',
      -1,
      Number.POSITIVE_INFINITY,
      Number.NaN,
      {},
      1_800_000_000 + clock.tolerance + 1,
    ]
    expect(said.map(at)).toEqual(said.map(() => undefined))
  })
})

describe('how somebody authenticated', () => {
  const how = (acr: unknown) => identity({ claims: { acr } }).acr

  it('is what the provider says', () => {
    for (const acr of ['mfa', 'urn:mace:incommon:iap:silver', 'x'.repeat(255)]) expect(how(acr)).toBe(acr)
  })

  it('is not known where that is no text that fits into a session', () => {
    const said = [undefined, null, 2, '', ['mfa'], {}, 'x'.repeat(256), 'm\u0000fa', 'm\u00fcfa']
    expect(said.map(how)).toEqual(said.map(() => undefined))
  })
})

describe('a subject', () => {
  it.each(['a', ' ', '~', 'x'.repeat(255), 'auth0|4 2'])('may be %j', (sub) => {
    expect(identity({ claims: { sub } }).subject).toBe(sub)
  })

  it.each([
    undefined,
    null,
    42,
    '',
    ['ada'],
    {},
    'x'.repeat(256),
    'ada\u0000',
    '\u001fada',
    'ada\u007f',
    'ädä',
    'a\n',
  ])('may not be %j', (sub) => {
    expect(() => identity({ claims: { sub } })).toThrow('the subject is not 1 to 255 ASCII characters')
  })
})

describe('a token', () => {
  it.each(['somebody-else', '', null, ['portal'], 'Portal'])('that was issued to %j is refused', (azp) => {
    expect(() => identity({ claims: { azp } })).toThrow('issued to another client (azp)')
  })

  it('that was issued to us is taken', () => {
    expect(identity({ claims: { azp: 'portal' } }).subject).toBe('ada')
  })

  it.each([clock.now + 31, undefined])('that was issued at %j is refused', (iat) => {
    expect(() => identity({ claims: { iat } })).toThrow(/issued in the future|iat is no moment/)
  })

  it.each([clock.now + 30, clock.now, 0])('that was issued at %j is taken', (iat) => {
    expect(identity({ claims: { iat } }).subject).toBe('ada')
  })

  it('is kept as the hint for a logout up to 8192 characters', () => {
    expect(identity({ token: 'x'.repeat(8192) }).logoutHint).toBe('x'.repeat(8192))
    expect(identity({ token: 'x'.repeat(8193) }).logoutHint).toBe('')
  })
})

describe('a provider vouches for an address', () => {
  it.each<[string, Given, boolean]>([
    ['that it calls verified', {}, true],
    ['that it calls verified in text', { claims: { email_verified: 'true' } }, true],
    ['that it calls unverified: no', { claims: { email_verified: false } }, false],
    ['that it says nothing of: no', { claims: { email_verified: undefined } }, false],
    ['with a word that only looks true: no', { claims: { email_verified: 'TRUE' } }, false],
    ['with 1 for true: no', { claims: { email_verified: 1 } }, false],
    [
      'that it calls unverified, where it is trusted',
      { claims: { email_verified: false }, row: { trustsEmail: true } },
      true,
    ],
    ['of a domain that is its own', { row: { emailDomains: ['example.org', 'example.com'] } }, true],
    ['of a domain that is not its own: no', { row: { emailDomains: ['example.org'] } }, false],
    [
      'of a domain under its own: no',
      { claims: { email: 'ada@a.example.com' }, row: { emailDomains: ['example.com'] } },
      false,
    ],
    [
      'of a domain that is not its own, where it is trusted: no',
      { row: { emailDomains: ['example.org'], trustsEmail: true } },
      false,
    ],
    [
      'in another claim than `email`, of which `email_verified` does not speak: no',
      { claims: { upn: 'ada@example.com' }, row: { emailClaim: 'upn' } },
      false,
    ],
    [
      'in another claim, where it is trusted',
      { claims: { upn: 'ada@example.com' }, row: { emailClaim: 'upn', trustsEmail: true } },
      true,
    ],
    ['that is none: no', { claims: { email: 'ada' }, row: { trustsEmail: true } }, false],
  ])('%s', (_what, given, vouched) => {
    expect(identity(given).emailTrusted).toBe(vouched)
  })
})

describe('an address comes from', () => {
  it.each<[string, Given, string | undefined]>([
    ['the token, in normal form', { claims: { email: ' Ada@EXAMPLE.com' } }, 'ada@example.com'],
    [
      'the claim that the row names',
      { claims: { upn: 'a@example.com' }, row: { emailClaim: 'upn' } },
      'a@example.com',
    ],
    [
      'UserInfo, where the token has none',
      { claims: { email: undefined }, userInfo: { email: 'u@example.com' } },
      'u@example.com',
    ],
    ['the token, where both have one', { userInfo: { email: 'u@example.com' } }, 'ada@example.com'],
    [
      'nowhere, where the token has a bad one',
      { claims: { email: 'ada' }, userInfo: { email: 'u@example.com' } },
      undefined,
    ],
    ['nowhere, where nobody gives one', { claims: { email: undefined } }, undefined],
  ])('%s', (_where, given, email) => {
    expect(identity(given).email).toBe(email)
  })

  it('the same hand as the word that it is verified: the two are never mixed', () => {
    const claims = { email: undefined, email_verified: true }
    expect(identity({ claims, userInfo: { email: 'u@example.com' } }).emailTrusted).toBe(false)
    const both = { email: 'u@example.com', email_verified: true }
    expect(identity({ claims: { ...claims, email_verified: false }, userInfo: both }).emailTrusted).toBe(true)
    expect(identity({ claims: { email_verified: false }, userInfo: both }).emailTrusted).toBe(false)
  })

  it('UserInfo only where the token lacks it', () => {
    expect(lacksEmail(acme, ada)).toBe(false)
    expect(lacksEmail(acme, { ...ada, email: undefined })).toBe(true)
    expect(lacksEmail({ ...acme, emailClaim: 'upn' }, ada)).toBe(true)
    expect(lacksEmail(acme, { ...ada, email: null })).toBe(false)
  })
})

describe('a name', () => {
  it.each<[string, Given, string | undefined]>([
    ['is `name`', { claims: { name: 'Ada', given_name: 'Augusta' } }, 'Ada'],
    ['is else made of its parts', { claims: { given_name: 'Ada', family_name: 'Lovelace' } }, 'Ada Lovelace'],
    ['is else the one part that is there', { claims: { family_name: 'Lovelace' } }, 'Lovelace'],
    ['leaves out a part that is empty', { claims: { given_name: ' ', family_name: 'Lovelace' } }, 'Lovelace'],
    ['comes from UserInfo where the token has none', { userInfo: { name: 'Ada' } }, 'Ada'],
    [
      'comes from the token where both have one',
      { claims: { name: 'Ada' }, userInfo: { name: 'Augusta' } },
      'Ada',
    ],
    ['may be left out', {}, undefined],
    ['is text', { claims: { name: ['Ada'], given_name: 42 } }, undefined],
    ['is more than spaces', { claims: { name: ' \u200b ' } }, undefined],
    ['has nothing around it', { claims: { name: ' Ada\n' } }, 'Ada'],
    ['hides nothing', { claims: { name: 'A\u0000d\u202ea\u200b\u2028 L\u2029\u0085' } }, 'Ada L'],
    ['has up to 200 characters', { claims: { name: 'x'.repeat(200) } }, 'x'.repeat(200)],
    ['has no more than that', { claims: { name: 'x'.repeat(201) } }, undefined],
    [
      'has no more than that in parts either',
      { claims: { given_name: 'x'.repeat(100), family_name: 'y'.repeat(99) } },
      `${'x'.repeat(100)} ${'y'.repeat(99)}`,
    ],
    [
      'leaves out parts that are too long',
      { claims: { given_name: 'x'.repeat(101), family_name: 'y'.repeat(100) } },
      undefined,
    ],
  ])('%s', (_what, given, name) => {
    expect(identity(given).name).toBe(name)
  })
})

describe('a moment', () => {
  const names = ['exp', 'iat', 'nbf']

  it.each(names)('may be from 1970 to the last that there is (%s)', (name) => {
    const far = { ...clock, now: 9e12 }
    for (const moment of [0, 8.64e12])
      expect(identityFrom(acme, 'e.e.e', { ...ada, [name]: moment }, undefined, far).subject).toBe('ada')
  })

  it.each(names)('may not be a number or a text that is none (%s)', (name) => {
    for (const moment of [-1, 8.64e12 + 1, Number.POSITIVE_INFINITY, String(clock.now), null])
      expect(() => identity({ claims: { [name]: moment } })).toThrow(
        `the ID token's ${name} is no moment in time`,
      )
  })

  it('may be left out but for `iat`', () => {
    expect(identity({ claims: { exp: undefined, nbf: undefined } }).subject).toBe('ada')
  })
})

describe('the address that may be looked up', () => {
  it('is the one that the provider vouches for, whatever else was proved', () => {
    expect(trustedEmail({ email: 'ada@example.com', emailTrusted: true }, 'other@example.com')).toBe(
      'ada@example.com',
    )
  })

  it('is else the one that was proved, never the one that is only claimed', () => {
    expect(trustedEmail({ email: 'ada@example.com', emailTrusted: false }, 'other@example.com')).toBe(
      'other@example.com',
    )
    expect(trustedEmail({ email: 'ada@example.com', emailTrusted: false }, undefined)).toBeUndefined()
  })
})

it('a session at the provider has a name of up to 255 characters', () => {
  expect(identity({ claims: { sid: 'x'.repeat(255) } }).sid).toBe('x'.repeat(255))
  expect(identity({ claims: { sid: 'x'.repeat(256) } }).sid).toBeUndefined()
  expect(identity({ claims: { sid: 42 } }).sid).toBeUndefined()
})

describe('of Microsoft Entra ID', () => {
  const [tenant, other, object] = [1, 2, 3].map((digit) => `${digit}1111111-aaaa-4bbb-8ccc-000000000001`)
  const issuerOf = (segment = '') => `https://login.example/${segment}/v2.0`
  const of = (segment = '', row: Partial<Provider> = {}): Partial<Provider> => ({
    preset: 'entra',
    issuer: issuerOf(segment),
    tenants: [],
    ...row,
  })
  const one = of(tenant)
  const several = of('organizations', { tenants: [tenant!] })
  const any = of('organizations')
  const claims = { iss: issuerOf(tenant), tid: tenant, oid: object, email_verified: undefined }

  it.each<[what: string, row: Partial<Provider>, more: Claims, boolean]>([
    ['an address is not vouched for, `email_verified` or not', one, { email_verified: true }, false],
    ['nor is one of many tenants', several, {}, false],
    ['it is where one tenant is trusted', { ...one, trustsEmail: true }, {}, true],
    ['it is where listed tenants are trusted', { ...several, trustsEmail: true }, {}, true],
    ['it is not where everybody is', { ...any, trustsEmail: true }, {}, false],
    ['it is with xms_edov: true', any, { xms_edov: true }, true],
    ['it is with xms_edov: 1', any, { xms_edov: 1 }, true],
    ['it is with xms_edov: "1"', any, { xms_edov: '1' }, true],
    ['it is with xms_edov: "true"', any, { xms_edov: 'true' }, true],
    ['it is not with xms_edov: false', any, { xms_edov: false }, false],
    ['it is not with xms_edov: "0"', any, { xms_edov: '0' }, false],
    ['it is not with xms_edov: [true]', any, { xms_edov: [true] }, false],
    [
      'it is not with xms_edov in another claim',
      { ...any, emailClaim: 'preferred_username' },
      { xms_edov: true, preferred_username: 'ada@example.com' },
      false,
    ],
    [
      'it is not outside of the domains',
      { ...one, trustsEmail: true, emailDomains: ['example.org'] },
      { xms_edov: true },
      false,
    ],
  ])('%s', (_what, row, more, vouched) => {
    expect(identity({ claims: { ...claims, ...more }, row }).emailTrusted).toBe(vouched)
  })

  it('xms_edov says nothing at another provider', () => {
    const row = { ...any, preset: 'generic' }
    expect(identity({ claims: { ...claims, xms_edov: true }, row }).emailTrusted).toBe(false)
  })

  it('the Entra account is two GUIDs or undefined', () => {
    const entraOf = (more: Claims, row = one) => identity({ claims: { ...claims, ...more }, row }).entra
    expect(entraOf({})).toEqual({ tenantId: tenant, objectId: object })
    for (const oid of [undefined, 'ada', 42, object!.toUpperCase(), `${object} `])
      expect(entraOf({ oid })).toBeUndefined()
    expect(entraOf({ tid: undefined })).toBeUndefined()
    expect(entraOf({}, { ...one, preset: 'generic' })).toBeUndefined()
    expect(entraOf({ tid: 'x' }, { ...one, preset: 'generic' })).toBeUndefined()
  })

  it.each<[what: string, row: Partial<Provider>, more: Claims]>([
    ['of another tenant', one, { tid: other }],
    ['of a tenant that is not listed', several, { tid: other, iss: issuerOf(other) }],
    ['of a tenant that its issuer does not name', several, { iss: issuerOf(other) }],
    ['of no tenant, where many come in', any, { tid: undefined }],
    ['of no tenant, with the issuer of all', any, { tid: undefined, iss: issuerOf('organizations') }],
    ['of a tenant that is none', any, { tid: 'organizations', iss: issuerOf('organizations') }],
    ['of a row whose issuer is no tenant’s', of('common'), { iss: issuerOf('common') }],
  ])('a token %s is refused', (_what, row, more) => {
    expect(() => identity({ claims: { ...claims, ...more }, row })).toThrow(/does not come in by this row/)
  })

  it('a token of the one tenant need not say so', () => {
    expect(identity({ claims: { ...claims, tid: undefined }, row: one }).subject).toBe('ada')
    expect(identity({ claims, row: any }).issuer).toBe(issuerOf(tenant))
  })
})
