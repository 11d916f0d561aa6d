import { existsSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { configFromUrl } from '../../lib/database/connect.ts'
import { migrate, openDatabase, pendingMigrations, unlockMigrations } from '../../lib/database/migrate.ts'
import {
  everyDatabase,
  everyEmptyDatabase,
  type FreshDatabase,
  freshMariadb,
  freshPostgres,
} from '../support/databases.ts'

const logger = { info() {}, warn() {}, error() {} }

let database: FreshDatabase
let open: Knex[]
let knex: Knex

function useFresh(fresh: () => Promise<FreshDatabase>): void {
  beforeEach(async () => {
    database = await fresh()
    open = []
    knex = connect()
  })
  afterEach(async () => {
    await Promise.all(open.map((each) => each.destroy()))
    await database.drop()
  })
}

/** Opens another connection, as another instance or another role would. */
function connect(more: Knex.Config = {}): Knex {
  const { connection, ...config } = database.config
  const merged = { ...(connection as object), ...(more.connection as object | undefined) }
  const another = knexModule({ ...config, ...more, connection: merged, log: { warn() {}, error() {} } })
  open.push(another)
  return another
}

const start = (source: Knex = knex) => openDatabase({ database: source, migrate: true, logger })

describe.each(everyEmptyDatabase)('a start on %s', (_name, fresh) => {
  useFresh(fresh)

  it('accepts tables with a migration of a newer version', async () => {
    await migrate(knex)
    await knex('sso_migrations').insert({ name: '999-newer', batch: 99, migration_time: new Date() })
    await knex.schema.alterTable('sso_users', (table) => table.string('newer'))
    await start()
    await openDatabase({ database: knex, migrate: false, logger })
    expect(await pendingMigrations(knex)).toEqual([])
  })

  it('runs the missing migrations beside one of a newer version', async () => {
    await migrate(knex)
    await knex('sso_migrations').insert({ name: '999-newer', batch: 99, migration_time: new Date() })
    await knex.schema.dropTable('sso_redeemed_codes')
    await knex('sso_migrations').where({ name: '005-redeemed-codes' }).delete()
    expect(await migrate(knex)).toEqual(['005-redeemed-codes'])
  })

  it('fails at once, with an explanation, if the host has a table of the same name', async () => {
    await knex.schema.createTable('sso_users', (table) => table.increments())
    await expect(start()).rejects.toThrow(/^database .+: .*sso_users.* already exists/)
    await knex.schema.dropTable('sso_users')
    await start()
  })

  it('finds the pending migrations without writing', async () => {
    expect((await pendingMigrations(knex)).length).toBeGreaterThan(0)
    expect(await knex.schema.hasTable('sso_migrations')).toBe(false)
    expect(await knex.schema.hasTable('sso_migrations_lock')).toBe(false)
  })
})

describe.each(everyDatabase)('the tables that other tests start with on %s', (name, withTables) => {
  const fresh = everyEmptyDatabase.find(([each]) => each === name)![1]
  useFresh(fresh)

  it('are those of the migrations', async () => {
    await migrate(knex)
    // The first one in a run is migrated, the next ones are copied.
    await (await withTables()).drop()
    const other = await withTables()
    const prepared = knexModule(other.config)
    expect(await shapeOf(prepared)).toEqual(await shapeOf(knex))
    expect(await pendingMigrations(prepared)).toEqual([])
    // Knex's own writes continue after the copied rows.
    await prepared('sso_migrations').insert({ name: '999-newer', batch: 99, migration_time: new Date() })
    await prepared.destroy()
    await other.drop()
  })
})

/** The definitions of all tables, columns, indexes and constraints, and the rows of the migrations. */
async function shapeOf(source: Knex): Promise<unknown> {
  const rows = [
    await source('sso_migrations').select('id', 'name', 'batch').orderBy('id'),
    await source('sso_migrations_lock').select(),
  ]
  if (source.client.dialect === 'mysql') {
    const [tables] = (await source.raw('show tables')) as [object[]]
    const names = tables.flatMap((table) => Object.values(table) as string[])
    return [
      ...rows,
      ...(await Promise.all(
        names.map(async (each) => (await source.raw('show create table ??', [each]))[0]),
      )),
    ]
  }
  if (source.client.dialect !== 'postgresql')
    return [...rows, await source('sqlite_master').select('type', 'name', 'tbl_name', 'sql').orderBy('name')]
  return [
    ...rows,
    await source('information_schema.columns')
      .where({ table_schema: 'public' })
      .select(
        'table_name',
        'column_name',
        'data_type',
        'character_maximum_length',
        'is_nullable',
        'column_default',
      )
      .orderBy(['table_name', 'column_name']),
    await source('pg_indexes').where({ schemaname: 'public' }).select('indexdef').orderBy('indexdef'),
    await source('pg_constraint')
      .whereRaw("connamespace = 'public'::regnamespace")
      .select('conname', source.raw('pg_get_constraintdef(oid) as definition'))
      .orderBy('conname'),
  ]
}

describe('a start on PostgreSQL', () => {
  useFresh(freshPostgres)

  it('needs no right to change tables if none is pending', async () => {
    await migrate(knex)
    const role = await createRole()
    await knex.raw('grant select, insert, update, delete on all tables in schema public to ??', [role])
    await knex.raw('revoke all on sso_migrations, sso_migrations_lock from ??', [role])
    await knex.raw('grant select on sso_migrations to ??', [role])
    await start(connect({ connection: { user: role } }))
  })

  it('fails at once without the right to change tables, and says what to do', async () => {
    const role = await createRole()
    await expect(start(connect({ connection: { user: role } }))).rejects.toThrow(
      /its user lacks the permission: run `portal-sso migrate` as a user who may change tables$/,
    )
  })

  it('works on a read-only database if nothing is pending, and fails at once otherwise', async () => {
    const readOnly = connect({ connection: { options: '-c default_transaction_read_only=on' } })
    await expect(start(readOnly)).rejects.toThrow(/it is read-only/)
    await migrate(knex)
    await start(readOnly)
  })

  it('keeps the migration tables in `migrations.schemaName`', async () => {
    await knex.raw('create schema own')
    const own = connect({ migrations: { schemaName: 'own' } })
    await Promise.all([start(own), start(connect({ migrations: { schemaName: 'own' } }))])
    expect(await pendingMigrations(own)).toEqual([])
    expect(await own('sso_migrations_lock').withSchema('own').pluck('is_locked')).toEqual([0])
    expect(await knex.schema.hasTable('sso_migrations')).toBe(false)
    expect(await knex.schema.hasTable('sso_migrations_lock')).toBe(false)
    await own('sso_migrations_lock').withSchema('own').update({ is_locked: 1 })
    await unlockMigrations(own)
    expect(await own('sso_migrations_lock').withSchema('own').pluck('is_locked')).toEqual([0])
  })

  it('works in the schema of the search path', async () => {
    await knex.raw('create schema app')
    await start(connect({ searchPath: ['app'] }))
    expect(await knex.schema.withSchema('app').hasTable('sso_users')).toBe(true)
    const { host, port, database: name } = database.config.connection as Record<string, string>
    const url = `postgres://postgres@${host}:${port}/${name}?options=-c%20search_path%3Dapp`
    const viaUrl = knexModule(configFromUrl(url))
    open.push(viaUrl)
    expect(await pendingMigrations(viaUrl)).toEqual([])
  })

  it('names the database, without its password, if it cannot be used', async () => {
    const { host, port } = database.config.connection as Record<string, string>
    const failing: [url: string, message: string | RegExp][] = [
      [`postgres://ada:geheim@${host}:1/portal`, /^database postgres:\/\/ada@.*:1\/portal: nothing listens/],
      [
        `postgres://postgres:geheim@${host}:${port}/nowhere`,
        /\/nowhere: it does not exist: create it first$/,
      ],
      ['sqlite:/nowhere/portal.sqlite', /^database \/nowhere\/portal\.sqlite: its file cannot be opened/],
    ]
    for (const [url, message] of failing) {
      const failure = await openDatabase({ database: url, migrate: true, logger }).catch(
        (error: Error) => error,
      )
      expect(String((failure as Error).message)).toMatch(message)
      expect(String((failure as Error).message)).not.toContain('geheim')
    }
  })

  /** A role that may connect. */
  async function createRole(): Promise<string> {
    const role = `role_${(database.config.connection as { database: string }).database}`
    await knex.raw('create role ?? login', [role])
    const { drop } = database
    database.drop = async () => {
      const admin = knexModule({ ...database.config, connection: process.env.TEST_DATABASE_URL! })
      await drop()
      await admin.raw('drop role ??', [role])
      await admin.destroy()
    }
    return role
  }
})

describe('a start on MariaDB', () => {
  useFresh(freshMariadb)

  it('never continues without TLS where its URL asks for it', async () => {
    const {
      host,
      port,
      user,
      password,
      database: name,
    } = database.config.connection as Record<string, string>
    const url = `mysql://${user}:${encodeURIComponent(password ?? '')}@${host}:${port}/${name}`
    await (await openDatabase({ database: url, migrate: true, logger })).close()
    await expect(openDatabase({ database: `${url}?ssl=true`, migrate: true, logger })).rejects.toThrow(
      /^database mysql|secure connection|certificate/,
    )
  })

  it.each<[name: string, connection: object, message: string]>([
    [
      'reports changed rows in place of matched ones',
      { flags: '-FOUND_ROWS' },
      'remove `-FOUND_ROWS` from the flags',
    ],
    ['cuts off values that are too long', { sqlMode: '' }, 'add STRICT_TRANS_TABLES to `sql_mode`'],
    [
      'lets a value end its quotes (SQL injection)',
      { sqlMode: 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES' },
      'remove NO_BACKSLASH_ESCAPES from `sql_mode`',
    ],
  ])(
    'is refused if the connection %s',
    async (_name, { sqlMode, ...connection }: { sqlMode?: string }, message) => {
      const afterCreate = (
        raw: { query(sql: string, done: (error: unknown) => void): void },
        done: (error: unknown, raw: unknown) => void,
      ) => raw.query(`set session sql_mode = '${sqlMode}'`, (error) => done(error, raw))
      const loose = connect({
        connection,
        ...(sqlMode !== undefined && { pool: { min: 0, max: 2, afterCreate } }),
      })
      await expect(start(loose)).rejects.toThrow(message)
      expect(await knex.schema.hasTable('sso_migrations')).toBe(false)
    },
  )

  it('finishes migrations that crashed between any two of their statements', async () => {
    await start()
    const complete = await columnsAndIndexes()
    for (const crashAt of [2, 9, 16, 23, 31, 38, 45]) {
      await database.drop()
      database = await freshMariadb()
      knex = connect()
      await expect(migrate(crashing(crashAt))).rejects.toThrow('crash')
      expect((await pendingMigrations(knex)).length).toBeGreaterThan(0)
      // The crashed process has not released its lock.
      if (await knex.schema.hasTable('sso_migrations_lock'))
        await knex('sso_migrations_lock').update({ is_locked: 1 })
      await unlockMigrations(knex)
      await start()
      expect(await columnsAndIndexes()).toEqual(complete)
    }
  })

  it('does not mistake a table of the host for one of an unfinished migration', async () => {
    await expect(migrate(crashing(12))).rejects.toThrow('crash')
    await knex.schema.dropTableIfExists('sso_users')
    await knex.schema.createTable('sso_users', (table) => table.increments('invoice'))
    await expect(start()).rejects.toThrow(/sso_users.* already exists/)
    expect(await knex.schema.hasColumn('sso_users', 'invoice')).toBe(true)
  })

  /** A connection on which the statements that change tables fail after the first `count`. */
  function crashing(count: number): Knex {
    let left = count
    type Query = (options: { sql: string }, ...more: unknown[]) => unknown
    const afterCreate = (raw: { query: Query }, done: (error: null, raw: unknown) => void) => {
      const query = raw.query.bind(raw)
      raw.query = (options, ...more) => {
        if (/^(?:create|alter|rename)/.test(options.sql) && left-- <= 0) options.sql = 'crash'
        return query(options, ...more)
      }
      done(null, raw)
    }
    return connect({ pool: { min: 0, max: 2, afterCreate } })
  }

  async function columnsAndIndexes(): Promise<unknown> {
    const ours = "table_schema = database() and table_name like 'sso%'"
    const [columns] = (await knex.raw(
      `select table_name, column_name, column_type, collation_name from information_schema.columns where ${ours} order by 1, 2`,
    )) as [unknown]
    const [indexes] = (await knex.raw(
      `select table_name, index_name, column_name, seq_in_index, non_unique from information_schema.statistics where ${ours} order by 1, 2, 4`,
    )) as [unknown]
    return { columns, indexes }
  }
})

describe('unlocking', () => {
  useFresh(freshPostgres)

  it('neither waits for a running migration nor releases its lock', async () => {
    await migrate(knex)
    await knex.transaction(async (running) => {
      await running('sso_migrations_lock').update({ is_locked: 1 })
      await expect(unlockMigrations(knex)).rejects.toThrow('another process is running the migrations')
    })
    expect(await knex('sso_migrations_lock').pluck('is_locked')).toEqual([1])
    await unlockMigrations(knex)
    expect(await knex('sso_migrations_lock').pluck('is_locked')).toEqual([0])
  })

  it('does nothing on an empty database', async () => {
    await unlockMigrations(knex)
    expect(await knex.schema.hasTable('sso_migrations_lock')).toBe(false)
  })
})

describe('a DATABASE_URL', () => {
  it.each(['ge#heim', 'ge/heim', 'ge?heim', '12/heim', '12?heim', 'ge%heim', 'ge@he/im'])(
    'with the password %s asks for percent-encoding, and prints no part of it',
    (password) => {
      const read = () => configFromUrl(`postgres://ada:${password}@db.example.com/portal`)
      expect(read).toThrow(/^database \(DATABASE_URL\): percent-encode the special characters/)
      expect(read).not.toThrow(/heim|12|ge%/)
      expect(() =>
        configFromUrl(`postgres://ada:${encodeURIComponent(password)}@db.example.com/portal`),
      ).not.toThrow()
    },
  )

  it('of MariaDB with ssl=true verifies the certificate and its host name', () => {
    const read = (more: string) => configFromUrl(`mysql://ada:geheim@db.example.com/portal${more}`)
    expect(read('').connection).not.toHaveProperty('ssl')
    expect(read('?ssl=true').connection).toMatchObject({ ssl: { verifyIdentity: true } })
  })

  it.each(['ssl=false', 'ssl-mode=REQUIRED', 'sslmode=require', 'ssl=true&charset=latin1', 'ssl={}'])(
    'of MariaDB with the parameter %s is refused, so that none is ignored',
    (parameter) => {
      const read = () => configFromUrl(`mysql://ada:geheim@db.example.com/portal?${parameter}`)
      expect(read).toThrow(
        /^database \(DATABASE_URL\): of the parameters after `\?`, only `ssl=true` is supported/,
      )
    },
  )

  it('of a file creates nothing before it is used', () => {
    const file = path.join(os.tmpdir(), 'portal-sso-never.sqlite')
    configFromUrl(`sqlite:${file}`)
    expect(existsSync(file)).toBe(false)
  })
})
