import { types } from 'node:util'
import { StaleCache } from '../shared/cache.ts'
import { EmailTakenError, PortalSsoError } from '../shared/errors.ts'
import { withTimeout } from '../shared/with-timeout.ts'

/** A user of the portal as the plugin needs to know one; a host's own may hold anything more. It becomes `req.user`. */
export interface User {
  readonly id: string
  /** normal form, see `normaliseEmail` */
  readonly email: string
  readonly name: string
  /**
   * false: refused everywhere; sessions that run end at their next request, within `session.userCacheSeconds` (default 5). At once:
   * `sso.sessions.endAll({ userId })`, after it is switched off here. Left out: active
   */
  readonly active?: boolean
}

/** Anything but `true`, or saying nothing, is switched off: a raw row may say `0` or `null`. */
export function isActive({ active }: User): boolean {
  return active === undefined || active === true || (active as unknown) === 1
}

/** What a person entered, or a provider vouched for, when the account is made. */
export interface Registration {
  /** normal form */
  readonly email: string
  readonly name: string
  /** the fields that the host declared */
  readonly fields: Readonly<Record<string, string | boolean>>
}

/** Where the portal keeps its users. Left out of the options, the table `sso_users` is one. */
export interface UserDirectory {
  /**
   * @param id a user's, or whatever an administrator entered for one: what cannot be an id (text where yours are numbers) is
   * nobody's, and no error
   * @returns `undefined` or `{ active: false }` ends the sessions, see `User.active`
   */
  findById(id: string, portal: string): Promise<User | undefined>
  /** @param email in normal form; must match to the letter (`normaliseEmail` is exported for the host's own table) */
  findByEmail(email: string, portal: string): Promise<User | undefined>
  /** @throws EmailTaken when the address got taken a moment before; the plugin then links or refuses */
  create(registration: Registration, portal: string): Promise<User>
}

/** milliseconds */
const patience = 5000

/**
 * A directory that answers in time or not at all: it is asked for every page of a signed-in person, and may be a host's own
 * database that hangs, or waits a minute for a connection.
 */
export function withDirectoryTimeout(users: UserDirectory): UserDirectory {
  return {
    findById: (id, portal) => inTime(() => users.findById(id, portal)),
    findByEmail: (email, portal) => inTime(() => users.findByEmail(email, portal)),
    create: (registration, portal) => inTime(() => users.create(registration, portal)),
  }
}

async function inTime<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await withTimeout(patience, ask())
  } catch (cause) {
    if (cause instanceof EmailTakenError) throw cause
    throw new PortalSsoError('database_unavailable', 'the user directory', { cause })
  }
}

/** Users as every page of a signed-in person asks for them: what the directory said a moment ago of who is active may do. */
export interface UserCache {
  findById(id: string, portal: string): Promise<User | undefined>
  /** The next request asks the directory. */
  forget(id: string, portal: string): void
}

/** @param users its users are kept if they are plain objects; of others, which we could not copy, it is asked each time */
export function createUserCache(
  users: UserDirectory,
  limits: { ttlMs: number; staleIfErrorMs: number },
): UserCache {
  // A directory without types may have numbers for ids; sessions name users by text.
  const keyOf = (id: string, portal: string) => JSON.stringify([portal, String(id)])
  const known = new StaleCache(async (key) => {
    const [portal, id] = JSON.parse(key) as [string, string]
    return await users.findById(id, portal)
  }, limits)
  return {
    async findById(id, portal) {
      const key = keyOf(id, portal)
      const user = await known.get(key)
      // Nothing that ends a session is remembered: who is switched on again would be put out here, having signed in elsewhere.
      if (!user || !isActive(user)) known.delete(key)
      return user && ((copyOf(user) as User | undefined) ?? (await users.findById(id, portal)))
    },
    forget: (id, portal) => known.delete(keyOf(id, portal)),
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
