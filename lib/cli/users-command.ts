import { ConfigurationError, EmailTakenError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { User } from '../users/user-directory.ts'
import type { CommandContext, PortalCommands } from './command.ts'
import { printPages, table } from './output.ts'

const columns = { 'E-MAIL': 'email', NAME: 'name', ACTIVE: 'active', ID: 'id' } as const

export const userCommands: PortalCommands = {
  add: {
    description: 'add a user, who can then sign in with any provider that verifies this address',
    examples: ['users add --email ada@example.com --name "Ada Lovelace"'],
    requiredOptions: { '--email <address>': 'e-mail address', '--name <text>': 'name of the person' },
    async run({ users, flags }: CommandContext<{ email: string; name: string }>) {
      const email = readEmail(flags.email)
      const name = flags.name.trim()
      if (name === '') throw new ConfigurationError('--name: enter the name of the person')
      try {
        const user = await users.create({ email, name, fields: {} }, flags.portal)
        return { json: user, text: `${user.email} is added (id ${user.id})` }
      } catch (error) {
        throw error instanceof EmailTakenError ? new ConfigurationError(`${email} already exists`) : error
      }
    },
  },
  list: {
    description: 'list all users of a portal, or the one with an address',
    examples: ['users list', 'users list --email ada@example.com'],
    options: { '--email <address>': 'only the user with this e-mail address' },
    async run({ users, flags }: CommandContext<{ email?: string }>) {
      if (flags.email === undefined)
        return await printPages(flags, users.pages(flags.portal), columns, 'There are no users.')
      const user = await users.findByEmail(readEmail(flags.email), flags.portal)
      return table(user ? [user] : [], columns, `No user has the address ${flags.email}.`)
    },
  },
  'deactivate <user>': {
    description: 'deactivate a user and end all their sessions; by ID or e-mail address',
    examples: ['users deactivate ada@example.com'],
    async run(context, user: string) {
      // Deactivate first: otherwise a session could start after `endAll`.
      const changed = await setActive(context, user, false)
      const ended = await context.sessions.endAll({ userId: changed.id }, { actor: context.actor })
      const text = `${changed.email} is deactivated; sessions ended: ${ended}`
      return { json: { ...changed, ended }, text }
    },
  },
  'activate <user>': {
    description: 'let a user sign in again; by ID or e-mail address',
    examples: ['users activate ada@example.com'],
    async run(context, user: string) {
      const changed = await setActive(context, user, true)
      return { json: { ...changed, ended: 0 }, text: `${changed.email} can sign in again` }
    },
  },
}

function readEmail(text: string): string {
  const email = normaliseEmail(text)
  if (email !== undefined) return email
  throw new ConfigurationError(`--email: "${text}" is not an e-mail address`)
}

async function setActive({ users, flags }: CommandContext, user: string, active: boolean): Promise<User> {
  const { portal } = flags
  const email = normaliseEmail(user)
  const found = await (email === undefined ? users.findById(user, portal) : users.findByEmail(email, portal))
  if (!found) throw new ConfigurationError(`the portal "${portal}" has no user "${user}"`)
  await users.setActive(found.id, active, portal)
  return { ...found, active }
}
