import { count } from '../admin/format.ts'
import type { SessionFilter, SessionsApi } from '../management/sessions-api.ts'
import { listLimit, type SessionInfo } from '../sessions/sessions-table.ts'
import { ConfigurationError } from '../shared/errors.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { CommandContext, PortalCommands } from './command.ts'
import { confirm } from './input.ts'
import { printPages, printProgress } from './output.ts'

type FilterContext = CommandContext<{ user?: string; provider?: string; yes?: boolean }>

const delayNotice = 'Running instances notice this within the user cache time (5 s by default).'

const filterOptions = {
  '--user <id or address>': 'sessions of this user; an e-mail address is looked up in the built-in table',
  '--provider <slug>': 'sessions started with this provider, which may be disabled or removed',
}

const columns = {
  STARTED: 'startedAt',
  'LAST SEEN': 'lastSeenAt',
  USER: 'userId',
  PROVIDER: 'provider',
  DEVICE: ({ browser, os }: SessionInfo) => [browser, os].filter(Boolean).join(', '),
  LOCATION: 'location',
  ID: 'id',
} as const

export const sessionCommands: PortalCommands = {
  list: {
    description: 'list active sessions, newest first: all of the portal, or those of a user or a provider',
    examples: [
      'sessions list | head',
      'sessions list --user ada@example.com',
      'sessions list --provider acme',
    ],
    options: filterOptions,
    async run(context: FilterContext) {
      const { flags, sessions } = context
      const isFiltered = flags.user !== undefined || flags.provider !== undefined
      const filter = isFiltered ? await readFilter(context) : undefined
      return await printPages(flags, pagesOf(sessions, filter), columns, 'No active sessions.')
    },
  },
  'end <id>': {
    description:
      'end one session, by the ID that `list` shows; put `--` before an ID that begins with a dash',
    examples: ['sessions end 47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU'],
    async run({ sessions, actor }, id: string) {
      const ended = await sessions.end(id, { actor })
      if (!ended) throw new ConfigurationError('this portal has no active session with that ID')
      return { json: { id, ended }, text: `The session has ended. ${delayNotice}` }
    },
  },
  'end-all': {
    description: 'end all sessions of a user or a provider; shows how many, and asks',
    examples: ['sessions end-all --user ada@example.com', 'sessions end-all --provider acme --yes'],
    options: { ...filterOptions, '--yes': 'do not ask' },
    async run(context: FilterContext) {
      const { sessions, actor, flags } = context
      const filter = await readFilter(context)
      const active = await sessions.count(filter)
      const found = `${flags.user ?? flags.provider}: ${count(active, 'active session', 'active sessions')}`
      if (active > 0 && !flags.yes && !(await confirm(`${found}. End all of them?`, { flag: '--yes' })))
        return { json: { ended: 0 }, text: 'No session was ended.' }
      if (active > 0) printProgress(flags, `Ending ${active} …`)
      const ended = await sessions.endAll(filter, { actor })
      const sentence = `${count(ended, 'session', 'sessions')} ended. ${delayNotice}`
      return { json: { ...filter, ended }, text: ended === 0 ? 'No active sessions.' : sentence }
    },
  },
}

async function* pagesOf(sessions: SessionsApi, filter: SessionFilter | undefined) {
  let before: string | undefined
  do {
    const { sessions: found, next } = await sessions.page(filter, { before, size: listLimit })
    yield found
    before = next
  } while (before !== undefined)
}

/** A host's own directory is not available here; its users are found by ID only. */
async function readFilter({ sessions, users, flags }: FilterContext): Promise<SessionFilter> {
  const { user, provider, portal } = flags
  if ((user === undefined) === (provider === undefined))
    throw new ConfigurationError('give either --user or --provider')
  if (user === undefined) return { provider: String(provider) }
  const email = normaliseEmail(user)
  if (email === undefined) return { userId: user }
  const found = await users.findByEmail(email, portal)
  if (found) return { userId: found.id }
  // A host's own directory may use e-mail addresses as IDs.
  if ((await sessions.count({ userId: user })) > 0) return { userId: user }
  throw new ConfigurationError(
    `--user: no user in the built-in table has the address ${email}; if you use your own directory, give the user ID`,
  )
}
