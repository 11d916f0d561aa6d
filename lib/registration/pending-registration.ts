import { randomUUID } from 'node:crypto'
import type { Request, Response } from 'express'
import type { Seal } from '../seal.ts'
import { certainAddress, type Identity } from '../sign-in/identity.ts'
import { cookieName, createSealedCookies } from '../web/sealed-cookie.ts'
import type { SentCode } from './address-proof.ts'

/** A person who came from a provider, but has not registered yet, or has to prove an address first. */
export interface PendingRegistration {
  id: string
  portal: string
  /** slug, id and version of the provider when it vouched: one connected anew under the same slug is another */
  provider: string
  providerId: string
  version: number
  identity: Identity
  returnTo?: string | undefined
  /** the code that the person is to enter */
  sent?: SentCode | undefined
  /** the address that the person proved by a code */
  proven?: string | undefined
  /** id of the user as whom its owner signed in, to show who they are here */
  provenBy?: string | undefined
  /** that user, signed in before, asked for it: good for their yes or no, and for no registration or sign-in */
  asked?: boolean | undefined
}

export interface PendingRegistrations {
  /** In place of one that is there. */
  begin(res: Response, pending: Omit<PendingRegistration, 'id'>): Promise<void>
  keep(res: Response, pending: PendingRegistration): Promise<void>
  /** @returns the one that waits in this browser, of this portal only */
  find(req: Request, portal: string): Promise<PendingRegistration | undefined>
  clear(res: Response): void
}

/** seconds for each step */
const lifetime = 1800
// bytes. Sealing makes a third more of it: with the attempts the header has its bounds, see attempts.ts.
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

  async function keep(res: Response, pending: PendingRegistration): Promise<void> {
    await cookies.set(res, name, fitted(pending))
  }

  return {
    begin: (res, pending) => keep(res, { ...pending, id: randomUUID() }),
    keep,
    async find(req, portal) {
      const pending = await cookies.get(req, name)
      return pending?.portal === portal ? pending : undefined
    },
    clear: (res) => cookies.clear(res, name),
  }
}

function fitted(pending: PendingRegistration): PendingRegistration {
  let kept = pending
  for (const each of dispensable) if (byteLength(kept) > longest) kept = without(kept, each)
  return kept
}

function byteLength(pending: PendingRegistration): number {
  return Buffer.byteLength(JSON.stringify(pending))
}

function without(pending: PendingRegistration, part: (typeof dispensable)[number]): PendingRegistration {
  if (part === 'returnTo') return { ...pending, returnTo: undefined }
  return { ...pending, identity: { ...pending.identity, [part]: part === 'logoutHint' ? '' : undefined } }
}

/**
 * How the account at the provider is named to a person: on every page that may connect it, for on a shared machine it may be
 * somebody else's. Never by an address alone, which may be a claim that was made to look like the reader's own.
 */
export function accountOf({ identity }: PendingRegistration) {
  const { name, email, emailVouched, subject } = identity
  return { name: name ?? subject, email, emailVouched }
}

/** The address to register with, once it is certain. */
export function addressOf({ identity, proven }: PendingRegistration): string | undefined {
  return certainAddress(identity, proven)
}
