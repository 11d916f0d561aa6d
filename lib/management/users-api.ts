import type { ActOptions } from '../shared/act-options.ts'
import type { Registration, User, UserDirectory } from '../users/user-directory.ts'

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
