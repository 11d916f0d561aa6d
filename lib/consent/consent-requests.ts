import { randomBytes } from 'node:crypto'
import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'
import { cookieName, createSealedCookies } from '../web/sealed-cookie.ts'

/**
 * Administrators on their way to a provider's page. In a sealed cookie of their browser: a link from elsewhere to our page cannot
 * make it say that an organisation has consented, nor write that down.
 */
export interface ConsentRequests {
  /** @returns the `state` to send along */
  expect(res: Response, providerId: string): Promise<string>
  /** @returns the id of the provider's row, once, when this browser comes back from there */
  take(req: Request, res: Response, state: string | undefined): Promise<string | undefined>
}

interface Expected {
  state: string
  providerId: string
}

/** seconds that an administrator has there */
const lifetime = 600

export function createConsentRequests(seal: Seal, secure: boolean): ConsentRequests {
  const cookies = createSealedCookies<Expected>(seal, { lifetime, secure })
  const name = cookieName('sso-consent', secure)
  return {
    async expect(res, providerId) {
      const state = randomBytes(24).toString('base64url')
      await cookies.set(res, name, { state, providerId })
      return state
    },
    async take(req, res, state) {
      const expected = await cookies.get(req, name)
      // A wrong one leaves it alone, else any site could take the right one's place beforehand.
      if (expected === undefined || expected.state !== state) return undefined
      cookies.clear(res, name)
      return expected.providerId
    },
  }
}
