import type { EventLog } from '../events/event-log.ts'
import type { ProvidersTable } from '../providers/providers-table.ts'
import type { EndSessions } from '../sessions/end-sessions.ts'
import {
  type SessionInfo,
  type SessionMatch,
  type SessionsTable,
  sessionDigestPattern,
} from '../sessions/sessions-table.ts'
import type { ActOptions } from '../shared/act-options.ts'
import { ConfigurationError } from '../shared/errors.ts'

/** Whose sessions: those of a user, or those that were begun with a provider. One of the two, and within one portal. */
export type SessionFilter =
  | { userId: string; provider?: undefined }
  /** slug; also of one that is disabled or was removed */
  | { provider: string; userId?: undefined }

/** The sessions that run, for whoever looks after the portal. `portal` is `default` wherever it is left out. */
export interface SessionsApi {
  /**
   * The newest first, 1000 at most: `count` says whether there are more.
   *
   * @throws ConfigurationError when it is not said whose, or no provider has or had that name
   */
  list(whose: SessionFilter & { portal?: string | undefined }): Promise<SessionInfo[]>
  /** @throws ConfigurationError as `list` */
  count(whose: SessionFilter & { portal?: string | undefined }): Promise<number>
  /**
   * @param id as `list` gives it: it names a session, and opens none
   * @returns whether it ran, in this portal
   */
  end(id: string, how?: ActOptions): Promise<boolean>
  /**
   * Ends them all, however many, a few hundred at a time. Once it has returned, none of them lets anybody in by this instance; others
   * notice within `session.userCacheSeconds` at the latest. Whoever may still sign in may do so at once: switch the account or the
   * provider off before.
   *
   * @returns how many
   * @throws ConfigurationError as `list`: who forgets to say whose ends none
   */
  endAll(whose: SessionFilter, how?: ActOptions): Promise<number>
}

export interface SessionsApiParts {
  endSessions: EndSessions
  events: EventLog
  index: SessionsTable
  table: Pick<ProvidersTable, 'find'>
}

export function createSessionsApi({ endSessions, events, index, table }: SessionsApiParts): SessionsApi {
  /** A name that is mistyped must not look like one that nobody is signed in by. */
  async function matching({ userId, provider }: SessionFilter, portal: string): Promise<SessionMatch> {
    if (provider === undefined) return { portal, userId }
    const match = { portal, provider }
    if (!(await table.find(portal, provider)) && (await index.count(match)) === 0)
      throw new ConfigurationError(
        `no provider is called "${provider}" in the portal "${portal}", and no session was begun with one`,
      )
    return match
  }

  return {
    async list({ portal = 'default', ...whose }) {
      return await index.list(await matching(readWhose(whose), portal))
    },
    async count({ portal = 'default', ...whose }) {
      return await index.count(await matching(readWhose(whose), portal))
    },
    async end(id, { portal = 'default', actor = 'code' } = {}) {
      if (!sessionDigestPattern.test(id)) return false
      const [ended] = await endSessions({ portal, id })
      if (!ended) return false
      const [userId, sessions] = ended
      await events.record({ kind: 'sessions-ended', portal, userId, actor, detail: { sessions } })
      return true
    },
    async endAll(whose, { portal = 'default', actor = 'code' } = {}) {
      const read = readWhose(whose)
      const ended = await endSessions(await matching(read, portal))
      const sessions = [...ended.values()].reduce((sum, count) => sum + count, 0)
      if (sessions > 0)
        await events.record({ kind: 'sessions-ended', portal, ...read, actor, detail: { sessions } })
      return sessions
    },
  }
}

/** What code without types hands over may say nothing, both, or what a database chokes on (PostgreSQL on a NUL). */
function readWhose(whose: { userId?: unknown; provider?: unknown } | undefined): SessionFilter {
  const { userId, provider } = whose ?? {}
  if ((userId === undefined) === (provider === undefined))
    throw new ConfigurationError('say whose sessions: give `userId` or `provider`, one of them')
  if (provider === undefined) return { userId: text(userId, 'userId', 'the id of a user') }
  return { provider: text(provider, 'provider', 'the name of a provider in addresses, such as `acme`') }
}

function text(value: unknown, name: string, what: string): string {
  if (typeof value === 'string' && /^[^\p{Cc}]{1,255}$/u.test(value)) return value
  throw new ConfigurationError(`${name}: give ${what}`)
}
