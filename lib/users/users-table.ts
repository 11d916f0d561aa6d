import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { likePattern, selectRows } from '../database/statement.ts'
import { EmailTakenError } from '../shared/errors.ts'
import { timeOrderedUuid } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import type { LinkedUser, Registration, Subject, User, UserDirectory } from './user-directory.ts'

interface Row {
  id: string
  email: string
  name: string
  active: boolean | number
}

/** `id` is null if the user was deleted. */
type LinkedRow = Row & { user_id: string; proven_email: string | null }

/** Rows read at once. */
const pageSize = 1000

/** Users that a search shows. */
export const maxUsersFound = 50

const columns: (keyof Row)[] = ['id', 'email', 'name', 'active']

const linkedUser = `select linked.user_id as user_id, linked.proven_email as proven_email,
  found.id as id, found.email as email, found.name as name, found.active as active
  from sso_identities linked
  left join sso_users found on found.id = linked.user_id and found.portal = linked.portal
  where linked.portal = ? and linked.issuer = ? and linked.subject = ?`

/** The built-in user directory, `sso_users`. */
export class UsersTable implements UserDirectory {
  readonly #knex: Knex

  constructor({ knex }: Pick<Core, 'knex'>) {
    this.#knex = knex
  }

  async findById(id: string, portal: string): Promise<User | undefined> {
    const sql = `select ${columns.join(', ')} from sso_users where id = ? and portal = ?`
    const [row] = await selectRows<Row>(this.#knex, { sql, bindings: [id, portal] })
    return row && fromRow(row)
  }

  /** The user that an identity is linked to, in one query. */
  async findLinked(portal: string, { issuer, subject }: Subject): Promise<LinkedUser | undefined> {
    const bindings = [portal, issuer, subject]
    const [row] = await selectRows<LinkedRow>(this.#knex, { sql: linkedUser, bindings })
    if (!row) return undefined
    const { user_id: userId, proven_email } = row
    const user = row.id === null ? undefined : fromRow(row)
    return { userId, provenEmails: proven_email === null ? [] : [proven_email], user }
  }

  async findByEmail(email: string, portal: string): Promise<User | undefined> {
    const row: Row | undefined = await this.#rows().select(columns).where({ email, portal }).first()
    return row && fromRow(row)
  }

  /** @param ids at most 1,000 */
  async findAll(ids: readonly string[], portal: string): Promise<User[]> {
    // Without the portal in the condition, for which SQLite would read all its users.
    const rows: (Row & { portal: string })[] = await this.#rows()
      .select(...columns, 'portal')
      .whereIn('id', ids)
    return rows.filter((row) => row.portal === portal).map(fromRow)
  }

  /** Reads the users of one portal until enough are found: no index finds a part of a name. */
  async search(text: string, portal: string): Promise<User[]> {
    const rows: Row[] = await this.#rows()
      .select(columns)
      .where({ portal })
      .whereRaw(
        "(lower(name) like ? escape '!' or email like ? escape '!')",
        Array(2).fill(likePattern(text)),
      )
      .limit(maxUsersFound + 1)
    return rows.map(fromRow)
  }

  async create({ email, name, fields }: Registration, portal: string): Promise<User> {
    const id = timeOrderedUuid()
    try {
      await this.#rows().insert({
        id,
        portal,
        email,
        name,
        active: true,
        fields: JSON.stringify(fields),
        created_at: new Date().toISOString(),
      })
    } catch (error) {
      throw isUniqueViolation(error) ? new EmailTakenError({ cause: error }) : error
    }
    return { id, email, name, active: true }
  }

  /** All users by address, page after page. */
  async *pages(portal: string): AsyncGenerator<User[]> {
    let after = ''
    for (let rows: Row[]; ; after = rows.at(-1)?.email ?? '') {
      rows = await this.#rows()
        .select(columns)
        .where({ portal })
        .where('email', '>', after)
        .orderBy('email')
        .limit(pageSize)
      if (rows.length > 0) yield rows.map(fromRow)
      if (rows.length < pageSize) return
    }
  }

  async setActive(id: string, active: boolean, portal: string): Promise<boolean> {
    return (await this.#rows().where({ id, portal }).update({ active })) > 0
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_users')
  }
}

function fromRow(row: Row): User {
  return { id: row.id, email: row.email, name: row.name, active: Boolean(row.active) }
}
