import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { identityFrom, lacksEmail } from '../../lib/oidc/identity.ts'
import type { Provider } from '../../lib/providers/provider.ts'
import { decide } from '../../lib/sign-in/decide.ts'
import { normaliseEmail } from '../../lib/users/email-address.ts'
import type { User } from '../../lib/users/user-directory.ts'
import { areRight, type Claims, edited, hostileEdits } from '../support/hostile-claims.ts'
import { effort } from '../support/properties.ts'

const now = Math.floor(Date.now() / 1000)
const clock = { now, tolerance: 30, askedAt: now * 1000 }
const right = { iss: 'https://id.example', clientId: 'portal', nonce: 'the nonce', ...clock }
const valid: Claims = {
  iss: right.iss,
  aud: right.clientId,
  nonce: right.nonce,
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
  clientId: fc.constant(right.clientId),
  emailClaim: fc.constantFrom('email', 'email', 'preferred_username', 'constructor', '__proto__'),
  trustsEmail: fc.boolean(),
  emailDomains: fc.constantFrom([], ['example.com'], ['other.example', 'example.org']),
}) as unknown as fc.Arbitrary<Provider>
const claims = hostileEdits(valid, victim).map((edits) => edited(valid, edits))
const userInfo = fc.option(
  fc
    .tuple(fc.constantFrom({ sub: 'ada' }, valid, victim), hostileEdits(valid, victim))
    .map(([base, edits]) => edited(base, edits)),
  { nil: undefined },
)
/** Issuer, audience, times but for `iat` (`auth_time` keeps nobody out), and nonce have been judged when the claims get this far. */
const judgedBefore = (all: Claims) => ({
  ...all,
  iss: valid.iss,
  aud: valid.aud,
  exp: valid.exp,
  nbf: undefined,
  auth_time: undefined,
  nonce: valid.nonce,
})

/** The same, as they are when somebody has judged them. */
const judged = (all: Claims) => ({ ...all, iss: right.iss, exp: valid.exp, nbf: undefined })

