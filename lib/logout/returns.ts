import { randomBytes } from 'node:crypto'
import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'
import { cookieName, createSealedCookies } from '../web/sealed-cookie.ts'

/**
 * Ways back from a provider to which a browser was sent to sign out there. In a sealed cookie of that browser: a link from
 * elsewhere to our page cannot make it say that a session has ended which goes on.
 */
export interface Returns {
  /** @returns the `state` to send along */
  expect(res: Response, provider: string): Promise<string>
  /** @returns the provider's display name, once, when this browser comes back from there */
  take(req: Request, res: Response, state: unknown): Promise<string | undefined>
}

interface Expected {
  state: string
  /** display name */
  provider: string
}

/** seconds that a person has at the provider */
const lifetime = 600

export function createReturns(seal: Seal, secure: boolean): Returns {
  const cookies = createSealedCookies<Expected>(seal, { lifetime, secure })
  const name = cookieName('sso-logout', secure)
  return {
    async expect(res, provider) {
      const state = randomBytes(24).toString('base64url')
      await cookies.set(res, name, { state, provider })
      return state
    },
    async take(req, res, state) {
      const expected = await cookies.get(req, name)
      // A wrong one leaves it alone, else any site could take the right one's place beforehand.
      if (expected === undefined || expected.state !== state) return undefined
      cookies.clear(res, name)
      return expected.provider
    },
  }
}
