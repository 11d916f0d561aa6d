import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from '@jest/globals'
import express, { type Request, type Response } from 'express'
import fc from 'fast-check'
import type { AuthorizationResponse } from '../../lib/oidc/authorization-response.ts'
import { Seal } from '../../lib/shared/seal.ts'
import { type Attempt, Attempts, type CompletedAttempt } from '../../lib/sign-in/attempts.ts'
import { SealedCookies } from '../../lib/web/sealed-cookie.ts'
import { cookieCore } from '../support/cookie-core.ts'
import { effort, textOf } from '../support/properties.ts'

const secret = 'the secret of these tests, longer than 32 characters'
const seal = new Seal([secret], 'tests')
const foreign = [
  new Seal([secret], 'other tests'),
  new Seal(['the secret of another portal, longer than 32 characters'], 'tests'),
]
const json = fc.jsonValue({ stringUnit: 'binary' })
const anything = textOf([
  ...['.', '..', '=', ';', ',', '"', '%', '%00', '{', '}', ' ', '\u0000', 'A', '_', '-', '+', '/'],
  ...['eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0', 'eyJhbGciOiJub25lIn0', 'null', '__proto__'],
])

type Mutation = (sealed: string, other: string) => string

/** One change by an attacker who has two sealed values and wants to forge a third. */
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(fc.nat(), anything).map(
    ([at, text]): Mutation =>
      (one) => {
        const where = at % (one.length + 1)
        return one.slice(0, where) + text + one.slice(where + 1)
      },
  ),
  fc.tuple(fc.nat(), fc.nat()).map(
    ([from, length]): Mutation =>
      (one) => {
        const where = from % one.length
        return one.slice(0, where) + one.slice(where + 1 + (length % one.length))
      },
  ),
  fc.tuple(fc.nat(), fc.nat()).map(
    ([mine, theirs]): Mutation =>
      (one, two) => {
        return one.slice(0, mine % one.length) + two.slice(theirs % two.length)
      },
  ),
  fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }).map(
    (choice): Mutation =>
      (one, two) => {
        const parts = [one.split('.'), two.split('.')]
        return choice.map((second, at) => parts[second ? 1 : 0]![at]).join('.')
      },
  ),
  anything.map(
    (text): Mutation =>
      () =>
        text,
  ),
)

describe('any sealed value', () => {
  it('is unchanged when it is opened', async () => {
    const property = fc.asyncProperty(json, fc.string({ unit: 'binary' }), async (value, context) => {
      expect(seal.open(seal.close(value, context), context)).toEqual(JSON.parse(JSON.stringify(value)))
    })
    await fc.assert(property, effort())
  })

  it('cannot be opened in another context, for another purpose or with another secret', async () => {
    const text = fc.string({ unit: 'binary' })
    const property = fc.asyncProperty(json, text, text, async (value, context, other) => {
      const sealed = seal.close(value, context)
      if (other !== context) expect(seal.open(sealed, other)).toBeUndefined()
      for (const theirs of foreign) {
        expect(theirs.open(sealed, context)).toBeUndefined()
        expect(seal.open(theirs.close(value, context), context)).toBeUndefined()
      }
    })
    await fc.assert(property, effort(1 / 2))
  })

  it('never opens as another value, however it is changed', async () => {
    const property = fc.asyncProperty(
      fc.array(mutation, { minLength: 1, maxLength: 3 }),
      async (mutations) => {
        const [one, two] = [seal.close({ it: 'one' }, 'here'), seal.close({ it: 'two' }, 'here')]
        const changed = mutations.reduce((text, mutate) => mutate(text, two), one)
        const opened = seal.open(changed, 'here')
        // Each value has one spelling only.
        if (opened !== undefined)
          expect([one, two][['one', 'two'].indexOf((opened as { it: string }).it)]).toBe(changed)
      },
    )
    await fc.assert(property, effort())
  })
})

/** A request with these cookies and its response, as Express hands them to a route. */
function exchange(cookie: string): { req: Request; res: Response } {
  const req = new IncomingMessage(new Socket())
  req.headers.cookie = cookie
  Object.setPrototypeOf(req, express.request)
  const res = new ServerResponse(req)
  Object.setPrototypeOf(res, express.response)
  return { req: req as Request, res: Object.assign(res, { req }) as unknown as Response }
}

/** `name=value` of each cookie that was set. */
const pairsOf = (res: Response) =>
  [res.getHeader('set-cookie') ?? []].flat().map((line) => String(line).split(';')[0]!)

