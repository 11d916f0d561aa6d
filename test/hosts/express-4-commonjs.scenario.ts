import { expect, it } from '@jest/globals'
import knexModule from 'knex'
import { type FreshDatabase, postgresUrl } from '../support/databases.ts'
import { describeHost } from './describe-host.ts'
import type { Host } from './host.ts'
import { signInAndOut } from './sign-in.ts'

describeHost('express-4-commonjs', { entry: 'host.js' }, (host) => {
  it('runs as a database role that may only read and change rows, after its owner has migrated', async () => {
    const running = await host.start('host.js', { prepare: (_port, database) => asRole(host, database) })
    try {
      await signInAndOut({ url: running.url })
    } finally {
      await running.stop()
    }
  })
})

/** Migrates with the command line, as the owner. @returns the DATABASE_URL of a role without the right to change tables */
async function asRole(host: Host, database: FreshDatabase) {
  const url = new URL(postgresUrl(database))
  const output = await host.run('env', `DATABASE_URL=${url.href}`, 'portal-sso', 'migrate')
  expect(output).toContain('001-initial')
  const role = `role${url.pathname.replace('/', '_')}`
  const owner = knexModule(database.config)
  await owner.raw('create role ?? login', [role])
  await owner.raw('grant select, insert, update, delete on all tables in schema public to ??', [role])
  url.username = role
  return {
    env: { DATABASE_URL: url.href },
    async stop() {
      await owner.raw('drop owned by ??', [role])
      await owner.raw('drop role ??', [role])
      await owner.destroy()
    },
  }
}
