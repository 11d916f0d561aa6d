import { afterEach, describe, expect, it } from '@jest/globals'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import { startPortal } from '../support/portal.ts'
import { useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()
const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close()
})

describe.each(everyDatabase.filter(([name]) => name !== 'MariaDB'))(
  '50 users who sign in at once (%s)',
  (_name, fresh) => {
    it('all succeed, also the next time, and are logged', async () => {
      const database = await openMigrated(fresh)
      const portal = await startPortal({ database: database.knex })
      open.push(database, portal)
      await portal.connect(provider)
      const people = Array.from({ length: 50 }, (_, n) => ({
        sub: `user-${n}`,
        email: `user-${n}@example.com`,
        email_verified: true,
      }))
      for (const { email } of people) await portal.sso.users.create({ email, name: email, fields: {} })
      for (let time = 0; time < 2; time++) {
        let next = 0
        provider.nextPerson = () => people[next++]!
        const pages = await Promise.all(
          people.map(() => new Visitor().open(`${portal.url}/login/acme?returnTo=/portal`)),
        )
        const emails = pages.map(({ body }) => (JSON.parse(body) as { user: { email: string } }).user.email)
        expect(emails.sort()).toEqual(people.map(({ email }) => email).sort())
      }
      expect(await database.knex('sso_events').where({ kind: 'signed-in' })).toHaveLength(100)
      expect(portal.logs.filter(({ level }) => level === 'error')).toEqual([])
    })
  },
)
