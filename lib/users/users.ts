import type { ActOptions } from '../shared/act-options.ts'
import { staleIfErrorMs } from '../shared/cache.ts'
import type { CircuitBreaker } from '../shared/circuit-breaker.ts'
import { EmailTakenError, PortalSsoError } from '../shared/errors.ts'
import { SECOND, withTimeout } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import { BlockedIdentitiesTable } from './blocked-identities-table.ts'
import { IdentitiesTable } from './identities-table.ts'
import {
  type LinkedAddress,
  type LinkedUser,
  type LinkListener,
  type Registration,
  type Subject,
  type User,
  UserCache,
  type UserDirectory,
} from './user-directory.ts'
import { maxUsersFound, UsersTable } from './users-table.ts'

/** A host's own directory may be slower than the database, but every page of a signed-in user needs it. */
const directoryTimeoutMs = 5 * SECOND
/** A user waits for it while signing in. */
const onLinkedTimeoutMs = 2 * SECOND

/** Names on one page that are read from a host's directory, each with a call. */
const maxLookedUp = 60
const lookUpsAtOnce = 10

/**
 * The portal's users and the identities linked to them. It reads the host's directory, if there is one, with a time limit. It
 * knows nothing about sessions.
 */
export class Users implements UserDirectory {
  readonly identities: IdentitiesTable
  readonly blocked: BlockedIdentitiesTable
  /** for requests of signed-in users; a sign-in reads the directory itself */
  readonly cache: UserCache
  readonly #directory: UserDirectory
  readonly #database: CircuitBreaker
  readonly #onLinked: UserDirectory['onLinked']

  /** @param options.directory the host's; default, and for one that has only `onLinked`, the table `sso_users` */
  constructor(
    core: Pick<Core, 'breakers' | 'knex'>,
    options: { directory: UserDirectory | LinkListener | undefined; cacheSeconds: number },
  ) {
    const { directory, cacheSeconds } = options
    this.blocked = new BlockedIdentitiesTable(core)
    this.identities = new IdentitiesTable(core, this.blocked)
    this.#directory = directory && 'findById' in directory ? directory : new UsersTable(core)
    this.#database = core.breakers.database
    this.#onLinked = directory?.onLinked?.bind(directory)
    const ttlMs = cacheSeconds * SECOND
    this.cache = new UserCache(this, { ttlMs, staleIfErrorMs })
  }

  async findById(id: string, portal: string): Promise<User | undefined> {
    return await this.#limitTime(async () => await this.#directory.findById(id, portal))
  }

  /**
   * The user that an identity is linked to; `user` is undefined if that user was deleted. The built-in directory needs one query
   * for both.
   */
  async findLinked(portal: string, subject: Subject): Promise<LinkedUser | undefined> {
    const askedAt = Date.now()
    const directory = this.#directory
    let linked: LinkedUser | undefined
    if (directory instanceof UsersTable)
      linked = await this.#limitTime(() => directory.findLinked(portal, subject))
    else {
      const link = await this.identities.findLink(portal, subject)
      linked = link && { ...link, user: await this.findById(link.userId, portal) }
    }
    if (linked?.user) this.cache.remember(linked.user, portal, askedAt)
    return linked
  }

  async findByEmail(email: string, portal: string): Promise<User | undefined> {
    return await this.#limitTime(async () => await this.#directory.findByEmail(email, portal))
  }

  /**
   * The users with these ids, by id. A page shows the ids of users that are not found in time: it must not fail because of the names.
   *
   * @param ids untrusted, at most 1,000: one query of the built-in table; of a host's directory, one look-up per row of a page
   */
  async findAll(ids: Iterable<string>, portal: string): Promise<ReadonlyMap<string, User>> {
    const directory = this.#directory
    // PostgreSQL refuses a text with a NUL.
    const asked = [...new Set(ids)].filter((id) => !id.includes('\0'))
    const find = async (): Promise<(User | undefined)[]> =>
      directory instanceof UsersTable
        ? await directory.findAll(asked, portal)
        : await findEach(asked.slice(0, maxLookedUp), async (id) => await directory.findById(id, portal))
    const found = asked.length === 0 ? [] : await this.#limitTime(find).catch(() => [])
    return new Map(found.flatMap((user) => (user ? [[String(user.id), user] as const] : [])))
  }

  /** @returns at most 51; none if the host's directory has no search */
  async search(text: string, portal: string): Promise<readonly User[]> {
    const found = await this.#limitTime(async () => (await this.#directory.search?.(text, portal)) ?? [])
    return found.slice(0, maxUsersFound + 1)
  }

  async create(registration: Registration, portal: string): Promise<User> {
    return await this.#limitTime(async () => await this.#directory.create(registration, portal))
  }

  /** Waits for the host, because its old password must be gone before the link takes effect. */
  async onLinked(user: User, linked: LinkedAddress, portal: string): Promise<void> {
    try {
      await withTimeout(onLinkedTimeoutMs, (async () => await this.#onLinked?.(user, linked, portal))())
    } catch (cause) {
      throw new PortalSsoError('linking_failed', '`UserDirectory.onLinked` failed', { cause })
    }
  }

  async #limitTime<T>(query: () => Promise<T>): Promise<T> {
    try {
      if (this.#directory instanceof UsersTable) return await this.#database.run(query)
      return await withTimeout(directoryTimeoutMs, query())
    } catch (cause) {
      if (cause instanceof EmailTakenError) throw cause
      throw new PortalSsoError('database_unavailable', 'the user directory', { cause })
    }
  }
}

/** Ten at a time: a page must not use up the connections of the host's directory. A user who cannot be read is left out. */
async function findEach(
  ids: readonly string[],
  find: (id: string) => Promise<User | undefined>,
): Promise<(User | undefined)[]> {
  const found: (User | undefined)[] = []
  const waiting = [...ids]
  const next = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift())
      found.push(await find(id).catch(() => undefined))
  }
  await Promise.all(Array.from({ length: lookUpsAtOnce }, next))
  return found
}

/** The users of a portal: those of the host's directory, or of the table `sso_users`. */
export class UsersApi {
  readonly #directory: UserDirectory
  readonly #portal: string

  /** @internal */
  constructor(directory: UserDirectory, portal = 'default') {
    this.#directory = directory
    this.#portal = portal
  }

  /** Returns `undefined` if there is no such user. @throws PortalSsoError `database_unavailable` if the directory fails */
  async find(id: string, options: ActOptions = {}): Promise<User | undefined> {
    return await this.#directory.findById(id, options.portal ?? this.#portal)
  }

  /** Returns the user with this address. @param email normalised, see `normaliseEmail`. @throws PortalSsoError `database_unavailable` */
  async findByEmail(email: string, options: ActOptions = {}): Promise<User | undefined> {
    return await this.#directory.findByEmail(email, options.portal ?? this.#portal)
  }

  /** Creates a user. @throws EmailTakenError if the address belongs to a user. @throws PortalSsoError `database_unavailable` */
  async create(registration: Registration, options: ActOptions = {}): Promise<User> {
    return await this.#directory.create(registration, options.portal ?? this.#portal)
  }
}
