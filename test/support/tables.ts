import fs from 'node:fs'
import path from 'node:path'
import type { Knex } from 'knex'
import { createConnection } from 'mysql2/promise'
import { migrate } from '../../lib/database/migrate.ts'

/** Statements that create the tables of an empty database, with the rows that the migrations write. */
type Script = string

interface SqliteConnection {
  exec(script: Script): void
}
interface PostgresConnection {
  query(script: Script): Promise<unknown>
}

/**
 * Creates the tables in an empty database. The migrations run once in each run and are then copied, because they take half of the
 * time that a portal takes to start. test/database/migrate.test.ts compares their tables with these.
 */
export async function createTables(knex: Knex): Promise<void> {
  const dialect = knex.client.dialect as keyof typeof dumps
  const folder = process.env.TEST_RUN_FOLDER
  // A benchmark has no folder.
  if (folder === undefined) {
    await migrate(knex)
    return
  }
  const file = path.join(folder, `tables-${dialect}.sql`)
  if (fs.existsSync(file)) return await runScript(knex, fs.readFileSync(file, 'utf8'))
  const script = await dumps[dialect](knex)
  // Another worker may write the same file at the same time.
  const draft = `${file}-${process.pid}`
  fs.writeFileSync(draft, script)
  fs.renameSync(draft, file)
}

async function runScript(knex: Knex, script: Script): Promise<void> {
  if (knex.client.dialect === 'mysql') {
    const connection = await createConnection({ ...knex.client.connectionSettings, multipleStatements: true })
    await connection.query(script)
    return await connection.end()
  }
  const connection = await knex.client.acquireConnection()
  try {
    if (knex.client.dialect === 'postgresql') await (connection as PostgresConnection).query(script)
    else (connection as SqliteConnection).exec(script)
  } finally {
    await knex.client.releaseConnection(connection)
  }
}

/** Migrate an empty database, and return the script that copies its tables. */
const dumps = { sqlite3: dumpSqlite, postgresql: recordMigrations, mysql: dumpMariadb }

async function dumpSqlite(knex: Knex): Promise<Script> {
  await migrate(knex)
  const statements = await knex('sqlite_master')
    .whereNotNull('sql')
    .whereRaw("name not glob 'sqlite_*'")
    .orderByRaw("type = 'table' desc, rowid")
    .pluck('sql')
  return join([...statements, ...(await insertedRows(knex))])
}

/** PostgreSQL cannot dump its tables itself. */
async function recordMigrations(knex: Knex): Promise<Script> {
  const statements: string[] = []
  const record = ({ sql }: { sql: string }) => {
    if (/^(create|alter|drop|comment) /i.test(sql)) statements.push(sql)
  }
  knex.on('query', record)
  await migrate(knex)
  knex.removeListener('query', record)
  return join([...statements, ...(await insertedRows(knex))])
}

async function dumpMariadb(knex: Knex): Promise<Script> {
  await migrate(knex)
  const [tables] = (await knex.raw('show tables')) as [object[]]
  const statements: string[] = []
  for (const table of tables) {
    const [[created]] = await knex.raw('show create table ??', Object.values(table))
    statements.push(created['Create Table'].replace(/ AUTO_INCREMENT=\d+/, ''))
  }
  return join([...statements, ...(await insertedRows(knex))])
}

async function insertedRows(knex: Knex): Promise<string[]> {
  const applied = await knex('sso_migrations').select('name', 'batch', 'migration_time').orderBy('id')
  const locks = await knex('sso_migrations_lock').select('is_locked')
  return [
    knex('sso_migrations').insert(applied).toQuery(),
    knex('sso_migrations_lock').insert(locks).toQuery(),
  ]
}

const join = (statements: readonly string[]): Script => statements.map((each) => `${each};\n`).join('')
