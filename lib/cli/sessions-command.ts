import { Command } from 'commander'
import type { SessionFilter } from '../management/sessions-api.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import { type Common, subcommand } from './command.ts'
import { type SsoContext, withSsoContext } from './environment.ts'
import { print, printJson, printResult, printTable, progress } from './output.ts'
import { confirm } from './prompt.ts'

interface WhoseFlags {
  user?: string
  provider?: string
}

const notice = 'Instances that run notice within the user cache time (5 s unless the portal says otherwise).'

export function sessionsCommand(): Command {
  const command = new Command('sessions').description('who is signed in: list sessions, and end them')

  ofWhom(
    subcommand(
      command,
      'list',
      'the sessions of a user or a provider, newest first, 1000 at most',
      'sessions list --user ada@example.com',
      'sessions list --provider acme',
    ),
  ).action((flags: Common & WhoseFlags) =>
    withSsoContext(async (context) => {
      const { portal, json } = flags
      const whose = await whoseOf(context, flags, portal)
      const { sessions } = context.sso
      const [list, all] = await Promise.all([
        sessions.list({ ...whose, portal }),
        sessions.count({ ...whose, portal }),
      ])
      if (json) return printJson(list)
      if (all === 0) return print('No session runs.')
      printTable(
        ['STARTED', 'LAST SEEN', 'USER', 'PROVIDER', 'DEVICE', 'PLACE', 'ID'],
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
      if (all > list.length) print(`These are the newest ${list.length} of ${all}.`)
    }),
  )

  subcommand(
    command,
    'end <id>',
    'end one session, by the id that `list` shows; `--` goes before an id that begins with a dash',
    'sessions end 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
  ).action((id: string, flags: Common) =>
    withSsoContext(async ({ sso, actor }) => {
      const ended = await sso.sessions.end(id, { portal: flags.portal, actor })
      if (!ended) throw new ConfigurationError('no session of that id runs in this portal')
      printResult(flags, { id, ended }, `The session is ended. ${notice}`)
    }),
  )

  ofWhom(
    subcommand(
      command,
      'end-all',
      'end all sessions of a user or a provider; says how many, and asks',
      'sessions end-all --user ada@example.com',
      'sessions end-all --provider acme --yes',
    ),
  )
    .option('--yes', 'do not ask')
    .action((flags: Common & WhoseFlags & { yes?: boolean }) =>
      withSsoContext(async (context) => {
        const { portal } = flags
        const { actor, sso } = context
        const whose = await whoseOf(context, flags, portal)
        const running = await sso.sessions.count({ ...whose, portal })
        const question = `${flags.user ?? flags.provider}: ${sessionsThat(running)}. End all of them?`
        if (running > 0 && !flags.yes && !(await confirm(question, { flag: '--yes' })))
          return printResult(flags, { ended: 0 }, 'They go on.')
        if (running > 0) progress(flags, `Ending ${running} …`)
        const ended = await sso.sessions.endAll(whose, { portal, actor })
        printResult(
          flags,
          { ...whose, ended },
          ended === 0 ? 'No session runs.' : `${ended} ${ended === 1 ? 'is' : 'are'} ended. ${notice}`,
        )
      }),
    )
  return command
}

function ofWhom(command: Command): Command {
  return command
    .option('--user <id or address>', 'of this user; an address is looked up in the built-in table')
    .option('--provider <slug>', 'begun with this provider, which may be disabled or removed')
}

/** A host's own directory is code that a command does not know: there, a user goes by the id. */
async function whoseOf(
  context: SsoContext,
  { user, provider }: WhoseFlags,
  portal: string,
): Promise<SessionFilter> {
  if ((user === undefined) === (provider === undefined))
    throw new ConfigurationError('give --user or --provider, one of them')
  if (provider !== undefined) return { provider }
  return { userId: await userIdOf(context, String(user), portal) }
}

async function userIdOf({ sso, users }: SsoContext, user: string, portal: string): Promise<string> {
  const email = normaliseEmail(user)
  if (email === undefined) return user
  const found = await users.findByEmail(email, portal)
  if (found) return found.id
  // The ids of a host's directory may be addresses.
  if ((await sso.sessions.count({ userId: user, portal })) > 0) return user
  throw new ConfigurationError(
    `--user: nobody in the table of users has the address ${email}; with a directory of your own give the id`,
  )
}

/** As a sentence begins. */
export function sessionsThat(run: number): string {
  return run === 1 ? '1 session runs' : `${run} sessions run`
}