describe('a browser with any cookies', () => {
  const cookies = new SealedCookies<string>(cookieCore(seal), 'tests', { ttlSeconds: 60 })

  async function sealedCookie(name: string): Promise<string> {
    const { res } = exchange('')
    cookies.set(res, name, `the value of ${name}`)
    return pairsOf(res)[0]!.slice(name.length + 1)
  }

  it('has a value only under the name with which it was set', async () => {
    const property = fc.asyncProperty(mutation, fc.boolean(), async (mutate, swap) => {
      const [one, two] = [await sealedCookie('one'), await sealedCookie('two')]
      const { req } = exchange(
        swap ? `one=${two}; two=${one}` : `one=${mutate(one, two)}; two=${mutate(two, one)}`,
      )
      for (const name of ['one', 'two'])
        expect([undefined, `the value of ${name}`]).toContain(cookies.get(req, name))
      if (swap) expect(cookies.get(req, 'one')).toBeUndefined()
    })
    await fc.assert(property, effort(1 / 2))
  })

  it('never causes an exception while they are read', async () => {
    const property = fc.asyncProperty(anything, async (header) => {
      expect(cookies.get(exchange(header).req, 'one')).toBeUndefined()
      for (const name of ['__proto__', 'constructor', 'toString', ''])
        expect(cookies.get(exchange(header).req, name)).toBeUndefined()
    })
    await fc.assert(property, effort())
  })
})

describe('any text as the state of an authorization response', () => {
  const attempts = new Attempts(cookieCore(seal), { claim: async () => true })
  const attempt: Attempt = {
    portal: 'default',
    providerId: 'a provider',
    version: 1,
    nonce: 'a nonce',
    codeVerifier: 'a verifier',
    purpose: { kind: 'sign-in' },
    returnTo: '/portal',
  }

  const responseWith = (state: string): AuthorizationResponse => ({
    state,
    parameters: new URLSearchParams({ state, code: 'a code' }),
  })

  async function begin(): Promise<{ state: string; cookie: string }> {
    const { req, res } = exchange('')
    const state = attempts.begin(req, res, attempt)
    return { state, cookie: pairsOf(res)[0]! }
  }

  it('is unknown unless it belongs to an attempt of this browser', async () => {
    const property = fc.asyncProperty(
      fc.oneof(
        anything.map(
          (text): Mutation =>
            () =>
              text,
        ),
        mutation,
        fc.constantFrom<Mutation>(
          (_, theirs) => theirs,
          (state) => state,
        ),
      ),
      fc.oneof(
        anything.map(
          (text): Mutation =>
            () =>
              text,
        ),
        fc.constant<Mutation>((cookie) => cookie),
      ),
      async (mutateState, mutateCookie) => {
        const [mine, theirs] = [await begin(), await begin()]
        const state = mutateState(mine.state, theirs.state)
        const cookie = mutateCookie(mine.cookie, theirs.cookie)
        const { req, res } = exchange(cookie)
        const found = attempts.find(req, state)
        const taken = found && (await attempts.take(res, found, responseWith(state)))
        if (state === mine.state && cookie === mine.cookie)
          expect(taken).toEqual({ attempt: { ...attempt, startedAt: expect.any(Number) } })
        else expect(taken).toBeUndefined()
        // Other text leaves no marker, because it must not become a cookie's name.
        expect(pairsOf(res)).toHaveLength(taken ? 1 : 0)
      },
    )
    await fc.assert(property, effort())
  })

  it('returns its attempt once', async () => {
    const before = Date.now()
    const { state, cookie } = await begin()
    const take = async ({ req, res }: { req: Request; res: Response }) =>
      await attempts.take(res, attempts.find(req, state)!, responseWith(state))
    const first = exchange(cookie)
    const taken = await take(first)
    expect(taken).toEqual({ attempt: { ...attempt, startedAt: expect.any(Number) } })
    // A logout notice applies to attempts that started before it.
    const { startedAt } = (taken as { attempt: CompletedAttempt }).attempt
    expect(startedAt - before).toBeGreaterThanOrEqual(0)
    expect(startedAt).toBeLessThanOrEqual(Date.now())
    const second = exchange(pairsOf(first.res).join('; '))
    expect(await take(second)).toEqual({
      used: { providerId: attempt.providerId, purpose: attempt.purpose, returnTo: attempt.returnTo },
      reason: 'spent',
    })
  })

  it('makes room for a new attempt among any cookies', async () => {
    const name = anything.map((text) => `sso-attempt-${text}`)
    const jar = fc.array(fc.tuple(fc.oneof(name, anything), fc.string({ unit: 'binary', maxLength: 2000 })))
    const property = fc.asyncProperty(jar, async (pairs) => {
      const { req, res } = exchange(pairs.map((pair) => pair.join('=')).join('; '))
      const state = attempts.begin(req, res, attempt)
      expect(pairsOf(res)).toContainEqual(expect.stringMatching(new RegExp(`^sso-attempt-${state}=.`)))
    })
    await fc.assert(property, effort(1 / 4))
  })
})
