import { normaliseEmail } from '../users/email-address.ts'
import type { IdentitiesTable } from '../users/identities-table.ts'
import type { UserDirectory } from '../users/user-directory.ts'
import { decide, type Turn } from './decide.ts'
import type { Identity } from './identity.ts'

/** Who may register: everybody whose address is vouched for, nobody, or whom the host's function lets. */
export type RegistrationPolicy =
  | 'open'
  | 'closed'
  | ((identity: Identity, portal: string) => boolean | Promise<boolean>)

export interface Prospect {
  turn: Turn
  /** a user that the identity is still linked to but who exists no more */
  gone: string | undefined
}

export interface LookUpParts {
  identities: IdentitiesTable
  users: UserDirectory
  registration: RegistrationPolicy
}

/** Asks the tables what they know of an identity, and decides. */
export type LookUp = (identity: Identity, portal: string) => Promise<Prospect>

export function createLookUp({ identities, users, registration }: LookUpParts): LookUp {
  return async (identity, portal) => {
    const linkedId = await identities.findUserId(portal, identity)
    const linkedUser = linkedId === undefined ? undefined : await users.findById(linkedId, portal)
    const asksByEmail = !linkedUser && identity.emailVouched && identity.email !== undefined
    const found = asksByEmail ? await users.findByEmail(identity.email, portal) : undefined
    // A host's database that compares loosely (collations) would hand over the account of a look-alike.
    const userWithEmail = found && normaliseEmail(found.email) === identity.email ? found : undefined
    const registrationOpen =
      asksByEmail && !userWithEmail && (await mayRegister(registration, identity, portal))
    return {
      turn: decide({ identity, linkedUser, userWithEmail, registrationOpen }),
      gone: linkedUser ? undefined : linkedId,
    }
  }
}

async function mayRegister(policy: RegistrationPolicy, identity: Identity, portal: string): Promise<boolean> {
  // Only `true` opens: a host's function may answer with something else that is truthy.
  return typeof policy === 'function' ? (await policy(identity, portal)) === true : policy === 'open'
}
