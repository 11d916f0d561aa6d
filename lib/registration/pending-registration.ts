import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'
import type { Identity } from '../sign-in/identity.ts'
import { cookieName, createSealedCookies } from '../web/sealed-cookie.ts'

/** A person whom a provider has vouched for, but who has not registered yet. */
export interface PendingRegistration {
  portal: string
  /** slug, id and version of the provider when it vouched: one connected anew under the same slug is another */
  provider: string
  providerId: string
  version: number
  identity: Identity
  returnTo?: string | undefined
}

export interface PendingRegistrations {
  keep(res: Response, pending: PendingRegistration): Promise<void>
  find(req: Request): Promise<PendingRegistration | undefined>
  clear(res: Response): void
}

/** seconds to fill in the form */
const lifetime = 1800
// Browsers drop a cookie of more than 4 KB; sealing makes a third more of it. Without the hint, a logout asks once more.
const longest = 2900

/**
 * In a sealed cookie, not in a session: who planted a session id into this browser would otherwise find the pending
 * registration there and finish it in his own name.
 */
export function createPendingRegistrations(seal: Seal, secure: boolean): PendingRegistrations {
  const name = cookieName('sso-registration', secure)
  const cookies = createSealedCookies<PendingRegistration>(seal, { lifetime, secure })
  return {
    async keep(res, pending) {
      const fits = Buffer.byteLength(JSON.stringify(pending)) <= longest
      const identity = fits ? pending.identity : { ...pending.identity, logoutHint: '' }
      await cookies.set(res, name, { ...pending, identity })
    },
    find: (req) => cookies.get(req, name),
    clear: (res) => cookies.clear(res, name),
  }
}
