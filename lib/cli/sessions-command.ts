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

const notice = 'Running instances notice this within the user cache time (5 s by default).'

export function sessionsCommand(): Command {
  const command = new Command('sessions').description('list and end active sessions')

  ofWhom(
    subcommand(
      command,
      'list',
      'list the sessions of a user or a provider, newest first, at most 1000',
      'sessions list --user ada@example.com',
      'sessions list --provider acme',
    ),
  ).action((flags: Common & WhoseFlags) =>
    withSsoContext(async (context) => {
      const { portal, json } = flags
      const whose = await whoseOf(context, flags, portal)
      const { sessions } = context.sso
      const [list, all] = await Promise.all([
        sessions.list(whose, { portal }),
        sessions.count(whose, { portal }),
      ])
      if (json) return printJson(list)
      if (all === 0) return print('No active sessions.')
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
    'end one session, by the ID that `list` shows; put `--` before an ID that begins with a dash',
    'sessions end 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
  ).action((id: string, flags: Common) =>
    withSsoContext(async ({ sso, actor }) => {
      const ended = await sso.sessions.end(id, { portal: flags.portal, actor })
      if (!ended) throw new ConfigurationError('this portal has no active session with that ID')
      printResult(flags, { id, ended }, `The session has ended. ${notice}`)
    }),
  )

  ofWhom(
    subcommand(
      command,
      'end-all',
      'end all sessions of a user or a provider; shows how many, and asks',
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
        const running = await sso.sessions.count(whose, { portal })
        const question = `${flags.user ?? flags.provider}: ${sessionsThat(running)}. End all of them?`
        if (running > 0 && !flags.yes && !(await confirm(question, { flag: '--yes' })))
          return printResult(flags, { ended: 0 }, 'No session was ended.')
        if (running > 0) progress(flags, `Ending ${running} …`)
        const ended = await sso.sessions.endAll(whose, { portal, actor })
        printResult(
          flags,
          { ...whose, ended },
          ended === 0
            ? 'No active sessions.'
            : `${ended} ${ended === 1 ? 'session' : 'sessions'} ended. ${notice}`,
        )
      }),
    )
  return command
}

function ofWhom(command: Command): Command {
  return command
    .option(
      '--user <id or address>',
      'sessions of this user; an e-mail address is looked up in the built-in table',
    )
    .option('--provider <slug>', 'sessions started with this provider, which may be disabled or removed')
}

/** A host's own directory is code that a command does not know: there, a user goes by the id. */
async function whoseOf(
  context: SsoContext,
  { user, provider }: WhoseFlags,
  portal: string,
): Promise<SessionFilter> {
  if ((user === undefined) === (provider === undefined))
    throw new ConfigurationError('give either --user or --provider')
  if (provider !== undefined) return { provider }
  return { userId: await userIdOf(context, String(user), portal) }
}

async function userIdOf({ sso, users }: SsoContext, user: string, portal: string): Promise<string> {
  const email = normaliseEmail(user)
  if (email === undefined) return user
  const found = await users.findByEmail(email, portal)
  if (found) return found.id
  // The ids of a host's directory may be addresses.
  if ((await sso.sessions.count({ userId: user }, { portal })) > 0) return user
  throw new ConfigurationError(
    `--user: no user in the built-in table has the address ${email}; if you use your own directory, give the user ID`,
  )
}

/** As a sentence begins. */
export function sessionsThat(run: number): string {
  return run === 1 ? '1 active session' : `${run} active sessions`
}
