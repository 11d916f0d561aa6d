import { randomBytes } from 'node:crypto'
import type { Request, Response } from 'express'
import type { Seal } from '../shared/seal.ts'
import { cookieName, cookiesOf, headerLength, SealedCookies } from '../web/sealed-cookie.ts'

/** One click on a provider until its answer came back. */
export interface Attempt {
  portal: string
  providerId: string
  /** of the provider's row when the attempt began */
  version: number
  nonce: string
  codeVerifier: string
  returnTo?: string | undefined
  /** id of the registration that waits in this browser, whose owner means to show by this sign-in which user they are */
  proving?: string | undefined
  /** id of the user, signed in in this browser, who wants to sign in with this provider too: nobody is signed in by the answer */
  linking?: string | undefined
  /** how the person has to show anew who they are */
  fresh?: ReauthenticationRequirement | undefined
  /** an administrator tries the provider out: the answer is reported on, and signs nobody in */
  rehearsal?: TestAttempt | undefined
}

/** One whose answer has come. */
export interface CompletedAttempt extends Attempt {
  /** milliseconds since 1970 */
  startedAt: number
}

/** What is asked of a sign-in that was demanded of somebody who is signed in (OpenID Connect Core 3.1.2.1). */
export interface ReauthenticationRequirement {
  /** `max_age`: seconds since the person showed the provider who they are */
  maxAge?: number | undefined
  /** `acr_values`: any of these is good enough */
  acr?: readonly string[] | undefined
}

export interface TestAttempt {
  /** who asked for it, for the event log */
  actor: string
  /** id of the ticket that it was begun with, of whoever waits for the outcome in a terminal */
  ticket?: string | undefined
}

export type TakeResult =
  | { attempt: CompletedAttempt }
  /** its time is over, or its answer came before: the back button, a second tab, a replay */
  | { spent: true; returnTo: string | undefined }
  | { unknown: true }

export interface Attempts {
  /** @returns the `state` to send along */
  begin(req: Request, res: Response, attempt: Attempt): Promise<string>
  /** Gives an attempt out once to this browser, then never again. */
  take(req: Request, res: Response, state: string): Promise<TakeResult>
}

/** seconds that a person has at the provider */
const lifetime = 600
/** seconds that the browser keeps it: after its time it is good for nothing, but still knows the deep link */
const remembered = 4 * 3600

// Servers refuse a `Cookie` header of more than 8 KB, and a browser that sends one is locked out of the whole site. Ours stay
// below 7.7 KB: 3 for all attempts of a browser, 3.3 for a pending registration, the rest for session, last provider, a
// way back from a logout or a consent, and a broken glass.
const budget = 3000

/** The shape that we make: nothing from elsewhere becomes a cookie's name, in which not every character may stand. */
const ourState = /^[a-z0-9]{6,8}-[\w-]{32}$/

/** `until`: milliseconds since 1970 */
type Sealed = { attempt: Attempt; until: number } | { spent: true; returnTo?: string | undefined }

/**
 * Every attempt in a sealed cookie of its own, named after its `state`: tabs do not disturb each other, any instance can
 * take the answer, and a visitor costs no stored state. An attacker who starts an attempt himself and sends the victim his
 * answer (login CSRF) lacks the victim's cookie.
 */
export function createAttempts(seal: Seal, secure: boolean): Attempts {
  const cookies = new SealedCookies<Sealed>(seal, { ttlSeconds: remembered, secure })
  const marks = new SealedCookies<Sealed>(seal, { ttlSeconds: lifetime, secure })
  const prefix = cookieName('sso-attempt-', secure)

  /** The oldest go first, so that somebody who opens many tabs keeps the newest ones. */
  function makeRoom(req: Request, res: Response, forNewest: number): void {
    const newestFirst = Object.entries(cookiesOf(req))
      .filter(([name]) => name.startsWith(prefix) && ourState.test(name.slice(prefix.length)))
      .sort(([a], [b]) => (a < b ? 1 : -1))
    let used = forNewest
    for (const [name, value = ''] of newestFirst) {
      used += headerLength(name, value)
      if (used > budget) cookies.clear(res, name)
    }
  }

  return {
    async begin(req, res, attempt) {
      const began = Math.floor(Date.now() / 1000)
      const state = `${began.toString(36)}-${randomBytes(24).toString('base64url')}`
      const length = await cookies.set(res, prefix + state, { attempt, until: Date.now() + lifetime * 1000 })
      makeRoom(req, res, length)
      return state
    },
    async take(req, res, state) {
      if (!ourState.test(state)) return { unknown: true }
      const sealed = await cookies.get(req, prefix + state)
      if (!sealed) return { unknown: true }
      if (!('attempt' in sealed)) return { spent: true, returnTo: sealed.returnTo }
      const { attempt, until } = sealed
      const { returnTo } = attempt
      await marks.set(res, prefix + state, { spent: true, returnTo })
      const startedAt = until - lifetime * 1000
      return until > Date.now() ? { attempt: { ...attempt, startedAt } } : { spent: true, returnTo }
    },
  }
}
