import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { identityFrom, type ReceivedClaims, withAddress } from '../../lib/oidc/identity.ts'
import type { Provider } from '../../lib/providers/provider.ts'
import { decide } from '../../lib/sign-in/decide.ts'
import { normaliseEmail } from '../../lib/users/email-address.ts'
import type { User } from '../../lib/users/user-directory.ts'
import { applyEdits, areValid, type Claims, hostileEdits } from '../support/hostile-claims.ts'
import { effort } from '../support/properties.ts'

const now = Math.floor(Date.now() / 1000)
const clock = { now, tolerance: 30, askedAt: now * 1000 }

function completeIdentity(
  row: Provider,
  { idToken = 'e.e.e', ...received }: ReceivedClaims & { idToken?: string },
) {
  return withAddress(identityFrom(row, { idToken, idClaims: received.idClaims }, clock), row, received)
}
const expected = { iss: 'https://id.example', clientId: 'portal', nonce: 'the nonce', ...clock }
const valid: Claims = {
  iss: expected.iss,
  aud: expected.clientId,
  nonce: expected.nonce,
  iat: now,
  exp: now + 300,
  sub: 'ada',
  email: 'ada@example.com',
  email_verified: true,
  name: 'Ada Lovelace',
  sid: 'a session',
}
const victim: Claims = { ...valid, sub: 'grace', email: 'grace@example.com', name: 'Grace Hopper' }

const provider = fc.record({
  clientId: fc.constant(expected.clientId),
  emailClaim: fc.constantFrom('email', 'email', 'preferred_username', 'constructor', '__proto__'),
  trustsEmail: fc.boolean(),
  emailDomains: fc.constantFrom([], ['example.com'], ['other.example', 'example.org']),
}) as unknown as fc.Arbitrary<Provider>
const claims = hostileEdits(valid, victim).map((edits) => applyEdits(valid, edits))
const userInfo = fc.option(
  fc
    .tuple(fc.constantFrom({ sub: 'ada' }, valid, victim), hostileEdits(valid, victim))
    .map(([base, edits]) => applyEdits(base, edits)),
  { nil: undefined },
)
/** `identityFrom` need not check these claims: openid-client has checked them before. An invalid `auth_time` is ignored. */
const withCheckedClaims = (all: Claims) => ({
  ...all,
  iss: valid.iss,
  aud: valid.aud,
  exp: valid.exp,
  nbf: undefined,
  auth_time: undefined,
  nonce: valid.nonce,
})

const withValidTimes = (all: Claims) => ({ ...all, iss: expected.iss, exp: valid.exp, nbf: undefined })

