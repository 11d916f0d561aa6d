import { normaliseEmail } from '../users/email-address.ts'
import type { AdminParts } from './parts.ts'

/** @param text an address or an id. @returns the id of a user, also of one who is gone from the directory but signed in still */
export type FindPerson = (text: string, portal: string) => Promise<string | undefined>

export function createFindPerson({
  sessionActs,
  users,
}: Pick<AdminParts, 'sessionActs' | 'users'>): FindPerson {
  return async (text, portal) => {
    const email = normaliseEmail(text)
    const byEmail = email === undefined ? undefined : await users.findByEmail(email, portal)
    if (byEmail) return byEmail.id
    // Asked first, for it refuses what is not for a database.
    if ((await sessionActs.count({ userId: text, portal })) > 0) return text
    return (await users.findById(text, portal))?.id
  }
}
