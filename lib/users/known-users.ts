import { type CacheLimits, createCached } from '../cached.ts'
import type { User, UserDirectory } from './user-directory.ts'

/** Users as every page of a signed-in person asks for them: what the directory said a moment ago may do. */
export interface KnownUsers {
  findById(id: string, portal: string): Promise<User | undefined>
  /** The next request asks the directory. */
  forget(id: string, portal: string): void
}

export function createKnownUsers(users: UserDirectory, limits: CacheLimits): KnownUsers {
  const keyOf = (id: string, portal: string) => JSON.stringify([portal, id])
  const known = createCached(async (key) => {
    const [portal, id] = JSON.parse(key) as [string, string]
    return await users.findById(id, portal)
  }, limits)
  return {
    findById: async (id, portal) => copyOf(await known.get(keyOf(id, portal))),
    forget: (id, portal) => known.forget(keyOf(id, portal)),
  }
}

/** What one request notes on `req.user` is not for the next one. An object with a class of its own cannot be copied by us. */
function copyOf(user: User | undefined): User | undefined {
  return user && Object.getPrototypeOf(user) === Object.prototype ? { ...user } : user
}
