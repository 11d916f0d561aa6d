import { randomBytes } from 'node:crypto'
import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'
import { cookieName, createSealedCookies } from './sealed-cookie.ts'

/**
 * Ways to a provider's page, for something else than a sign-in, and back. In a sealed cookie of that browser: a link from elsewhere
 * to our page cannot make it say that a session has ended which goes on, or that an organisation has consented.
 */
export interface RoundTrips {
  /**
   * @param kept what is to be known on the way back
   * @returns the `state` to send along
   */
  begin(res: Response, kept: string): Promise<string>
  /** @returns what was kept, once, when this browser comes back from there */
  end(req: Request, res: Response, state: unknown): Promise<string | undefined>
}

interface UnderWay {
  state: string
  kept: string
}

/** seconds that a person has there */
const lifetime = 600

/** @param cookie one name for each kind of way */
export function createRoundTrips(
  seal: Seal,
  secure: boolean,
  cookie: 'sso-logout' | 'sso-consent',
): RoundTrips {
  const cookies = createSealedCookies<UnderWay>(seal, { lifetime, secure })
  const name = cookieName(cookie, secure)
  return {
    async begin(res, kept) {
      const state = randomBytes(24).toString('base64url')
      await cookies.set(res, name, { state, kept })
      return state
    },
    async end(req, res, state) {
      const underWay = await cookies.get(req, name)
      // A wrong one leaves it alone, else any site could take the right one's place beforehand.
      if (underWay === undefined || underWay.state !== state) return undefined
      cookies.clear(res, name)
      return underWay.kept
    },
  }
}
