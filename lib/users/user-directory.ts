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
