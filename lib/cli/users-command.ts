import { Command, Option } from 'commander'
import { ConfigurationError, EmailTakenError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { User } from '../users/user-directory.ts'
import type { UsersTable } from '../users/users-table.ts'
import { type Common, subcommand } from './command.ts'
import { withSsoContext } from './environment.ts'
import { printJson, printResult, printTable } from './output.ts'

export function usersCommand(): Command {
  const command = new Command('users').description('manage users in the built-in table `sso_users`')
  const portalFlag = () => new Option('--portal <name>', 'name of the portal').default('default')

  command
    .command('add')
    .description('add a user, who can then sign in with any provider that verifies this address')
    .requiredOption('--email <address>', 'e-mail address')
    .requiredOption('--name <text>', 'name of the person')
    .option('--json', 'print JSON, for scripts')
    .addOption(portalFlag())
    .addHelpText(
      'after',
      '\nExample:\n  $ portal-sso users add --email ada@example.com --name "Ada Lovelace"',
    )
    .action((flags: { email: string; name: string; json?: boolean; portal: string }) =>
      withSsoContext(async ({ users }) => {
        const email = normaliseEmail(flags.email)
        if (email === undefined)
          throw new ConfigurationError(`--email: "${flags.email}" is not an e-mail address`)
        if (flags.name.trim() === '') throw new ConfigurationError('--name: enter the name of the person')
        try {
          const user = await users.create({ email, name: flags.name.trim(), fields: {} }, flags.portal)
          printResult(flags, user, `${user.email} is added (id ${user.id})`)
        } catch (error) {
          if (error instanceof EmailTakenError) throw new ConfigurationError(`${email} already exists`)
          throw error
        }
      }),
    )

  command
    .command('list')
    .description('list all users of a portal')
    .option('--json', 'print JSON, for scripts')
    .addOption(portalFlag())
    .addHelpText('after', '\nExample:\n  $ portal-sso users list')
    .action((flags: { json?: boolean; portal: string }) =>
      withSsoContext(async ({ users }) => {
        const all = await users.list(flags.portal)
        if (flags.json) return printJson(all)
        printTable(
          ['E-MAIL', 'NAME', 'ACTIVE', 'ID'],
          all.map(({ email, name, active, id }) => [email, name, active ? 'yes' : 'no', id]),
        )
      }),
    )

  for (const active of [false, true]) addSwitch(command, active)
  return command
}

/** The table first, the sessions then: else one could begin between the two. */
function addSwitch(command: Command, active: boolean): void {
  const name = active ? 'activate' : 'deactivate'
  const described = active ? 'let a user sign in again' : 'deactivate a user and end all their sessions'
  subcommand(
    command,
    `${name} <user>`,
    `${described}; by ID or e-mail address`,
    `users ${name} ada@example.com`,
  ).action((user: string, flags: Common) =>
    withSsoContext(async ({ sso, users, actor }) => {
      const { portal } = flags
      const found = await existing(users, user, portal)
      const { id, email } = found
      await users.setActive(id, active, portal)
      const ended = active ? 0 : await sso.sessions.endAll({ userId: id }, { portal, actor })
      const sentence = active
        ? `${email} can sign in again`
        : `${email} is deactivated; sessions ended: ${ended}`
      printResult(flags, { ...found, active, ended }, sentence)
    }),
  )
}

async function existing(users: UsersTable, user: string, portal: string): Promise<User> {
  const email = normaliseEmail(user)
  const found = await (email === undefined ? users.findById(user, portal) : users.findByEmail(email, portal))
  if (found) return found
  throw new ConfigurationError(`the portal "${portal}" has no user "${user}"`)
}
