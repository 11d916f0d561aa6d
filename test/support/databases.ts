import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import knexModule, { type Knex } from 'knex'
import { createConnection } from 'mysql2/promise'
import pg from 'pg'
import { configFromUrl } from '../../lib/database/connect.ts'
import { migrate } from '../../lib/database/migrate.ts'
import { sqliteConfig } from '../../lib/database/sqlite.ts'
import { createTables } from './tables.ts'

export interface FreshDatabase {
  config: Knex.Config
  drop(): Promise<void>
}

/** Creates a new database on the test server. */
export async function freshPostgres(): Promise<FreshDatabase> {
  const connectionString = process.env.TEST_DATABASE_URL!
  const name = `portal_sso_${randomBytes(8).toString('hex')}`
  const onServer = async (statement: string) => {
    const client = new pg.Client({ connectionString })
    await client.connect()
    try {
      await client.query(statement)
    } finally {
      await client.end()
    }
    return client
  }
  // template0 never has connections, which would prevent the copy.
  const { host, port, user, password, ssl } = await onServer(`create database ${name} template template0`)
  return {
    // pg parses the URL, because knex silently reads some socket URLs as 127.0.0.1:5432.
    config: {
      client: 'pg',
      connection: { host, port, user, password, ssl, database: name } as Knex.PgConnectionConfig,
      pool: { min: 0, max: 10 },
    },
    drop: async () => {
      await onServer(`drop database if exists ${name} with (force)`)
    },
  }
}

/** The URL of a PostgreSQL database, on the server that the tests were given. */
export function postgresUrl({ config }: FreshDatabase): string {
  const address = new URL(process.env.TEST_DATABASE_URL!)
  address.pathname = `/${(config.connection as Knex.PgConnectionConfig).database}`
  return address.href
}

/** Creates a new database on the test server. Its default character set must not matter. */
export async function freshMariadb(): Promise<FreshDatabase> {
  const uri = process.env.TEST_MARIADB_URL!
  const database = `portal_sso_${randomBytes(8).toString('hex')}`
  const onServer = async (statement: string) => {
    const connection = await createConnection({ uri })
    try {
      await connection.query(statement)
    } finally {
      await connection.end()
    }
  }
  await onServer(`create database ${database} character set latin1`)
  return {
    config: configFromUrl(`${uri}/${database}`),
    drop: () => onServer(`drop database if exists ${database}`),
  }
}

/** Creates a new database in a temporary file. */
export async function freshSqlite(): Promise<FreshDatabase> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'portal-sso-sqlite-'))
  return {
    config: sqliteConfig(path.join(folder, 'test.sqlite')),
    drop: async () => fs.rmSync(folder, { recursive: true, force: true }),
  }
}

/** Opens a new database with all tables. `close` also drops it. */
export async function openMigrated(
  fresh: () => Promise<FreshDatabase>,
): Promise<{ config: Knex.Config; knex: Knex; close(): Promise<void> }> {
  const { config, drop } = await fresh()
  const knex = knexModule(config)
  await migrate(knex)
  return {
    config,
    knex,
    async close() {
      await knex.destroy()
      await drop()
    },
  }
}

/** Adds the tables to a new database of `fresh`. */
const withTables = (fresh: () => Promise<FreshDatabase>) => async (): Promise<FreshDatabase> => {
  const database = await fresh()
  const knex = knexModule(database.config)
  await createTables(knex)
  await knex.destroy()
  return database
}

const everyServer = [
  ['SQLite', freshSqlite],
  ['PostgreSQL', freshPostgres],
  ['MariaDB', freshMariadb],
] as const

/** For `describe.each`. A run with Express 4 is about Express only, so that one database is enough. */
export const everyEmptyDatabase = process.env.EXPRESS === '4' ? everyServer.slice(0, 1) : everyServer

/** For `describe.each`. They contain the tables. */
export const everyDatabase = everyEmptyDatabase.map(([name, fresh]) => [name, withTables(fresh)] as const)
