import { Command } from 'commander'
import { ConfigurationError, EmailTakenError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { User } from '../users/user-directory.ts'
import type { UsersTable } from '../users/users-table.ts'
import { type CommonFlags, subcommand } from './command.ts'
import { type SsoContext, withSsoContext } from './environment.ts'
import { printJson, printResult, printTable } from './output.ts'

interface AddFlags extends CommonFlags {
  email: string
  name: string
}

export function usersCommand(): Command {
  const command = new Command('users').description('manage users in the built-in table `sso_users`')
  addAdd(command)
  addList(command)
  addDeactivate(command)
  addActivate(command)
  return command
}

function addAdd(users: Command): void {
  subcommand(
    users,
    'add',
    'add a user, who can then sign in with any provider that verifies this address',
    'users add --email ada@example.com --name "Ada Lovelace"',
  )
    .requiredOption('--email <address>', 'e-mail address')
    .requiredOption('--name <text>', 'name of the person')
    .action((flags: AddFlags) => withSsoContext((context) => addUser(context, flags)))
}

async function addUser({ users }: SsoContext, flags: AddFlags): Promise<void> {
  const email = normaliseEmail(flags.email)
  const name = flags.name.trim()
  if (email === undefined) throw new ConfigurationError(`--email: "${flags.email}" is not an e-mail address`)
  if (name === '') throw new ConfigurationError('--name: enter the name of the person')
  try {
    const user = await users.create({ email, name, fields: {} }, flags.portal)
    printResult(flags, user, `${user.email} is added (id ${user.id})`)
  } catch (error) {
    if (error instanceof EmailTakenError) throw new ConfigurationError(`${email} already exists`)
    throw error
  }
}

function addList(users: Command): void {
  subcommand(users, 'list', 'list all users of a portal', 'users list').action((flags: CommonFlags) =>
    withSsoContext(async (context) => {
      const all = await context.users.list(flags.portal)
      if (flags.json) return printJson(all)
      printTable(
        ['E-MAIL', 'NAME', 'ACTIVE', 'ID'],
        all.map(({ email, name, active, id }) => [email, name, active ? 'yes' : 'no', id]),
      )
    }),
  )
}

function addDeactivate(parent: Command): void {
  subcommand(
    parent,
    'deactivate <user>',
    'deactivate a user and end all their sessions; by ID or e-mail address',
    'users deactivate ada@example.com',
  ).action((user: string, flags: CommonFlags) =>
    withSsoContext(async ({ sso, users, actor }) => {
      const { portal } = flags
      const found = await getUser(users, user, portal)
      // Deactivate first: otherwise a session could start after `endAll`.
      await users.setActive(found.id, false, portal)
      const ended = await sso.sessions.endAll({ userId: found.id }, { portal, actor })
      const sentence = `${found.email} is deactivated; sessions ended: ${ended}`
      printResult(flags, { ...found, active: false, ended }, sentence)
    }),
  )
}

function addActivate(parent: Command): void {
  subcommand(
    parent,
    'activate <user>',
    'let a user sign in again; by ID or e-mail address',
    'users activate ada@example.com',
  ).action((user: string, flags: CommonFlags) =>
    withSsoContext(async ({ users }) => {
      const found = await getUser(users, user, flags.portal)
      await users.setActive(found.id, true, flags.portal)
      printResult(flags, { ...found, active: true, ended: 0 }, `${found.email} can sign in again`)
    }),
  )
}

async function getUser(users: UsersTable, user: string, portal: string): Promise<User> {
  const email = normaliseEmail(user)
  const found = await (email === undefined ? users.findById(user, portal) : users.findByEmail(email, portal))
  if (found) return found
  throw new ConfigurationError(`the portal "${portal}" has no user "${user}"`)
}
