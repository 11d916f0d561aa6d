import { describe, expect, it } from '@jest/globals'
import { decide, type Known } from '../lib/sign-in/decide.ts'
import type { User } from '../lib/users/user-directory.ts'

const email = 'ada@example.com'
const linked: User = { id: 'linked', email: 'before@example.com', name: 'Ada' }
const holder: User = { id: 'holder', email, name: 'Ada', active: true }
const inactive = (user: User): User => ({ ...user, active: false })
const nobody: Known = {
  identity: { email, emailVouched: true },
  linkedUser: undefined,
  userWithEmail: undefined,
  registrationOpen: true,
}
const unvouched = { email, emailVouched: false }
const without = { email: undefined, emailVouched: false }

describe('an identity', () => {
  it.each<[string, Partial<Known>, ReturnType<typeof decide>]>([
    ['that is linked signs its user in', { linkedUser: linked }, { turn: 'known', user: linked }],
    [
      'that is linked signs its user in, whoever has its address by now',
      { linkedUser: linked, userWithEmail: holder },
      { turn: 'known', user: linked },
    ],
    [
      'that is linked signs its user in, though nobody vouches for the address any more',
      { linkedUser: linked, identity: unvouched },
      { turn: 'known', user: linked },
    ],
    [
      'that is linked to an inactive user is refused, even if an active one has its address',
      { linkedUser: inactive(linked), userWithEmail: holder },
      { turn: 'refuse', reason: 'user_inactive' },
    ],
    [
      'with the vouched address of a user is linked to that user',
      { userWithEmail: holder },
      { turn: 'link', user: holder },
    ],
    [
      'with the vouched address of a user is linked though registration is closed',
      { userWithEmail: holder, registrationOpen: false },
      { turn: 'link', user: holder },
    ],
    [
      'with the vouched address of an inactive user is refused',
      { userWithEmail: inactive(holder) },
      { turn: 'refuse', reason: 'user_inactive' },
    ],
    ['with a new, vouched address registers', {}, { turn: 'register', email }],
    [
      'with a new, vouched address is refused where registration is closed',
      { registrationOpen: false },
      { turn: 'refuse', reason: 'registration_closed' },
    ],
    [
      'with the address of a user, for which nobody vouches, has to prove it',
      { identity: unvouched, userWithEmail: holder },
      { turn: 'prove' },
    ],
    [
      'with a new address, for which nobody vouches, has to prove it',
      { identity: unvouched },
      { turn: 'prove' },
    ],
    ['without an address has to prove one', { identity: without }, { turn: 'prove' }],
  ])('%s', (_sentence, known, turn) => {
    expect(decide({ ...nobody, ...known })).toEqual(turn)
  })
})

describe('in every combination of what can be known', () => {
  const users = (user: User) => [undefined, user, { ...user, active: true }, inactive(user)]
  const all: Known[] = [email, undefined].flatMap((address) =>
    [true, false].flatMap((emailVouched) =>
      users(linked).flatMap((linkedUser) =>
        users(holder).flatMap((userWithEmail) =>
          [true, false].map((registrationOpen) => ({
            identity: { email: address, emailVouched },
            linkedUser,
            userWithEmail,
            registrationOpen,
          })),
        ),
      ),
    ),
  )
  const decisions = all.map((known) => ({ known, turn: decide(known) }))
  const turns = <T extends ReturnType<typeof decide>['turn']>(name: T) =>
    decisions.flatMap(({ known, turn }) =>
      turn.turn === name ? [{ known, turn: turn as Extract<ReturnType<typeof decide>, { turn: T }> }] : [],
    )

  it('there are 128, and every turn is among them', () => {
    expect(all).toHaveLength(128)
    expect([...new Set(decisions.map(({ turn }) => turn.turn))].sort()).toEqual([
      'known',
      'link',
      'prove',
      'refuse',
      'register',
    ])
  })

  it('only the linked user is known, and only while active', () => {
    for (const { known, turn } of turns('known')) {
      expect(turn.user).toBe(known.linkedUser)
      expect(turn.user.active).not.toBe(false)
    }
  })

  it('a link needs a vouched address, and goes to the active user who has it', () => {
    for (const { known, turn } of turns('link')) {
      expect(known.linkedUser).toBeUndefined()
      expect(known.identity).toEqual({ email, emailVouched: true })
      expect(turn.user).toBe(known.userWithEmail)
      expect(turn.user.active).not.toBe(false)
    }
  })

  it('a registration needs a vouched address that is free, and an open door', () => {
    for (const { known, turn } of turns('register')) {
      expect(known).toMatchObject({
        identity: { email, emailVouched: true },
        linkedUser: undefined,
        userWithEmail: undefined,
        registrationOpen: true,
      })
      expect(turn.email).toBe(email)
    }
  })

  it('who has to prove an address does not learn whether somebody has it', () => {
    const asked = all.filter(
      ({ identity, linkedUser }) => !linkedUser && !(identity.email && identity.emailVouched),
    )
    expect(asked).toHaveLength(24)
    for (const known of asked) expect(decide(known)).toEqual({ turn: 'prove' })
  })
})