describe('any claims that a provider signs', () => {
  it('identify a user only if the claims that we check ourselves are valid', () => {
    const seen = { identified: 0, refused: 0 }
    const property = fc.property(provider, claims, userInfo, (row, all, info) => {
      if (areValid(withCheckedClaims(all), expected)) {
        seen.identified++
        const { issuer, subject } = completeIdentity(row, { idClaims: withValidTimes(all), userInfo: info })
        expect({ issuer, subject }).toEqual({ issuer: expected.iss, subject: all.sub })
      } else {
        seen.refused++
        expect(() => completeIdentity(row, { idClaims: all, userInfo: info })).toThrow(Error)
      }
    })
    fc.assert(property, effort(5))
    expect(seen.identified).toBeGreaterThan(0)
    expect(seen.refused).toBeGreaterThan(0)
  })

  const acceptedClaims = claims.map((all) => ({
    ...withValidTimes(all),
    sub: 'ada',
    iat: now,
    azp: undefined,
  }))

  it('make an address trusted only if the document that contains it says so', () => {
    let trusted = 0
    const property = fc.property(provider, acceptedClaims, userInfo, (row, all, info) => {
      const { email, emailTrusted } = completeIdentity(row, { idClaims: all, userInfo: info })
      if (!emailTrusted) return
      trusted++
      expect(email).toBeDefined()
      const addressIn = (claim: unknown) =>
        normaliseEmail(row.emailClaim !== 'email' && Array.isArray(claim) ? claim[0] : claim)
      const documents: Claims[] = info ? [all, info] : [all]
      const sources = documents.filter((each) => addressIn(each[row.emailClaim]) === email)
      expect(sources).not.toEqual([])
      if (row.emailDomains.length > 0) expect(row.emailDomains).toContain(email!.split('@')[1])
      if (!row.trustsEmail) {
        expect(row.emailClaim).toBe('email')
        const stated = sources.map((each) => each.email_verified).filter((each) => each !== undefined)
        expect(stated).not.toEqual([])
        for (const each of stated) expect([true, 'true']).toContain(each)
        expect([undefined, true, 'true']).toContain((all as Claims).email_verified)
      }
    })
    fc.assert(property, effort(5))
    expect(trusted).toBeGreaterThan(0)
  })

  it('become an identity whose members are known, short and printable', () => {
    const property = fc.property(provider, acceptedClaims, userInfo, fc.string(), (row, all, info, token) => {
      const identity = completeIdentity(row, { idToken: token, idClaims: all, userInfo: info })
      const { email, emailTrusted, name, sid, logoutHint, ...rest } = identity
      const { authenticatedAt = 0, acr = 'x', ...who } = rest
      expect(who).toEqual({ issuer: expected.iss, subject: 'ada', askedAt: clock.askedAt })
      expect(authenticatedAt >= 0 && authenticatedAt <= clock.now + clock.tolerance).toBe(true)
      expect(acr).toMatch(/^[\u0020-\u007e]{1,255}$/)
      expect(normaliseEmail(email)).toBe(email)
      expect(typeof emailTrusted).toBe('boolean')
      expect(['string', 'undefined']).toContain(typeof name)
      expect(name).not.toBe('')
      expect(name ?? '').not.toMatch(/[\p{Cc}\p{Cf}]|^\s|\s$/u)
      expect((name ?? '').length).toBeLessThanOrEqual(200)
      // A logout token contains exactly this value.
      const given = (all as Claims).sid
      if (sid !== undefined && !sid.startsWith('sha256 ')) expect(sid).toBe(given)
      expect(typeof sid).toBe(typeof given === 'string' ? 'string' : 'undefined')
      expect(sid ?? 'x').toMatch(/^[\u0020-\u007e]{1,255}$/)
      expect(logoutHint).toBe(token)
    })
    fc.assert(property, effort(2))
  })

  it('have no effect through roles, groups and other claims', () => {
    const others = fc.dictionary(
      fc.string().map((name) => `x-${name}`),
      fc.jsonValue(),
    )
    const roles = fc.record({ roles: fc.jsonValue(), groups: fc.jsonValue(), admin: fc.jsonValue() })
    const property = fc.property(provider, others, roles, (row, ...more) => {
      const without = completeIdentity(row, { idClaims: valid })
      const all = Object.assign({}, valid, ...more) as Claims
      expect(completeIdentity(row, { idClaims: all })).toEqual(without)
    })
    fc.assert(property, effort())
  })
})

describe('the decision about any identity', () => {
  const user = (id: string) =>
    fc.option(
      fc.record(
        { id: fc.constant(id), email: fc.constant(`${id}@example.com`), active: fc.boolean() },
        { requiredKeys: ['id', 'email'] },
      ) as fc.Arbitrary<User>,
      { nil: undefined },
    )
  const situations = fc.record({
    linkedUser: user('linked'),
    holder: user('holder'),
    address: fc.option(fc.emailAddress(), { nil: undefined }),
    registrationOpen: fc.boolean(),
  })
  type Situation = typeof situations extends fc.Arbitrary<infer T> ? T : never

  const decideFor = ({ linkedUser, holder, address, registrationOpen }: Situation) =>
    decide({ address, linkedUser, userWithAddress: holder, registrationOpen })
  const property = (check: (situation: Situation, decision: ReturnType<typeof decide>) => void) =>
    fc.assert(
      fc.property(situations, (situation) => check(situation, decideFor(situation))),
      effort(),
    )

  it('never signs in an inactive user', () => {
    property((_situation, decision) => {
      if ('user' in decision) expect(decision.user.active).not.toBe(false)
    })
  })

  it('links and registers only with a trusted address', () => {
    property(({ address }, { kind }) => {
      if (address === undefined) expect(['sign-in', 'verify-email', 'refuse']).toContain(kind)
    })
  })

  it('signs in the linked user or nobody, if the identity is linked', () => {
    property(({ linkedUser }, decision) => {
      if (!linkedUser) return
      expect(decision).toEqual(
        linkedUser.active === false
          ? { kind: 'refuse', reason: 'user_inactive' }
          : { kind: 'sign-in', user: linkedUser, proof: expect.stringMatching(/^(new|none)$/) },
      )
    })
  })

  it('registers no second user for an address, and nobody if registration is closed', () => {
    property(({ holder, registrationOpen }, { kind }) => {
      if (holder || !registrationOpen) expect(kind).not.toBe('register')
    })
  })
})