describe('whatever claims a provider signs', () => {
  it('name somebody only if those that are left to us are right', () => {
    const seen = { named: 0, refused: 0 }
    const property = fc.property(provider, claims, userInfo, (row, all, info) => {
      if (areRight(judgedBefore(all), right)) {
        seen.named++
        const { issuer, subject } = identityFrom(row, 'e.e.e', judged(all), info, clock)
        expect({ issuer, subject }).toEqual({ issuer: right.iss, subject: all.sub })
      } else {
        seen.refused++
        expect(() => identityFrom(row, 'e.e.e', all, info, clock)).toThrow(Error)
      }
    })
    fc.assert(property, effort(5))
    expect(seen.named).toBeGreaterThan(0)
    expect(seen.refused).toBeGreaterThan(0)
  })

  const tolerable = { ...valid, iss: right.iss }
  const sanitizeForTerminal = claims.map((all) => ({
    ...judged(all),
    sub: 'ada',
    iat: now,
    azp: undefined,
  }))

  it('vouch for an address only by the words of whoever gave it', () => {
    let vouched = 0
    const property = fc.property(provider, sanitizeForTerminal, userInfo, (row, all, info) => {
      const { email, emailTrusted } = identityFrom(row, 'e.e.e', all, info, clock)
      if (!emailTrusted) return
      vouched++
      const givers = [all as Claims, ...(lacksEmail(row, all) && info ? [info] : [])]
      const giver = givers.find(
        (each) => email !== undefined && normaliseEmail(each[row.emailClaim]) === email,
      )
      expect(giver).toBeDefined()
      if (row.emailDomains.length > 0) expect(row.emailDomains).toContain(email!.split('@')[1])
      if (!row.trustsEmail) {
        expect(row.emailClaim).toBe('email')
        expect([true, 'true']).toContain(giver!.email_verified)
      }
    })
    fc.assert(property, effort(5))
    expect(vouched).toBeGreaterThan(0)
  })

  it('become an identity of known parts, each short and visible, whatever else they say', () => {
    const property = fc.property(
      provider,
      sanitizeForTerminal,
      userInfo,
      fc.string(),
      (row, all, info, token) => {
        const identity = identityFrom(row, token, all, info, clock)
        const { email, emailTrusted, name, sid, logoutHint, ...rest } = identity
        const { authenticatedAt = 0, acr = 'x', ...who } = rest
        expect(who).toEqual({ issuer: right.iss, subject: 'ada', askedAt: clock.askedAt })
        expect(authenticatedAt >= 0 && authenticatedAt <= clock.now + clock.tolerance).toBe(true)
        expect(acr).toMatch(/^[\u0020-\u007e]{1,255}$/)
        expect(normaliseEmail(email)).toBe(email)
        expect(typeof emailTrusted).toBe('boolean')
        expect(['string', 'undefined']).toContain(typeof name)
        expect(name).not.toBe('')
        expect(name ?? '').not.toMatch(/[\p{Cc}\p{Cf}]|^\s|\s$/u)
        expect((name ?? '').length).toBeLessThanOrEqual(200)
        // A logout token names it to the letter.
        if (sid !== undefined) expect(sid).toBe((all as Claims).sid)
        expect(sid ?? 'x').toMatch(/^[\u0020-\u007e]{1,255}$/)
        expect(logoutHint).toBe(token)
      },
    )
    fc.assert(property, effort(2))
  })

  it('say nothing by roles, groups and whatever else they hold', () => {
    const others = fc.dictionary(
      fc.string().map((name) => `x-${name}`),
      fc.jsonValue(),
    )
    const roles = fc.record({ roles: fc.jsonValue(), groups: fc.jsonValue(), admin: fc.jsonValue() })
    const property = fc.property(provider, others, roles, (row, ...more) => {
      const without = identityFrom(row, 'e.e.e', tolerable, undefined, clock)
      const all = Object.assign({}, tolerable, ...more) as Claims
      expect(identityFrom(row, 'e.e.e', all, undefined, clock)).toEqual(without)
    })
    fc.assert(property, effort())
  })
})

describe('whatever is known of an identity', () => {
  const user = (id: string) =>
    fc.option(
      fc.record(
        { id: fc.constant(id), email: fc.constant(`${id}@example.com`), active: fc.boolean() },
        { requiredKeys: ['id', 'email'] },
      ) as fc.Arbitrary<User>,
      { nil: undefined },
    )
  const known = fc.record({
    linkedUser: user('linked'),
    holder: user('holder'),
    address: fc.option(fc.emailAddress(), { nil: undefined }),
    registrationOpen: fc.boolean(),
  })
  type Situation = typeof known extends fc.Arbitrary<infer T> ? T : never

  const turnOf = ({ linkedUser, holder, address, registrationOpen }: Situation) =>
    decide({ address, linkedUser, userWithAddress: holder, registrationOpen })
  const property = (check: (situation: Situation, turn: ReturnType<typeof decide>) => void) =>
    fc.assert(
      fc.property(known, (situation) => check(situation, turnOf(situation))),
      effort(),
    )

  it('lets nobody in who is not active', () => {
    property((_situation, decision) => {
      if ('user' in decision) expect(decision.user.active).not.toBe(false)
    })
  })

  it('links and registers on nothing but an address that is certain', () => {
    property(({ address }, { kind }) => {
      if (address === undefined) expect(['sign-in', 'verify-email', 'refuse']).toContain(kind)
    })
  })

  it('lets in the linked user or nobody, once there is one', () => {
    property(({ linkedUser }, decision) => {
      if (!linkedUser) return
      expect(decision).toEqual(
        linkedUser.active === false
          ? { kind: 'refuse', reason: 'user_inactive' }
          : { kind: 'sign-in', user: linkedUser },
      )
    })
  })

  it('makes no second user of an address, and none where the door is closed', () => {
    property(({ holder, registrationOpen }, { kind }) => {
      if (holder || !registrationOpen) expect(kind).not.toBe('register')
    })
  })
})
