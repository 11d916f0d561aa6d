import { createRequire } from 'node:module'
import { Command } from 'commander'
import { count } from '../admin/format.ts'
import { databaseName } from '../database/connect.ts'
import { migrate, unlockMigrations } from '../database/migrate.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { addPortalCommands, currentActor, type PortalCommands } from './command.ts'
import { completionScript } from './completion.ts'
import { addDoctor } from './doctor-command.ts'
import { readEnvironment, readValidEnvironment, withDatabase, withSso } from './environment.ts'
import { eventsCommands } from './events-command.ts'
import { formatError, print, printProgress, printResult } from './output.ts'
import { addCommands } from './providers/add.ts'
import { fileCommands } from './providers/export-import.ts'
import { lifecycleCommands } from './providers/lifecycle.ts'
import { keysCommands, listPresets, showCommands } from './providers/show.ts'
import { testSignInCommands } from './providers/test-sign-in.ts'
import { updateCommands } from './providers/update.ts'
import { sessionCommands } from './sessions-command.ts'
import { userCommands } from './users-command.ts'

const help = `
Environment:
  DATABASE_URL                   postgres://…, mysql://… or sqlite:file (default sqlite:portal-sso.sqlite3)
  SSO_SECRET                     the portal's secret; several, newest first, separated by spaces
  BASE_URL                       public origin of the portal (default http://localhost:3000)
  MOUNT_PATH                     where sso.router() is mounted (default /)
  REDIS_URL                      checked by doctor
  ALLOWED_ADDRESSES              addresses of providers in a private network, such as 10.20.0.0/16
  SECRET_REFERENCES_ENV          names of variables that env:NAME may refer to, a regular expression
  SECRET_REFERENCES_DIRECTORIES  folders of files that file:/path may refer to, separated by spaces`

export function buildProgram(json = false): Command {
  const program = new Command('portal-sso')
    // Otherwise `doctor` would consume the `--json` of `doctor noauth`.
    .enablePositionalOptions()
    .configureOutput({
      // Commander prints wrong arguments itself, so give its errors the same format.
      outputError(text, write) {
        const message = json ? text.replace(/^error: /, '') : text
        write(`${formatError(new ConfigurationError(message.trim()), { json })}\n`)
      },
    })
    .description('Single sign-on for a portal: manage providers, users and sessions, and check the setup.')
    .version(readVersion(), '--version', 'print the version of the package')
    .addHelpText('after', help)
  addMigrate(program)
  addProviders(program)
  const users = program.command('users').description('manage users in the built-in table `sso_users`')
  addPortalCommands(users, userCommands)
  const sessions = program.command('sessions').description('list and end active sessions')
  addPortalCommands(sessions, sessionCommands)
  addSecrets(program)
  addPortalCommands(program, { ...breakGlassCommands, ...eventsCommands })
  addDoctor(program)
  addCompletion(program)
  return program
}

/** The package refers to itself by its name, so the path does not depend on the build. */
function readVersion(): string {
  const { version } = createRequire(import.meta.url)('express-portal-sso/package.json') as { version: string }
  return version
}

function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands and flags in bash and zsh')
    .addHelpText(
      'after',
      `
Example, for ~/.bashrc:
  $ source <(portal-sso completion)
In ~/.zshrc, put before it:
  $ autoload -U bashcompinit && bashcompinit`,
    )
    .action(() => print(completionScript(program)))
}

function addMigrate(program: Command): void {
  program
    .command('migrate')
    .description('create or update the tables')
    .option('--unlock', 'release the lock of a failed migration; only if no instance is migrating')
    .addHelpText('after', '\nExample:\n  $ portal-sso migrate')
    .action((flags: { unlock?: boolean }) =>
      withDatabase(
        readEnvironment(),
        async (knex) => {
          if (flags.unlock) await unlockMigrations(knex)
          const ran = await migrate(knex)
          const done = ran.length === 0 ? 'The tables are up to date' : `Ran ${ran.join(', ')}`
          print(`${done} in database ${databaseName(knex)}.`)
        },
        { creates: true },
      ),
    )
}

function addProviders(program: Command): void {
  const group = program.command('providers').description('connect, test, change and remove OpenID Providers')
  group
    .command('presets')
    .description('list the presets for `add`, with their questions and guides')
    .option('--json', 'print JSON, for scripts')
    .addHelpText('after', '\nExample:\n  $ portal-sso providers presets')
    .action((flags: { json?: boolean }) => printResult(flags, listPresets()))
  addPortalCommands(group, {
    ...addCommands,
    ...updateCommands,
    ...showCommands,
    ...testSignInCommands,
    ...lifecycleCommands,
    ...keysCommands,
    ...fileCommands,
  })
}

function addSecrets(program: Command): void {
  program
    .command('secrets')
    .description('data encrypted with SSO_SECRET')
    .command('rotate')
    .description(
      'encrypt all client secrets and keys of all portals with the first secret in SSO_SECRET, without downtime',
    )
    .option('--json', 'print JSON, for scripts')
    .addHelpText(
      'after',
      `
First give both secrets to every instance (secret: [new, old]). Afterwards you need the old one only until the sessions
and cookies that it encrypted have expired.

Example:
  $ SSO_SECRET="$NEW $OLD" portal-sso secrets rotate`,
    )
    .action((flags: { json?: boolean }) =>
      withSso(readValidEnvironment(), async (sso) => {
        printProgress(flags, 'Encrypting …')
        const { providers } = await sso.rotateSecrets({ actor: currentActor() })
        const text =
          providers === 0
            ? 'All secrets and keys are already encrypted with the first secret.'
            : `The secrets and keys of ${count(providers, 'provider', 'providers')} are now encrypted with the first secret.`
        printResult(flags, { json: { providers }, text })
      }),
    )
}

const breakGlassCommands: PortalCommands = {
  'break-glass': {
    description:
      'create a link that opens the classic login in one browser, for when nobody can sign in (logged)',
    examples: ['break-glass'],
    notes:
      '\nThis works only if the portal has a classic login. Anyone with the link can open it, so share it securely.',
    async run({ breakGlass, actor }) {
      const { url, expiresAt } = await breakGlass.link({ actor })
      const until = expiresAt.toISOString()
      return {
        json: { url, expiresAt: until },
        text: `Open this link in one browser. It works once, until ${until}:
  ${url}
It opens the classic login in that browser for a limited time. Creating and using the link is logged.`,
      }
    },
  },
}
