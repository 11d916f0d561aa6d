import { Command } from 'commander'
import { count } from '../admin/format.ts'
import type { SessionFilter } from '../management/sessions-api.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import { type CommonFlags, subcommand } from './command.ts'
import { type SsoContext, withSsoContext } from './environment.ts'
import { print, printJson, printProgress, printResult, printTable } from './output.ts'
import { confirm } from './prompt.ts'

interface FilterFlags extends CommonFlags {
  user?: string
  provider?: string
}

interface EndAllFlags extends FilterFlags {
  yes?: boolean
}

const delayNotice = 'Running instances notice this within the user cache time (5 s by default).'

export function sessionsCommand(): Command {
  const command = new Command('sessions').description('list and end active sessions')
  addList(command)
  addEnd(command)
  addEndAll(command)
  return command
}

function addList(sessions: Command): void {
  const command = subcommand(
    sessions,
    'list',
    'list the sessions of a user or a provider, newest first, at most 1000',
    'sessions list --user ada@example.com',
    'sessions list --provider acme',
  )
  addFilterFlags(command).action((flags: FilterFlags) =>
    withSsoContext((context) => listSessions(context, flags)),
  )
}

async function listSessions(context: SsoContext, flags: FilterFlags): Promise<void> {
  const { portal } = flags
  const filter = await readFilter(context, flags)
  const { sessions } = context.sso
  const [list, total] = await Promise.all([
    sessions.list(filter, { portal }),
    sessions.count(filter, { portal }),
  ])
  if (flags.json) return printJson(list)
  if (total === 0) return print('No active sessions.')
  printTable(
    ['STARTED', 'LAST SEEN', 'USER', 'PROVIDER', 'DEVICE', 'LOCATION', 'ID'],
    list.map(({ id, userId, provider, browser, os, location, startedAt, lastSeenAt }) => [
      startedAt,
      lastSeenAt,
      userId,
      provider ?? '',
      [browser, os].filter(Boolean).join(', '),
      location ?? '',
      id,
    ]),
  )
  if (total > list.length) print(`These are the newest ${list.length} of ${total}.`)
}

function addEnd(sessions: Command): void {
  subcommand(
    sessions,
    'end <id>',
    'end one session, by the ID that `list` shows; put `--` before an ID that begins with a dash',
    'sessions end 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
  ).action((id: string, flags: CommonFlags) =>
    withSsoContext(async ({ sso, actor }) => {
      const ended = await sso.sessions.end(id, { portal: flags.portal, actor })
      if (!ended) throw new ConfigurationError('this portal has no active session with that ID')
      printResult(flags, { id, ended }, `The session has ended. ${delayNotice}`)
    }),
  )
}

function addEndAll(sessions: Command): void {
  const command = subcommand(
    sessions,
    'end-all',
    'end all sessions of a user or a provider; shows how many, and asks',
    'sessions end-all --user ada@example.com',
    'sessions end-all --provider acme --yes',
  )
  addFilterFlags(command)
    .option('--yes', 'do not ask')
    .action((flags: EndAllFlags) => withSsoContext((context) => endAllSessions(context, flags)))
}

async function endAllSessions(context: SsoContext, flags: EndAllFlags): Promise<void> {
  const { portal } = flags
  const { actor, sso } = context
  const filter = await readFilter(context, flags)
  const active = await sso.sessions.count(filter, { portal })
  const sessions = count(active, 'active session', 'active sessions')
  const question = `${flags.user ?? flags.provider}: ${sessions}. End all of them?`
  if (active > 0 && !flags.yes && !(await confirm(question, { flag: '--yes' })))
    return printResult(flags, { ended: 0 }, 'No session was ended.')
  if (active > 0) printProgress(flags, `Ending ${active} …`)
  const ended = await sso.sessions.endAll(filter, { portal, actor })
  printResult(
    flags,
    { ...filter, ended },
    ended === 0 ? 'No active sessions.' : `${count(ended, 'session', 'sessions')} ended. ${delayNotice}`,
  )
}

function addFilterFlags(command: Command): Command {
  return command
    .option(
      '--user <id or address>',
      'sessions of this user; an e-mail address is looked up in the built-in table',
    )
    .option('--provider <slug>', 'sessions started with this provider, which may be disabled or removed')
}

async function readFilter(
  context: SsoContext,
  { user, provider, portal }: FilterFlags,
): Promise<SessionFilter> {
  if ((user === undefined) === (provider === undefined))
    throw new ConfigurationError('give either --user or --provider')
  if (provider !== undefined) return { provider }
  return { userId: await findUserId(context, String(user), portal) }
}

/** Commands cannot call a host's own user directory; its users are found by ID only. */
async function findUserId({ sso, users }: SsoContext, user: string, portal: string): Promise<string> {
  const email = normaliseEmail(user)
  if (email === undefined) return user
  const found = await users.findByEmail(email, portal)
  if (found) return found.id
  // A host's own directory may use e-mail addresses as IDs.
  if ((await sso.sessions.count({ userId: user }, { portal })) > 0) return user
  throw new ConfigurationError(
    `--user: no user in the built-in table has the address ${email}; if you use your own directory, give the user ID`,
  )
}
