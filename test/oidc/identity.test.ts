import { describe, expect, it } from '@jest/globals'
import {
  type Claims,
  identityFrom,
  needsUserInfo,
  trustedEmail,
  withAddress,
} from '../../lib/oidc/identity.ts'
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

function identity({ claims = {}, userInfo, row = {}, token: idToken = 'e.e.e' }: Given = {}) {
  const provider = { ...acme, ...row }
  const idClaims = { ...ada, ...claims }
  return withAddress(identityFrom(provider, { idToken, idClaims }, clock), provider, { idClaims, userInfo })
}

it('an identity has only the claims that the portal uses', () => {
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

describe('the time of authentication', () => {
  const at = (auth_time: unknown) => identity({ claims: { auth_time } }).authenticatedAt

  it('is auth_time, up to now', () => {
    const latest = clock.now + clock.tolerance
    expect([1, 1_799_999_000, latest].map(at)).toEqual([1, 1_799_999_000, latest])
  })

  it('is unknown if auth_time is invalid or in the future', () => {
    const values = [
      undefined,
      null,
      '1799999000',
      -1,
      0,
      Number.POSITIVE_INFINITY,
      Number.NaN,
      {},
      1_800_000_000 + clock.tolerance + 1,
    ]
    expect(values.map(at)).toEqual(values.map(() => undefined))
  })
})

describe('the authentication context', () => {
  const acrOf = (acr: unknown) => identity({ claims: { acr } }).acr

  it('is acr', () => {
    for (const acr of ['mfa', 'urn:mace:incommon:iap:silver', 'x'.repeat(255)]) expect(acrOf(acr)).toBe(acr)
  })

  it('is unknown if acr is not a short ASCII string', () => {
    const values = [undefined, null, 2, '', ['mfa'], {}, 'x'.repeat(256), 'm\u0000fa', 'm\u00fcfa']
    expect(values.map(acrOf)).toEqual(values.map(() => undefined))
  })
})

describe('a subject', () => {
  it.each(['a', ' ', '~', 'x'.repeat(255), 'auth0|4 2'])('may be %j', (sub) => {
    expect(identity({ claims: { sub } }).subject).toBe(sub)
  })

  it.each([
    'Not supported currently. Use oid claim.',
    'not supported',
    'null',
    'undefined',
    'None',
    '[object Object]',
    '00000000-0000-0000-0000-000000000000',
  ])('may not be the constant %j', (sub) => {
    expect(() => identity({ claims: { sub } })).toThrow('the subject is a constant and identifies nobody')
  })

  it.each(['nullable', 'none@example.com', 'Use oid claim', '00000000-0000-0000-0000-000000000001'])(
    'may be %j, which only resembles a constant',
    (sub) => expect(identity({ claims: { sub } }).subject).toBe(sub),
  )

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
  it.each(['another-client', '', null, ['portal'], 'Portal'])('that was issued to %j is refused', (azp) => {
    expect(() => identity({ claims: { azp } })).toThrow('issued to another client (azp)')
  })

  it('that was issued to us is accepted', () => {
    expect(identity({ claims: { azp: 'portal' } }).subject).toBe('ada')
  })

  it.each([clock.now + 31, undefined])('that was issued at %j is refused', (iat) => {
    expect(() => identity({ claims: { iat } })).toThrow(/issued in the future|iat is not a valid time/)
  })

  it.each([clock.now + 30, clock.now, 0])('that was issued at %j is accepted', (iat) => {
    expect(identity({ claims: { iat } }).subject).toBe('ada')
  })

  it('is the logout hint if it has at most 8192 characters', () => {
    expect(identity({ token: 'x'.repeat(8192) }).logoutHint).toBe('x'.repeat(8192))
    expect(identity({ token: 'x'.repeat(8193) }).logoutHint).toBe('')
  })
})

describe('an e-mail address', () => {
  it.each<[string, Given, boolean]>([
    ['is trusted if it is verified', {}, true],
    ['is trusted if email_verified is the string true', { claims: { email_verified: 'true' } }, true],
    ['is not trusted if it is unverified', { claims: { email_verified: false } }, false],
    ['is not trusted without email_verified', { claims: { email_verified: undefined } }, false],
    ['is not trusted if email_verified is TRUE', { claims: { email_verified: 'TRUE' } }, false],
    ['is not trusted if email_verified is 1', { claims: { email_verified: 1 } }, false],
    [
      'is trusted if it is unverified, but the provider is trusted',
      { claims: { email_verified: false }, row: { trustsEmail: true } },
      true,
    ],
    ['is trusted if its domain is listed', { row: { emailDomains: ['example.org', 'example.com'] } }, true],
    ['is not trusted if its domain is not listed', { row: { emailDomains: ['example.org'] } }, false],
    [
      'is not trusted if its domain is a subdomain of a listed one',
      { claims: { email: 'ada@a.example.com' }, row: { emailDomains: ['example.com'] } },
      false,
    ],
    [
      'is not trusted if its domain is not listed, even if the provider is trusted',
      { row: { emailDomains: ['example.org'], trustsEmail: true } },
      false,
    ],
    [
      'is not trusted in a claim other than `email`, to which `email_verified` does not apply',
      { claims: { upn: 'ada@example.com' }, row: { emailClaim: 'upn' } },
      false,
    ],
    [
      'is trusted in another claim, if the provider is trusted',
      { claims: { upn: 'ada@example.com' }, row: { emailClaim: 'upn', trustsEmail: true } },
      true,
    ],
    ['is not trusted if it is invalid', { claims: { email: 'ada' }, row: { trustsEmail: true } }, false],
  ])('%s', (_what, given, trusted) => {
    expect(identity(given).emailTrusted).toBe(trusted)
  })
})

describe('the e-mail address comes from', () => {
  it.each<[string, Given, string | undefined]>([
    ['the token, normalized', { claims: { email: ' Ada@EXAMPLE.com' } }, 'ada@example.com'],
    [
      'the claim that the row names',
      { claims: { upn: 'a@example.com' }, row: { emailClaim: 'upn' } },
      'a@example.com',
    ],
    [
      'UserInfo, if the token has none',
      { claims: { email: undefined }, userInfo: { email: 'u@example.com' } },
      'u@example.com',
    ],
    ['the token, if both have one', { userInfo: { email: 'u@example.com' } }, 'ada@example.com'],
    [
      'nowhere, if the token has an invalid one',
      { claims: { email: 'ada' }, userInfo: { email: 'u@example.com' } },
      undefined,
    ],
    ['nowhere, if there is none', { claims: { email: undefined } }, undefined],
  ])('%s', (_where, given, email) => {
    expect(identity(given).email).toBe(email)
  })

  it('the same source as email_verified', () => {
    const claims = { email: undefined, email_verified: true }
    expect(identity({ claims, userInfo: { email: 'u@example.com' } }).emailTrusted).toBe(false)
    const both = { email: 'u@example.com', email_verified: true }
    expect(identity({ claims, userInfo: both }).emailTrusted).toBe(true)
  })

  it.each<[idToken: Claims, userInfo: Claims, trusted: boolean]>([
    // Okta
    [{ email_verified: undefined }, { email: 'ada@example.com', email_verified: true }, true],
    [{ email_verified: undefined }, { email: 'ADA@Example.com', email_verified: true }, true],
    [{ email_verified: undefined }, { email: 'ada@example.com' }, false],
    [{ email_verified: undefined }, { email: 'ada@example.com', email_verified: false }, false],
    [{ email_verified: undefined }, { email: 'other@example.com', email_verified: true }, false],
    [{ email_verified: undefined }, { email_verified: true }, false],
    [{ email_verified: false }, { email: 'ada@example.com', email_verified: true }, false],
    [{ email_verified: true }, { email: 'ada@example.com', email_verified: false }, false],
    [{ email: undefined, email_verified: false }, { email: 'ada@example.com', email_verified: true }, false],
  ])(
    'both sources, of which a “no” stays and only an equal address counts: %j and %j',
    (claims, userInfo, trusted) => {
      expect(identity({ claims, userInfo })).toMatchObject({
        email: 'ada@example.com',
        emailTrusted: trusted,
      })
    },
  )
})

describe('UserInfo', () => {
  const member = { organizationClaim: 'org_id', organizationValues: ['acme'] }

  it.each<[reason: string, needed: boolean, claims: Claims, row?: Partial<Provider>]>([
    ['a confirmed address', false, {}],
    ['no address', true, { email: undefined }],
    ['no address in the claim of the settings', true, {}, { emailClaim: 'upn' }],
    ['no confirmation of the address', true, { email_verified: undefined }],
    ['a “no”', false, { email_verified: false }],
    [
      'no confirmation, but a provider that is trusted',
      false,
      { email_verified: undefined },
      { trustsEmail: true },
    ],
    ['another domain', false, { email_verified: undefined }, { emailDomains: ['other.example'] }],
    ['no organisation', true, {}, member],
    ['neither confirmation nor organisation', true, { email_verified: undefined }, member],
    ['another organisation', false, { org_id: 'evil' }, member],
    [
      'another organisation and no confirmation',
      false,
      { org_id: 'evil', email_verified: undefined },
      member,
    ],
    ['no organisation at Google', true, {}, { preset: 'google' }],
    ['no organisation at Gmail', false, { email: 'ada@gmail.com' }, { preset: 'google' }],
    ['an invalid address', false, { email: 'nobody' }],
  ])('with %s is needed: %s', (_reason, needed, claims, row = {}) => {
    expect(needsUserInfo({ ...acme, ...row }, { ...ada, ...claims })).toBe(needed)
  })
})

describe('the name', () => {
  it.each<[string, Given, string | undefined]>([
    ['is `name`', { claims: { name: 'Ada', given_name: 'Augusta' } }, 'Ada'],
    [
      'is otherwise made of its parts',
      { claims: { given_name: 'Ada', family_name: 'Lovelace' } },
      'Ada Lovelace',
    ],
    ['is otherwise the only given part', { claims: { family_name: 'Lovelace' } }, 'Lovelace'],
    ['omits an empty part', { claims: { given_name: ' ', family_name: 'Lovelace' } }, 'Lovelace'],
    ['comes from UserInfo if the token has none', { userInfo: { name: 'Ada' } }, 'Ada'],
    [
      'comes from the token if both have one',
      { claims: { name: 'Ada' }, userInfo: { name: 'Augusta' } },
      'Ada',
    ],
    ['may be absent', {}, undefined],
    ['is a string', { claims: { name: ['Ada'], given_name: 42 } }, undefined],
    ['is not blank', { claims: { name: ' \u200b ' } }, undefined],
    ['is trimmed', { claims: { name: ' Ada\n' } }, 'Ada'],
    [
      'has no invisible characters',
      { claims: { name: 'A\u0000d\u202ea\u200b\u2028 L\u2029\u0085' } },
      'Ada L',
    ],
    ['has up to 200 characters', { claims: { name: 'x'.repeat(200) } }, 'x'.repeat(200)],
    ['has no more than 200 characters', { claims: { name: 'x'.repeat(201) } }, undefined],
    [
      'has no more than 200 characters if made of parts',
      { claims: { given_name: 'x'.repeat(100), family_name: 'y'.repeat(99) } },
      `${'x'.repeat(100)} ${'y'.repeat(99)}`,
    ],
    [
      'omits parts that are too long',
      { claims: { given_name: 'x'.repeat(101), family_name: 'y'.repeat(100) } },
      undefined,
    ],
  ])('%s', (_what, given, name) => {
    expect(identity(given).name).toBe(name)
  })
})

describe('a time', () => {
  const names = ['exp', 'iat', 'nbf']

  it.each(names)('may be from 1970 to the maximum of a Date (%s)', (name) => {
    const far = { ...clock, now: 9e12 }
    for (const time of [0, 8.64e12])
      expect(identityFrom(acme, { idToken: 'e.e.e', idClaims: { ...ada, [name]: time } }, far).subject).toBe(
        'ada',
      )
  })

  it.each(names)('may not be out of range or a string (%s)', (name) => {
    for (const time of [-1, 8.64e12 + 1, Number.POSITIVE_INFINITY, String(clock.now), null])
      expect(() => identity({ claims: { [name]: time } })).toThrow(
        `the ID token's ${name} is not a valid time`,
      )
  })

  it('may be absent, except `iat`', () => {
    expect(identity({ claims: { exp: undefined, nbf: undefined } }).subject).toBe('ada')
  })
})

describe('the address for the user lookup', () => {
  it('is the trusted one, even if another address was verified', () => {
    expect(trustedEmail({ email: 'ada@example.com', emailTrusted: true }, 'other@example.com')).toBe(
      'ada@example.com',
    )
  })

  it('is otherwise the one that the user verified, and never an untrusted one', () => {
    expect(trustedEmail({ email: 'ada@example.com', emailTrusted: false }, 'other@example.com')).toBe(
      'other@example.com',
    )
    expect(trustedEmail({ email: 'ada@example.com', emailTrusted: false }, undefined)).toBeUndefined()
  })
})

it('a sid has at most 255 characters', () => {
  expect(identity({ claims: { sid: 'x'.repeat(255) } }).sid).toBe('x'.repeat(255))
  const long = ['x'.repeat(256), 'x'.repeat(15_000), 'session\u0000', 'sitzung-ä']
  const stored = long.map((sid) => identity({ claims: { sid } }).sid)
  expect(new Set(stored).size).toBe(long.length)
  for (const sid of stored) expect(sid).toMatch(/^sha256 [\w-]{43}$/)
  expect(identity({ claims: { sid: 42 } }).sid).toBeUndefined()
})

describe('with Microsoft Entra ID,', () => {
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
    ['an address is not trusted, even with email_verified', one, { email_verified: true }, false],
    ['an address of one of several tenants is not trusted', several, {}, false],
    ['an address is trusted if one tenant is trusted', { ...one, trustsEmail: true }, {}, true],
    [
      'an address is trusted if the only listed tenant is trusted',
      { ...several, trustsEmail: true },
      {},
      true,
    ],
    [
      'an address is not trusted if several tenants are trusted',
      { ...several, tenants: [tenant!, other!], trustsEmail: true },
      {},
      false,
    ],
    ['an address is not trusted if all tenants are trusted', { ...any, trustsEmail: true }, {}, false],
    ['an address is trusted with xms_edov: true', any, { xms_edov: true }, true],
    ['an address is trusted with xms_edov: 1', any, { xms_edov: 1 }, true],
    ['an address is trusted with xms_edov: "1"', any, { xms_edov: '1' }, true],
    ['an address is trusted with xms_edov: "true"', any, { xms_edov: 'true' }, true],
    ['an address is not trusted with xms_edov: false', any, { xms_edov: false }, false],
    ['an address is not trusted with xms_edov: "0"', any, { xms_edov: '0' }, false],
    ['an address is not trusted with xms_edov: [true]', any, { xms_edov: [true] }, false],
    [
      'an address is not trusted with xms_edov in another claim',
      { ...any, emailClaim: 'preferred_username' },
      { xms_edov: true, preferred_username: 'ada@example.com' },
      false,
    ],
    [
      'an address is not trusted outside the listed domains',
      { ...one, trustsEmail: true, emailDomains: ['example.org'] },
      { xms_edov: true },
      false,
    ],
  ])('%s', (_what, row, more, trusted) => {
    expect(identity({ claims: { ...claims, ...more }, row }).emailTrusted).toBe(trusted)
  })

  it('xms_edov is ignored at another provider', () => {
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
    ['of no tenant, if several are allowed', any, { tid: undefined }],
    ['of no tenant, with the issuer of all', any, { tid: undefined, iss: issuerOf('organizations') }],
    ['of an invalid tenant', any, { tid: 'organizations', iss: issuerOf('organizations') }],
    ['of a row whose issuer is not a tenant', of('common'), { iss: issuerOf('common') }],
  ])('a token %s is refused', (_what, row, more) => {
    expect(() => identity({ claims: { ...claims, ...more }, row })).toThrow(/this provider does not accept/)
  })

  it('a token of the only tenant need not name it', () => {
    expect(identity({ claims: { ...claims, tid: undefined }, row: one }).subject).toBe('ada')
    expect(identity({ claims, row: any }).issuer).toBe(issuerOf(tenant))
  })
})
