import fs from 'node:fs/promises'
import path from 'node:path'
import type { Plugin } from 'esbuild'

const migration = `{
    name: '999-newer',
    async up(knex: Knex) {
      for (const table of ['sso_users', 'sso_identities', 'sso_sessions', 'sso_providers', 'sso_events'])
        await knex.schema.alterTable(table, (columns) => columns.string('newer').notNullable().defaultTo('unset'))
    },
    async down() {},
  },`

const setting = `
  newer: setting({ schema: z.string().default('unset'), flag: '--newer <text>', label: 'Newer', section: 'protocol' }),`

/** Each text is inserted after the first match of its pattern. */
const insertions: Record<string, [pattern: RegExp, text: string]> = {
  'lib/database/migrate.ts': [/const migrations: Migration\[\] = \[[^\]]*/, migration],
  'lib/providers/settings.ts': [/export const settings = \{/, setting],
  'lib/sessions/sessions-table.ts': [/const row = \{/, " newer: 'set',"],
  'lib/sessions/session-data.ts': [/const common = \{/, ' newer: 1,'],
  'lib/web/sealed-cookie.ts': [/\.close\(\{/, ' newer: 1,'],
}

/**
 * Builds a newer version from these sources. Its migration adds a column to the tables. It has another setting, and writes more into
 * rows, sessions and cookies.
 */
export const newerVersion: Plugin = {
  name: 'newer-version',
  setup({ onLoad }) {
    for (const [file, [pattern, text]] of Object.entries(insertions))
      onLoad({ filter: new RegExp(`/${file}$`) }, async ({ path: found }) => {
        const source = await fs.readFile(found, 'utf8')
        if (!pattern.test(source)) throw new Error(`${file} has no ${pattern}`)
        return {
          contents: source.replace(pattern, (match) => match + text),
          loader: 'ts',
          resolveDir: path.dirname(found),
        }
      })
  },
}
