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
// bytes. Sealing makes a third more of it: with the attempts the header has to stay below 7 KB, see attempts.ts.
const longest = 2300
// What is given up for that, in this order: without the hint a logout asks once more, without the deep link the portal's home
// shows, and a name is typed in. Who it is stays.
const dispensable = ['logoutHint', 'returnTo', 'name'] as const

/**
 * In a sealed cookie, not in a session: who planted a session id into this browser would otherwise find the pending
 * registration there and finish it in his own name.
 */
export function createPendingRegistrations(seal: Seal, secure: boolean): PendingRegistrations {
  const name = cookieName('sso-registration', secure)
  const cookies = createSealedCookies<PendingRegistration>(seal, { lifetime, secure })
  return {
    async keep(res, pending) {
      let kept = pending
      for (const each of dispensable) if (byteLength(kept) > longest) kept = without(kept, each)
      await cookies.set(res, name, kept)
    },
    find: (req) => cookies.get(req, name),
    clear: (res) => cookies.clear(res, name),
  }
}

function byteLength(pending: PendingRegistration): number {
  return Buffer.byteLength(JSON.stringify(pending))
}

function without(pending: PendingRegistration, part: (typeof dispensable)[number]): PendingRegistration {
  if (part === 'returnTo') return { ...pending, returnTo: undefined }
  return { ...pending, identity: { ...pending.identity, [part]: part === 'logoutHint' ? '' : undefined } }
}
