import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { everyDatabase, openMigrated } from '../support/databases.ts'
import { mountDefault, startPortal, type TestPortal } from '../support/portal.ts'
import { ada, signIn, useProvider } from '../support/scene.ts'
import { Visitor } from '../support/visitor.ts'

const provider = await useProvider()

// An older instance that restarts during a deployment, or after a rollback.
describe.each(everyDatabase)('on %s, tables with a migration of a newer version', (_name, fresh) => {
  let database: Awaited<ReturnType<typeof openMigrated>>
  let portal: TestPortal
  let visitor: Visitor

  beforeEach(async () => {
    database = await openMigrated(fresh)
    const { knex } = database
    await knex('sso_migrations').insert({ name: '999-newer', batch: 99, migration_time: new Date() })
    for (const table of ['sso_users', 'sso_identities', 'sso_providers', 'sso_sessions', 'sso_events'])
      await knex.schema.alterTable(table, (columns) =>
        columns.string('newer').notNullable().defaultTo('unset'),
      )
    visitor = new Visitor()
  })
  afterEach(async () => {
    await portal.close()
    await database.close()
  })

  async function start(migrate: boolean): Promise<void> {
    portal = await startPortal({
      database: database.knex,
      migrate,
      mount(app, sso) {
        mountDefault(app, sso)
        app.use('/admin/sso', sso.admin({ authorize: () => true }))
      },
    })
  }

  it('serve this version, whether it may migrate or not', async () => {
    await start(true)
    await portal.connect(provider)
    await portal.sso.users.create(ada)
    expect((await signIn({ portal, visitor }, 'acme')).url).toBe(`${portal.url}/portal`)
    expect((await visitor.get(`${portal.url}/account/security`)).status).toBe(200)
    await visitor.post(`${portal.url}/logout`)
    expect((await visitor.get(`${portal.url}/portal`)).status).toBe(302)
    await portal.close()

    await start(false)
    provider.person = { sub: 'grace', email: 'grace@example.com', email_verified: true, name: 'Grace' }
    expect((await signIn({ portal, visitor }, 'acme')).url).toBe(`${portal.url}/register`)
    await visitor.follow(await visitor.post(`${portal.url}/register`, { name: 'Grace' }))
    expect((await visitor.get(`${portal.url}/portal`)).body).toContain('grace@example.com')
    for (const table of ['sso_users', 'sso_identities', 'sso_providers', 'sso_sessions'])
      expect(new Set(await database.knex(table).pluck('newer'))).toEqual(new Set(['unset']))
  })

  it('keep the values of the newer version, also of a provider whose preset is unknown', async () => {
    await start(true)
    await portal.connect(provider)
    await portal.sso.users.create(ada)
    await database.knex('sso_providers').update({ preset: 'newer', newer: 'set' })
    for (const page of ['', '/acme', '/acme/edit', '/events'])
      expect([page, (await visitor.get(`${portal.url}/admin/sso${page}`)).status]).toEqual([page, 200])
    await portal.sso.providers.update('acme', { prompt: 'login' })
    expect(await database.knex('sso_providers').first('prompt', 'newer')).toEqual({
      prompt: 'login',
      newer: 'set',
    })
    expect((await signIn({ portal, visitor }, 'acme')).status).toBe(200)
  })
})
