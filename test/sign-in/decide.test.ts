import { describe, expect, it } from '@jest/globals'
import { type Decision, type DecisionInput, decide } from '../../lib/sign-in/decide.ts'
import type { User } from '../../lib/users/user-directory.ts'

const email = 'ada@example.com'
const linked: User = { id: 'linked', email: 'before@example.com', name: 'Ada' }
const holder: User = { id: 'holder', email, name: 'Ada', active: true }
const inactive = (user: User): User => ({ ...user, active: false })
const unknownUser: DecisionInput = {
  address: email,
  linkedUser: undefined,
  userWithAddress: undefined,
  registrationOpen: true,
}

describe('an identity', () => {
  it.each<[string, Partial<DecisionInput>, Decision]>([
    [
      'linked to a user: signs that user in',
      { linkedUser: linked },
      { kind: 'sign-in', user: linked, proof: 'none' },
    ],
    [
      'linked to a user: signs that user in, even if another user has the address now',
      { linkedUser: linked, userWithAddress: holder },
      { kind: 'sign-in', user: linked, proof: 'none' },
    ],
    [
      'linked to a user: signs that user in, even if the address is not trusted any more',
      { linkedUser: linked, address: undefined },
      { kind: 'sign-in', user: linked, proof: 'none' },
    ],
    [
      'linked to an inactive user: is refused, even if an active user has the address',
      { linkedUser: inactive(linked), userWithAddress: holder },
      { kind: 'refuse', reason: 'user_inactive' },
    ],
    [
      'with the Entra account of a user: is linked to that user, even if another user has the address now',
      { relinkedUser: linked, userWithAddress: holder },
      { kind: 'link', user: linked, relinked: true, proof: 'none' },
    ],
    [
      'with the Entra account of a user: is linked although the address is not trusted and registration is closed',
      { relinkedUser: linked, address: undefined, registrationOpen: false },
      { kind: 'link', user: linked, relinked: true, proof: 'none' },
    ],
    [
      'with the Entra account of an inactive user: is refused, even if an active user has the address',
      { relinkedUser: inactive(linked), userWithAddress: holder },
      { kind: 'refuse', reason: 'user_inactive' },
    ],
    [
      'linked to a user: is never relinked',
      { linkedUser: linked, relinkedUser: holder },
      { kind: 'sign-in', user: linked, proof: 'none' },
    ],
    [
      'with the trusted address of a user: is linked to that user',
      { userWithAddress: holder },
      { kind: 'link', user: holder, proof: 'new' },
    ],
    [
      'with the trusted address of a user: is linked although registration is closed',
      { userWithAddress: holder, registrationOpen: false },
      { kind: 'link', user: holder, proof: 'new' },
    ],
    [
      'with the trusted address of an inactive user: is refused',
      { userWithAddress: inactive(holder) },
      { kind: 'refuse', reason: 'user_inactive' },
    ],
    [
      'linked with a proof of the address: needs no other proof',
      { linkedUser: holder, provenEmails: [email] },
      { kind: 'sign-in', user: holder, proof: 'earlier' },
    ],
    [
      'linked without a proof: brings one if the trusted address is the user’s own',
      { linkedUser: holder, provenEmails: ['before@example.com'] },
      { kind: 'sign-in', user: holder, proof: 'new' },
    ],
    [
      'linked without a proof: brings none if no address is trusted',
      { linkedUser: holder, provenEmails: ['before@example.com'], address: undefined },
      { kind: 'sign-in', user: holder, proof: 'none' },
    ],
    [
      'with the Entra account of a user: takes over the proof of the earlier link',
      { relinkedUser: holder, provenEmails: [email], address: undefined },
      { kind: 'link', user: holder, relinked: true, proof: 'earlier' },
    ],
    ['with a new, trusted address: registers', {}, { kind: 'register', email }],
    [
      'with a new, trusted address: is refused if registration is closed',
      { registrationOpen: false },
      { kind: 'refuse', reason: 'registration_closed' },
    ],
    ['without a trusted address: has to verify one', { address: undefined }, { kind: 'verify-email' }],
    [
      'without a trusted address: has to verify one although registration is closed, which reveals nothing',
      { address: undefined, registrationOpen: false },
      { kind: 'verify-email' },
    ],
  ])('%s', (_title, input, decision) => {
    expect(decide({ ...unknownUser, ...input })).toEqual(decision)
  })
})

describe('in every combination of inputs', () => {
  const users = (user: User) => [undefined, user, { ...user, active: true }, inactive(user)]
  const inputs: DecisionInput[] = [email, undefined].flatMap((address) =>
    users(linked).flatMap((linkedUser) =>
      users(holder).flatMap((userWithAddress) =>
        [true, false].map((registrationOpen) => ({ address, linkedUser, userWithAddress, registrationOpen })),
      ),
    ),
  )
  const decisions = inputs.map((input) => ({ input, decision: decide(input) }))
  const ofKind = <Kind extends Decision['kind']>(kind: Kind) =>
    decisions.flatMap(({ input, decision }) =>
      decision.kind === kind ? [{ input, decision: decision as Extract<Decision, { kind: Kind }> }] : [],
    )

  it('there are 64, and they lead to every decision', () => {
    expect(inputs).toHaveLength(64)
    expect([...new Set(decisions.map(({ decision }) => decision.kind))].sort()).toEqual([
      'link',
      'refuse',
      'register',
      'sign-in',
      'verify-email',
    ])
  })

  it('only the linked user is signed in, and only while active', () => {
    for (const { input, decision } of ofKind('sign-in')) {
      expect(decision.user).toBe(input.linkedUser)
      expect(decision.user.active).not.toBe(false)
    }
  })

  it('a link needs a trusted address, and goes to the active user who has it', () => {
    for (const { input, decision } of ofKind('link')) {
      expect(input.linkedUser).toBeUndefined()
      expect(input.address).toBe(email)
      expect(decision.user).toBe(input.userWithAddress)
      expect(decision.user.active).not.toBe(false)
    }
  })

  it('a registration needs a trusted, unused address and open registration', () => {
    for (const { input, decision } of ofKind('register')) {
      expect(input).toMatchObject({
        address: email,
        linkedUser: undefined,
        userWithAddress: undefined,
        registrationOpen: true,
      })
      expect(decision.email).toBe(email)
    }
  })

  it('an untrusted address does not reveal whether a user has it', () => {
    const untrusted = inputs.filter(({ address, linkedUser }) => !linkedUser && address === undefined)
    expect(untrusted).toHaveLength(8)
    for (const input of untrusted) expect(decide(input)).toEqual({ kind: 'verify-email' })
  })
})
