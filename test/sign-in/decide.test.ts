import { describe, expect, it } from '@jest/globals'
import { type DecisionInput, decide } from '../../lib/sign-in/decide.ts'
import type { User } from '../../lib/users/user-directory.ts'

const email = 'ada@example.com'
const linked: User = { id: 'linked', email: 'before@example.com', name: 'Ada' }
const holder: User = { id: 'holder', email, name: 'Ada', active: true }
const inactive = (user: User): User => ({ ...user, active: false })
const nobody: DecisionInput = {
  address: email,
  linkedUser: undefined,
  userWithAddress: undefined,
  registrationOpen: true,
}

describe('an identity', () => {
  it.each<[string, Partial<DecisionInput>, ReturnType<typeof decide>]>([
    ['that is linked signs its user in', { linkedUser: linked }, { turn: 'known', user: linked }],
    [
      'that is linked signs its user in, whoever has its address by now',
      { linkedUser: linked, userWithAddress: holder },
      { turn: 'known', user: linked },
    ],
    [
      'that is linked signs its user in, though no address is certain any more',
      { linkedUser: linked, address: undefined },
      { turn: 'known', user: linked },
    ],
    [
      'that is linked to an inactive user is refused, even if an active one has its address',
      { linkedUser: inactive(linked), userWithAddress: holder },
      { turn: 'refuse', reason: 'user_inactive' },
    ],
    [
      'of an Entra account that a user has is linked to that user, even if another user has its address',
      { relinkedUser: linked, userWithAddress: holder },
      { turn: 'link', user: linked, relinked: true },
    ],
    [
      'of an Entra account that a user has is linked although no address is certain and registration is closed',
      { relinkedUser: linked, address: undefined, registrationOpen: false },
      { turn: 'link', user: linked, relinked: true },
    ],
    [
      'of an Entra account that an inactive user has is refused, even if an active user has its address',
      { relinkedUser: inactive(linked), userWithAddress: holder },
      { turn: 'refuse', reason: 'user_inactive' },
    ],
    [
      'that is linked signs its user in, even if another user has the same Entra account',
      { linkedUser: linked, relinkedUser: holder },
      { turn: 'known', user: linked },
    ],
    [
      'with the certain address of a user is linked to that user',
      { userWithAddress: holder },
      { turn: 'link', user: holder },
    ],
    [
      'with the certain address of a user is linked though registration is closed',
      { userWithAddress: holder, registrationOpen: false },
      { turn: 'link', user: holder },
    ],
    [
      'with the certain address of an inactive user is refused',
      { userWithAddress: inactive(holder) },
      { turn: 'refuse', reason: 'user_inactive' },
    ],
    ['with a new, certain address registers', {}, { turn: 'register', email }],
    [
      'with a new, certain address is refused where registration is closed',
      { registrationOpen: false },
      { turn: 'refuse', reason: 'registration_closed' },
    ],
    ['without a certain address has to prove one', { address: undefined }, { turn: 'prove' }],
    [
      'without a certain address has to prove one though registration is closed, so that the answer tells nothing',
      { address: undefined, registrationOpen: false },
      { turn: 'prove' },
    ],
  ])('%s', (_sentence, known, turn) => {
    expect(decide({ ...nobody, ...known })).toEqual(turn)
  })
})

describe('in every combination of what can be known', () => {
  const users = (user: User) => [undefined, user, { ...user, active: true }, inactive(user)]
  const all: DecisionInput[] = [email, undefined].flatMap((address) =>
    users(linked).flatMap((linkedUser) =>
      users(holder).flatMap((userWithAddress) =>
        [true, false].map((registrationOpen) => ({ address, linkedUser, userWithAddress, registrationOpen })),
      ),
    ),
  )
  const decisions = all.map((known) => ({ known, turn: decide(known) }))
  const turns = <T extends ReturnType<typeof decide>['turn']>(name: T) =>
    decisions.flatMap(({ known, turn }) =>
      turn.turn === name ? [{ known, turn: turn as Extract<ReturnType<typeof decide>, { turn: T }> }] : [],
    )

  it('there are 64, and every turn is among them', () => {
    expect(all).toHaveLength(64)
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

  it('a link needs a certain address, and goes to the active user who has it', () => {
    for (const { known, turn } of turns('link')) {
      expect(known.linkedUser).toBeUndefined()
      expect(known.address).toBe(email)
      expect(turn.user).toBe(known.userWithAddress)
      expect(turn.user.active).not.toBe(false)
    }
  })

  it('a registration needs a certain address that is free, and an open door', () => {
    for (const { known, turn } of turns('register')) {
      expect(known).toMatchObject({
        address: email,
        linkedUser: undefined,
        userWithAddress: undefined,
        registrationOpen: true,
      })
      expect(turn.email).toBe(email)
    }
  })

  it('who has to prove an address does not learn whether somebody has it', () => {
    const asked = all.filter(({ address, linkedUser }) => !linkedUser && address === undefined)
    expect(asked).toHaveLength(8)
    for (const known of asked) expect(decide(known)).toEqual({ turn: 'prove' })
  })
})
