import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals'
import knexModule, { type Knex } from 'knex'
import { connectDatabase, inTransaction } from '../../lib/database/connect.ts'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import { type FreshDatabase, freshSqlite } from '../support/databases.ts'

/** Another process that holds the lock for writing until its input ends. */
async function lock(filename: string): Promise<() => Promise<void>> {
  const script = `
    const database = new (require('libsql'))(process.argv[1])
    database.exec('BEGIN IMMEDIATE')
    console.log('locked')
    process.stdin.on('end', () => database.exec('COMMIT')).resume()`
  const child = spawn(process.execPath, ['-e', script, filename], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return async () => {
    child.stdin.end()
    await once(child, 'exit')
  }
}

const BetterSqlite3Client = knexModule({ client: 'better-sqlite3', useNullAsDefault: true }).client
  .constructor as typeof Knex.Client

/** A client whose connections wait for five seconds in this thread, like those of better-sqlite3. */
class BlockingClient extends BetterSqlite3Client {
  _driver(): unknown {
    return createRequire(import.meta.url)('libsql')
  }
}

function hostKnex({ connection }: Knex.Config): Knex {
  const afterCreate = (opened: { pragma(statement: string): void }, done: (error?: Error) => void) => {
    opened.pragma('busy_timeout = 5000')
    done()
  }
  const pool = { min: 1, max: 1, afterCreate }
  return knexModule({ client: BlockingClient, useNullAsDefault: true, connection: connection!, pool })
}

/** The first reading is long ago. */
const passTheTimeLimit = () => jest.spyOn(performance, 'now').mockReturnValueOnce(-60_000)

describe.each([
  ['our own connection', (config: Knex.Config) => config],
  ["a host's connection", hostKnex],
])('while another process writes into the SQLite file, %s', (_whose, source) => {
  let database: FreshDatabase
  let knex: Knex
  let filename: string
  let given: Knex | Knex.Config

  beforeAll(async () => {
    database = await freshSqlite()
    ;({ filename } = database.config.connection as Knex.Sqlite3ConnectionConfig)
    given = source(database.config)
    knex = connectDatabase(given).knex
    await knex.schema.createTable('notes', (table) => table.increments())
  })
  afterAll(async () => {
    await (typeof given === 'function' ? given : knex).destroy()
    await database.drop()
  })

  const numbers = (on: Knex = knex): Promise<number[]> => on('notes').orderBy('id').pluck('id')

  it.each([
    ['a statement', () => knex('notes').insert({ id: 1 })],
    ['a statement that returns rows', () => knex('notes').insert({ id: 2 }).returning('id')],
    ['a transaction', () => inTransaction(knex, (on) => on('notes').insert({ id: 3 }))],
    [
      'a transaction that reads first',
      () =>
        inTransaction(knex, async (on) => {
          const found = await numbers(on)
          await on('notes').insert({ id: found.length + 1 })
        }),
    ],
  ])('waits with timers before %s', async (_what, write) => {
    const before = await numbers()
    const unlock = await lock(filename)
    let isWritten = false
    const written = write().then(() => {
      isWritten = true
    })
    // With a blocked loop, none of these timers would run before the lock is given up on.
    for (let turn = 0; turn < 10; turn++) await sleep(1)
    expect(isWritten).toBe(false)
    await unlock()
    await written
    // Another connection sees it: it is committed.
    const other = knexModule(sqliteConfig(filename))
    expect(await numbers(other)).toHaveLength(before.length + 1)
    await other('notes').where({ id: 0 }).delete()
    await other.destroy()
  })

  it('fails after five seconds as before, and writes again afterwards', async () => {
    const unlock = await lock(filename)
    passTheTimeLimit()
    await expect(knex('notes').insert({ id: 10 })).rejects.toThrow('database is locked')
    passTheTimeLimit()
    await expect(inTransaction(knex, (on) => on('notes').insert({ id: 11 }))).rejects.toThrow(
      'database is locked',
    )
    await unlock()
    await knex('notes').insert({ id: 12 })
    const other = knexModule(sqliteConfig(filename))
    expect((await numbers(other)).at(-1)).toBe(12)
    await other('notes').insert({ id: 13 })
    await other.destroy()
    expect((await numbers()).at(-1)).toBe(13)
  })

  it('rolls back a statement that fails', async () => {
    await expect(knex('notes').insert([{ id: 20 }, { id: 20 }])).rejects.toThrow('UNIQUE')
    expect(await numbers()).not.toContain(20)
    await knex('notes').insert({ id: 21 })
    expect(await numbers()).toContain(21)
  })
})
