import type { Knex } from 'knex'
import { binaryCollation, isMysql } from './mysql.ts'

/**
 * Creates a table. MariaDB and MySQL cannot roll that back, so the table is built under another name. A migration that crashed in
 * between can run again.
 */
export async function createTable(
  knex: Knex,
  name: string,
  define: (table: Knex.CreateTableBuilder) => void,
): Promise<void> {
  if (!isMysql(knex)) return await knex.schema.createTable(name, define)
  if (await isApplied(knex, name)) return
  const collation = await binaryCollation(knex)
  const unfinished = `${name}_unfinished`
  await knex.schema.dropTableIfExists(unfinished)
  await knex.schema.createTable(unfinished, (table) => {
    table.charset('utf8mb4')
    table.collate(collation)
    table.comment(ourMark)
    define(table)
  })
  await knex.schema.renameTable(unfinished, name)
}

/** Adds columns in one statement, unless a crashed run of the migration did. @param first one of them */
export async function addColumns(
  knex: Knex,
  table: string,
  first: string,
  define: (table: Knex.AlterTableBuilder) => void,
): Promise<void> {
  if (isMysql(knex) && (await knex.schema.hasColumn(table, first))) return
  await knex.schema.alterTable(table, define)
}

/** @param indexes the columns by name, in SQL. Those that a crashed run of the migration created are skipped. */
export async function addIndexes(
  knex: Knex,
  table: string,
  indexes: Readonly<Record<string, string>>,
): Promise<void> {
  const existing = isMysql(knex) ? await indexNames(knex, table) : []
  for (const [name, columns] of Object.entries(indexes))
    if (!existing.includes(name)) await knex.raw(`create index ${name} on ${table} (${columns})`)
}

/** Those that a crashed run of the migration dropped are skipped. */
export async function dropIndexes(knex: Knex, table: string, names: readonly string[]): Promise<void> {
  const existing = isMysql(knex) ? await indexNames(knex, table) : names
  const dropped = names.filter((name) => existing.includes(name))
  if (dropped.length > 0)
    await knex.schema.alterTable(table, (definition) => {
      for (const name of dropped) definition.dropIndex([], name)
    })
}

async function indexNames(knex: Knex, table: string): Promise<string[]> {
  const [found] = (await knex.raw(
    'select distinct index_name as name from information_schema.statistics where table_schema = database() and table_name = ?',
    [table],
  )) as [{ name: string }[]]
  return found.map(({ name }) => name)
}

/** Marks the tables of an unfinished migration: a table of the host with the same name is not ours. */
const ourMark = 'express-portal-sso'

async function isApplied(knex: Knex, name: string): Promise<boolean> {
  const [found] = (await knex.raw(
    'select 1 from information_schema.tables where table_schema = database() and table_name = ? and table_comment = ?',
    [name, ourMark],
  )) as [unknown[]]
  return found.length > 0
}
