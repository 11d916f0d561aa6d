import { randomBytes } from 'node:crypto'
import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'
import { type CookieOptions, cookieName, cookiesOf, createSealedCookies } from '../web/sealed-cookie.ts'

/** One click on a provider until its answer came back. */
export interface Attempt {
  portal: string
  providerId: string
  /** of the provider's row when the attempt began */
  version: number
  nonce: string
  codeVerifier: string
  returnTo?: string | undefined
}

export type Taken =
  | { attempt: Attempt }
  /** the answer came before: the back button, a second tab, a replay */
  | { spent: true; returnTo: string | undefined }
  | { unknown: true }

export interface Attempts {
  /** @returns the `state` to send along */
  begin(req: Request, res: Response, attempt: Attempt): Promise<string>
  /** Gives an attempt out once to this browser, then never again. */
  take(req: Request, res: Response, state: string): Promise<Taken>
}

/** seconds that a person has at the provider */
export const attemptLifetime = 600

// Servers refuse requests with more than 8 KB of headers: what all attempts of a browser may take of that, in bytes.
const budget = 4096

type Sealed = { attempt: Attempt } | { spent: true; returnTo?: string | undefined }

/**
 * Every attempt in a sealed cookie of its own, named after its `state`: tabs do not disturb each other, any instance can
 * take the answer, and a visitor costs no stored state. An attacker who starts an attempt himself and sends the victim his
 * answer (login CSRF) lacks the victim's cookie.
 */
export function createAttempts(seal: Seal, secure: boolean): Attempts {
  const options: CookieOptions = { lifetime: attemptLifetime, secure }
  const cookies = createSealedCookies<Sealed>(seal, options)
  const prefix = cookieName('sso-attempt-', secure)

  /** The oldest go first, so that somebody who opens many tabs keeps the newest ones. */
  function makeRoom(req: Request, res: Response): void {
    const newestFirst = Object.entries(cookiesOf(req))
      .filter(([name]) => name.startsWith(prefix))
      .sort(([a], [b]) => (a < b ? 1 : -1))
    let used = 0
    for (const [name, value = ''] of newestFirst) {
      used += name.length + value.length
      if (used > budget) cookies.clear(res, name)
    }
  }

  return {
    async begin(req, res, attempt) {
      makeRoom(req, res)
      const began = Math.floor(Date.now() / 1000)
      const state = `${began.toString(36)}-${randomBytes(24).toString('base64url')}`
      await cookies.set(res, prefix + state, { attempt })
      return state
    },
    async take(req, res, state) {
      // The shape that we make, so that a `state` from elsewhere never becomes a cookie's name.
      if (!/^[a-z0-9]{6,8}-[\w-]{32}$/.test(state)) return { unknown: true }
      const sealed = await cookies.get(req, prefix + state)
      if (!sealed) return { unknown: true }
      if (!('attempt' in sealed)) return { spent: true, returnTo: sealed.returnTo }
      const { returnTo } = sealed.attempt
      await cookies.set(res, prefix + state, { spent: true, returnTo })
      return { attempt: sealed.attempt }
    },
  }
}
