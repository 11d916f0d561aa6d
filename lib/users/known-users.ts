import { types } from 'node:util'
import { type CacheLimits, createCached } from '../cached.ts'
import { isActive, type User, type UserDirectory } from './user-directory.ts'

/** Users as every page of a signed-in person asks for them: what the directory said a moment ago of who is active may do. */
export interface KnownUsers {
  findById(id: string, portal: string): Promise<User | undefined>
  /** The next request asks the directory. */
  forget(id: string, portal: string): void
}

/** @param users its users are kept if they are plain objects; of others, which we could not copy, it is asked each time */
export function createKnownUsers(users: UserDirectory, limits: CacheLimits): KnownUsers {
  // A directory without types may have numbers for ids; sessions name users by text.
  const keyOf = (id: string, portal: string) => JSON.stringify([portal, String(id)])
  const known = createCached(async (key) => {
    const [portal, id] = JSON.parse(key) as [string, string]
    return await users.findById(id, portal)
  }, limits)
  return {
    async findById(id, portal) {
      const key = keyOf(id, portal)
      const user = await known.get(key)
      // Nothing that ends a session is remembered: who is switched on again would be put out here, having signed in elsewhere.
      if (!user || !isActive(user)) known.forget(key)
      return user && ((copyOf(user) as User | undefined) ?? (await users.findById(id, portal)))
    },
    forget: (id, portal) => known.forget(keyOf(id, portal)),
  }
}

/**
 * What one request notes on `req.user`, be it a role that is added to a list, is not for the next one, nor for another that runs
 * at the same time.
 *
 * @returns `undefined`: it has parts that a copy would lose
 */
function copyOf(user: User): unknown {
  try {
    return plainCopy(user)
  } catch {
    return undefined
  }
}

function plainCopy(value: unknown): unknown {
  if (typeof value === 'function') throw new TypeError('a function is not copied')
  if (typeof value !== 'object' || value === null) return value
  if (types.isDate(value)) return new Date(value)
  if (Array.isArray(value)) return value.map(plainCopy)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    throw new TypeError('an object with a class of its own is not copied')
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plainCopy(part)]))
}
