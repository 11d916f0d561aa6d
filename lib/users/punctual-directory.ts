import { EmailTaken, PortalSsoError } from '../errors.ts'
import { within } from '../within.ts'
import type { UserDirectory } from './user-directory.ts'

/** milliseconds */
const patience = 5000

/**
 * A directory that answers in time or not at all: it is asked for every page of a signed-in person, and may be a host's own
 * database that hangs, or waits a minute for a connection.
 */
export function punctual(users: UserDirectory): UserDirectory {
  return {
    findById: (id, portal) => inTime(() => users.findById(id, portal)),
    findByEmail: (email, portal) => inTime(() => users.findByEmail(email, portal)),
    create: (registration, portal) => inTime(() => users.create(registration, portal)),
  }
}

async function inTime<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await within(patience, ask())
  } catch (cause) {
    if (cause instanceof EmailTaken) throw cause
    throw new PortalSsoError('database_unavailable', 'the user directory', { cause })
  }
}
