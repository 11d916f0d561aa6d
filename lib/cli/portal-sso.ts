#!/usr/bin/env node
import { Command } from 'commander'
import { migrate, unlockMigrations } from '../database/migrate.ts'
import { ConfigurationError, explain } from '../errors.ts'
import { doctor } from './doctor.ts'
import { doctorNoauthCommand } from './doctor-noauth.ts'
import { readEnvironment, withDatabase } from './environment.ts'
import { harmless } from './print.ts'
import { providersCommand } from './providers-command.ts'
import { usersCommand } from './users-command.ts'

const program = new Command('portal-sso')
  .description('Single sign-on of a portal: providers, users, and whether all is well.')
  .addHelpText(
    'after',
    `
Environment:
  DATABASE_URL       postgres://… or sqlite:file (default sqlite:portal-sso.sqlite3)
  SSO_SECRET         the secret that the portal runs with; several, newest first, separated by spaces
  BASE_URL           public origin of the portal (default http://localhost:3000)
  MOUNT_PATH         where sso.router() is mounted (default /)
  REDIS_URL          looked at by doctor
  ALLOWED_ADDRESSES  addresses of providers in a private network, such as 10.20.0.0/16`,
  )

program
  .command('migrate')
  .description('bring the tables up to date')
  .option('--unlock', 'free the lock of a migration that died; only when no instance migrates')
  .action((flags: { unlock?: boolean }) =>
    withDatabase(readEnvironment(), async (knex) => {
      if (flags.unlock) await unlockMigrations(knex)
      const ran = await migrate(knex)
      console.log(ran.length === 0 ? 'The tables are up to date.' : `Ran ${ran.join(', ')}.`)
    }),
  )

program.addCommand(providersCommand())
program.addCommand(usersCommand())

program
  .command('doctor')
  .description('check database, Redis, secret and every provider; say what is wrong and what to do')
  .action(async () => {
    if (!(await doctor(readEnvironment()))) process.exitCode = 1
  })
  .addCommand(doctorNoauthCommand())

// `portal-sso doctor | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

program.parseAsync().catch((error: unknown) => {
  const expected = error instanceof ConfigurationError
  const said = expected
    ? error.message
    : `Failed: ${explain(error)}. \`portal-sso doctor\` looks at everything.`
  console.error(harmless(said))
  process.exitCode = 1
})
