#!/usr/bin/env node
import { Command } from 'commander'
import { migrate, unlockMigrations } from '../database/migrate.ts'
import { ConfigurationError, describeError, ManagementError } from '../shared/errors.ts'
import { addBreakGlass } from './break-glass-command.ts'
import { doctor } from './doctor-command.ts'
import { doctorNoauthCommand } from './doctor-noauth.ts'
import { readEnvironment, withDatabase } from './environment.ts'
import { addEvents } from './events-command.ts'
import { sanitizeForTerminal } from './output.ts'
import { providersCommand } from './providers-command.ts'
import { secretsCommand } from './secrets-command.ts'
import { sessionsCommand } from './sessions-command.ts'
import { usersCommand } from './users-command.ts'

const program = new Command('portal-sso')
  // Else `doctor` would take `--json` from `doctor noauth`.
  .enablePositionalOptions()
  .description('Single sign-on for a portal: manage providers, users and sessions, and check the setup.')
  .addHelpText(
    'after',
    `
Environment:
  DATABASE_URL                   postgres://… or sqlite:file (default sqlite:portal-sso.sqlite3)
  SSO_SECRET                     the portal's secret; several, newest first, separated by spaces
  BASE_URL                       public origin of the portal (default http://localhost:3000)
  MOUNT_PATH                     where sso.router() is mounted (default /)
  REDIS_URL                      checked by doctor
  ALLOWED_ADDRESSES              addresses of providers in a private network, such as 10.20.0.0/16
  SECRET_REFERENCES_ENV          names of variables that env:NAME may refer to, a regular expression
  SECRET_REFERENCES_DIRECTORIES  folders of files that file:/path may refer to, separated by spaces`,
  )

program
  .command('migrate')
  .description('create or update the tables')
  .option('--unlock', 'release the lock of a failed migration; only if no instance is migrating')
  .addHelpText('after', '\nExample:\n  $ portal-sso migrate')
  .action((flags: { unlock?: boolean }) =>
    withDatabase(readEnvironment(), async (knex) => {
      if (flags.unlock) await unlockMigrations(knex)
      const ran = await migrate(knex)
      console.log(ran.length === 0 ? 'The tables are up to date.' : `Ran ${ran.join(', ')}.`)
    }),
  )

program.addCommand(providersCommand())
program.addCommand(usersCommand())
program.addCommand(sessionsCommand())
program.addCommand(secretsCommand())
addBreakGlass(program)
addEvents(program)

program
  .command('doctor')
  .description('check database, Redis, secret and every provider; report problems and how to fix them')
  .option('--json', 'print JSON, for scripts')
  .addHelpText('after', '\nExample:\n  $ portal-sso doctor')
  .enablePositionalOptions()
  .action(async (flags: { json?: boolean }) => {
    if (!(await doctor(readEnvironment(), flags))) process.exitCode = 1
  })
  .addCommand(doctorNoauthCommand())

/** With `--json`, errors are JSON, also those that Commander writes about the arguments. */
const asJson = process.argv.includes('--json')
const spoken = (said: string) =>
  asJson ? JSON.stringify({ error: said.trim().replace(/^error: /, '') }) : said.trimEnd()
function speakJson(command: Command): void {
  command.configureOutput({ outputError: (said, write) => write(`${spoken(said)}\n`) })
  command.commands.forEach(speakJson)
}
speakJson(program)

// `portal-sso doctor | head` is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

program.parseAsync().catch((error: unknown) => {
  const expected = error instanceof ConfigurationError || error instanceof ManagementError
  const said = expected
    ? error.message
    : `Failed: ${describeError(error)}. Run \`portal-sso doctor\` to check the setup.`
  console.error(spoken(sanitizeForTerminal(said)))
  process.exitCode = 1
})
