/**
 * For the knex CLI: `npm run knex -- migrate:latest`. The database is `DATABASE_URL`, or the example portal's own file.
 * The migrations are the plugin's, under its own table name, so they live beside a host's.
 */
import type { Knex } from 'knex'
import { configFromUrl } from './lib/database/connect.ts'
import { migratorConfig } from './lib/database/migrate.ts'

const config: Knex.Config = {
  ...configFromUrl(process.env.DATABASE_URL ?? 'sqlite:portal-sso.sqlite3'),
  migrations: migratorConfig,
}

export default config
