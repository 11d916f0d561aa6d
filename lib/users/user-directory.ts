import { types } from 'node:util'
import { StaleCache } from '../shared/cache.ts'
import { CheckError } from '../shared/errors.ts'
import { normaliseEmail } from './email-address.ts'

/** The fields of a user that the plugin needs. A host's user may have more. It becomes `req.user`. */
export interface User {
  /** Unique and unchanging, at most 255 characters. */
  readonly id: string
  /** Normalized, see `normaliseEmail`. */
  readonly email: string
  /** The name that pages and mails show. */
  readonly name: string
  /**
   * `false`: sign-ins are refused, and running sessions end within `session.userCacheSeconds` (default 5). To end them at once,
   * call `sso.sessions.endAll({ userId })` after deactivating the user. Default: active.
   */
  readonly active?: boolean
}

/** True for `true`, `1` and a missing field. Every other value means inactive: a raw row may hold `0` or `null`. */
export function isActive({ active }: User): boolean {
  return active === undefined || active === true || (active as unknown) === 1
}

/** A host may change a user's address: a proof counts for one address only. */
export function addressOf({ email }: User): string {
  return normaliseEmail(email) ?? email
}

/** The data of a new account, from the registration form or the provider. */
export interface Registration {
  /** Verified and normalized, see `normaliseEmail`. */
  readonly email: string
  /** As the user confirmed it, 1 to 200 characters. */
  readonly name: string
  /** Values of the option `registrationFields`, by name: a checkbox gives a boolean, all others text. */
  readonly fields: Readonly<Record<string, string | boolean>>
}

/** Identifies a person at a provider (OpenID Connect Core 5.7). */
export interface Subject {
  /** The `iss` claim. */
  readonly issuer: string
  /** The `sub` claim. */
  readonly subject: string
}

/** The `tid` and `oid` claims: the same in every app registration of an Entra tenant, where `sub` differs. */
export interface EntraAccount {
  /** The `tid` claim. */
  readonly tenantId: string
  /** The `oid` claim. */
  readonly objectId: string
}

/** An account at a provider. At Entra it can have several subjects. */
export interface ProviderAccount extends Subject {
  readonly entra?: EntraAccount | undefined
}

/** A proof that an existing user owns their e-mail address. */
export interface LinkedAddress {
  /** Slug of the provider. */
  readonly provider: string
  /** The identity at that provider: its issuer, its subject, and its normalized e-mail address if the provider sent one. */
  readonly identity: Subject & { readonly email?: string | undefined }
  /** Whether it is the first proof for this user: until now, another person may have used the account. */
  readonly firstLink: boolean
}

/** For a host that keeps passwords beside the table `sso_users`. */
export type LinkListener = Required<Pick<UserDirectory, 'onLinked'>>

/** The user that an identity is linked to. */
export interface LinkedUser {
  userId: string
  /** `undefined` if the user was deleted */
  user: User | undefined
  /** addresses of the user that are proven for the link */
  provenEmails: string[]
}

/** The portal's users: implemented by the host, or by default the table `sso_users`. */
export interface UserDirectory {
  /**
   * Finds a user by id. A rejection makes the request fail with 503 and ends no session.
   *
   * @param id may be any text that an administrator entered: return `undefined`, not an error, for an impossible id
   * @param portal name of the portal
   * @returns `undefined` or a user with `active: false` ends the user's sessions
   */
  findById(id: string, portal: string): Promise<User | undefined>
  /**
   * Finds a user by e-mail address.
   *
   * @param email normalized; it must match exactly (`normaliseEmail` is exported for the host's own table)
   * @param portal name of the portal
   */
  findByEmail(email: string, portal: string): Promise<User | undefined>
  /**
   * Creates a user after the registration.
   *
   * @param portal name of the portal
   * @throws EmailTakenError if another user has the address; the plugin then links the accounts or refuses
   */
  create(registration: Registration, portal: string): Promise<User>
  /**
   * Finds users for an administrator who looks for sessions. Without it, only an exact address or id finds a user.
   *
   * @param text a part of a name or an address, as entered
   * @param portal name of the portal
   * @returns at most 51 users: the page shows 50
   */
  search?(text: string, portal: string): Promise<readonly User[]>
  /**
   * Called at least once when an existing user has proven their address. Another person may have registered it before: delete the
   * user's password here, and end sessions that the plugin does not know. The sign-in waits for it. A rejection, or no result within
   * 2 seconds, refuses the sign-in, and the next one calls it again.
   *
   * @param portal name of the portal
   */
  onLinked?(user: User, linked: LinkedAddress, portal: string): Promise<void> | void
}

/** Remembers users for a few seconds, because every request of a signed-in user needs one. */
export class UserCache {
  readonly #users: Pick<UserDirectory, 'findById'>
  readonly #cache: StaleCache<User | undefined>

  /** @param users plain objects are cached; other users cannot be copied safely, so they are read each time */
  constructor(users: Pick<UserDirectory, 'findById'>, limits: { ttlMs: number; staleIfErrorMs: number }) {
    this.#users = users
    this.#cache = new StaleCache(async (key) => {
      const [portal, id] = JSON.parse(key) as [string, string]
      return await users.findById(id, portal)
    }, limits)
  }

  /** A sign-in has just read the user, so the first request need not. @param askedAt when it began to read */
  remember(user: User, portal: string, askedAt: number): void {
    if (!isActive(user)) return
    try {
      this.#cache.set(JSON.stringify([portal, String(user.id)]), plainCopy(user) as User, askedAt)
    } catch {
      // Read each time.
    }
  }

  /** @param onStale see `StaleCache` */
  async findById(id: string, portal: string, onStale?: () => void): Promise<User | undefined> {
    const key = JSON.stringify([portal, id])
    const user = await this.#cache.get(key, onStale)
    // Never cache "missing" or "inactive": a reactivated user would stay locked out on this instance.
    if (!user || !isActive(user)) this.#cache.delete(key)
    try {
      // A copy, so that changes to `req.user`, such as an added role, do not leak into other requests.
      return plainCopy(user) as User | undefined
    } catch {
      return await this.#users.findById(id, portal)
    }
  }
}

/** @throws CheckError if a copy would lose parts of the value */
function plainCopy(value: unknown): unknown {
  if (typeof value === 'function') throw new CheckError('type', 'functions cannot be copied')
  if (typeof value !== 'object' || value === null) return value
  if (types.isDate(value)) return new Date(value)
  if (Array.isArray(value)) return value.map(plainCopy)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null)
    throw new CheckError('type', 'instances of classes cannot be copied')
  const copy: Record<string, unknown> = { ...value }
  for (const name of Object.keys(copy)) {
    const part = copy[name]
    // Its own `__proto__` is an own field of the copy, too, so the assignment sets no prototype.
    if (typeof part === 'object' || typeof part === 'function') copy[name] = plainCopy(part)
  }
  return copy
}
