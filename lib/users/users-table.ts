import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import { EmailTakenError } from '../shared/errors.ts'
import type { User, UserDirectory } from './user-directory.ts'

export interface UsersTable extends UserDirectory {
  list(portal: string): Promise<User[]>
  /** @returns whether there is one of that id */
  setActive(id: string, active: boolean, portal: string): Promise<boolean>
}

interface Row {
  id: string
  email: string
  name: string
  active: boolean | number
}

/** The built-in directory. */
export function createUsersTable(knex: Knex): UsersTable {
  const rows = () => knex('sso_users')
  const columns: (keyof Row)[] = ['id', 'email', 'name', 'active']

  async function find(where: Record<string, string>): Promise<User | undefined> {
    const row: Row | undefined = await rows().select(columns).where(where).first()
    return row && fromRow(row)
  }

  return {
    findById: (id, portal) => find({ id, portal }),
    findByEmail: (email, portal) => find({ email, portal }),
    async create({ email, name, fields }, portal) {
      const id = randomUUID()
      try {
        await rows().insert({
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
    },
    async setActive(id, active, portal) {
      return (await rows().where({ id, portal }).update({ active })) > 0
    },
    async list(portal) {
      const all: Row[] = await rows().select(columns).where({ portal }).orderBy('email')
      return all.map(fromRow)
    },
  }
}

function fromRow(row: Row): User {
  return { id: row.id, email: row.email, name: row.name, active: Boolean(row.active) }
}
