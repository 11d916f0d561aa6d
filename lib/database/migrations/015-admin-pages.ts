import type { Knex } from 'knex'
import { addColumns, addIndexes, createTable, dropIndexes } from '../tables.ts'

const newestSessions = { sso_sessions_newest: 'portal, created_at, id' }

/** Numbers for the administrators' pages, which would otherwise read millions of rows. */
export async function up(knex: Knex): Promise<void> {
  await createTable(knex, 'sso_event_counts', (table) => {
    table.string('id', 36).primary()
    table.string('portal', 100).notNullable()
    table.string('provider', 40).notNullable().comment('slug; empty: all events of the portal')
    table.string('day', 24).notNullable().comment('in UTC')
    table.integer('sign_ins').notNullable()
    table.integer('failures').notNullable()
    table.unique(['portal', 'provider', 'day'], { indexName: 'sso_event_counts_of_day' })
    table.index(['day'], 'sso_event_counts_age')
  })
  await createTable(knex, 'sso_tasks', (table) => {
    table.string('id', 120).primary().comment('`count events`, or `test` and the portal')
    table.integer('total').notNullable()
    table.integer('done').notNullable()
    table.string('started_at', 24).notNullable()
    table.string('reached_at', 24).notNullable().comment('last progress; events are counted until then')
  })
  await addColumns(knex, 'sso_session_endings', 'total', (table) => {
    table.integer('total').comment('number of sessions, if an administrator waits for the end')
    table.integer('done').notNullable().defaultTo(0)
  })
  await addIndexes(knex, 'sso_sessions', newestSessions)
}

export async function down(knex: Knex): Promise<void> {
  await dropIndexes(knex, 'sso_sessions', Object.keys(newestSessions))
  await knex.schema.alterTable('sso_session_endings', (table) => {
    table.dropColumns('total', 'done')
  })
  await knex.schema.dropTable('sso_tasks')
  await knex.schema.dropTable('sso_event_counts')
}
