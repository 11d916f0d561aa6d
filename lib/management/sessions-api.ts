import { type SessionInfo, type SessionMatch, sessionDigestPattern } from '../sessions/sessions-table.ts'
import { type ActOptions, resolveActOptions } from '../shared/act-options.ts'
import { ManagementError } from '../shared/errors.ts'
import { phrase } from '../shared/phrase.ts'
import type { ManagementContext } from './context.ts'
import type { Progress } from './test-run.ts'

/** Selects the sessions of a user, or those started with a provider: exactly one of the two, within one portal. */
export type SessionFilter =
  | { userId: string; provider?: undefined }
  /** slug; also of a disabled or removed provider */
  | { provider: string; userId?: undefined }

/** The sessions of a portal: lists and ends them. */
export class SessionsApi {
  readonly #context: ManagementContext
  readonly #portal: string

  /** @internal */
  constructor(context: ManagementContext, portal = 'default') {
    this.#context = context
    this.#portal = portal
  }

  /**
   * Returns the newest 1000 sessions at most, newest first, without those that Redis has evicted; `count` returns the total with them.
   *
   * @throws ManagementError when the filter is invalid, or names a provider that never existed
   */
  async list(filter: SessionFilter, options: ActOptions = {}): Promise<SessionInfo[]> {
    return await this.#context.sessions.list(await this.#matching(readFilter(filter), options))
  }

  /** Counts the valid sessions. @param options.most stop counting there. @throws ManagementError as `list` */
  async count(
    filter: SessionFilter,
    options: ActOptions & { most?: number | undefined } = {},
  ): Promise<number> {
    const match = await this.#matching(readFilter(filter), options)
    return await this.#context.sessions.table.count(match, options.most)
  }

  /**
   * Ends one session.
   *
   * @param id as in `list`: it identifies a session, but cannot be used to open it
   * @returns whether it was a valid session of this portal
   */
  async end(id: string, options: ActOptions = {}): Promise<boolean> {
    const { portal, actor } = resolveActOptions(options, this.#portal)
    if (!sessionDigestPattern.test(id)) return false
    const [ended] = await this.#context.sessions.endAll({ portal, id })
    if (!ended) return false
    const [userId, sessions] = ended
    await this.#context.events.record({ kind: 'sessions-ended', portal, userId, actor, detail: { sessions } })
    return true
  }

  /**
   * Ends all matching sessions. Other instances notice within `session.userCacheSeconds`. Users may sign in again at once, so
   * deactivate the user or disable the provider first.
   *
   * @returns how many valid sessions it ended
   * @throws ManagementError as `list`, so that a missing filter ends no session
   */
  async endAll(filter: SessionFilter, options: ActOptions = {}): Promise<number> {
    return await (await this.beginEnding(filter, options)).finished
  }

  /** As `endAll`, but returns before the sessions have ended. @internal */
  async beginEnding(
    filter: SessionFilter,
    options: ActOptions = {},
  ): Promise<{ id: string; finished: Promise<number> }> {
    const { portal, actor } = resolveActOptions(options, this.#portal)
    const { events, sessions } = this.#context
    const read = readFilter(filter)
    const match = await this.#matching(read, options)
    const found = await sessions.table.count(match)
    // Both come first: if this instance dies, another one ends the sessions, and the event names the actor.
    const ending = await sessions.table.recordEnding(match, { total: found })
    const detail = { sessions: found }
    if (found > 0) await events.record({ kind: 'sessions-ended', portal, ...read, actor, detail })
    const finish = async () => {
      const ended = await sessions.finish(ending)
      return [...ended.values()].reduce((sum, count) => sum + count, 0)
    }
    return { id: ending.id, finished: finish() }
  }

  /** Progress of the ending with this id on any instance. `undefined`: it has finished. @internal */
  async endingProgress(id: string, options: ActOptions = {}): Promise<Progress | undefined> {
    const { portal } = resolveActOptions(options, this.#portal)
    // Other text never reaches the database: PostgreSQL fails on a NUL.
    return /^[\da-f-]{36}$/.test(id)
      ? await this.#context.sessions.table.endingProgress(id, portal)
      : undefined
  }

  /**
   * The next valid sessions of one filter, or of the whole portal, newest first, without those that Redis has evicted.
   *
   * @param page.before the `next` of the previous page; any other text shows the first one
   * @internal
   */
  async page(
    filter: SessionFilter | undefined,
    page: { before?: string | undefined; size: number },
    options: ActOptions = {},
  ): Promise<{ sessions: SessionInfo[]; next: string | undefined }> {
    const { portal } = resolveActOptions(options, this.#portal)
    const match = filter ? await this.#matching(readFilter(filter), options) : { portal }
    const [, startedAt, id] = /^([\dTZ:.-]{24})_([\w-]{43})$/.exec(page.before ?? '') ?? []
    const before = startedAt && id ? { startedAt, id } : undefined
    return await this.#context.sessions.page(match, { before, size: page.size })
  }

  /** A mistyped slug must not look like a provider without sessions. */
  async #matching({ userId, provider }: SessionFilter, options: ActOptions): Promise<SessionMatch> {
    const { portal } = resolveActOptions(options, this.#portal)
    if (provider === undefined) return { portal, userId }
    const { providersTable, sessions } = this.#context
    const match = { portal, provider }
    const message = phrase(
      'no provider is called "{{provider}}" in the portal "{{portal}}", and no session was started with one',
      { provider, portal },
    )
    if (!(await providersTable.find(portal, provider)) && (await sessions.table.count(match, 1)) === 0)
      throw new ManagementError('not_found', message)
    return match
  }
}

/** Callers without types may pass neither, both, or text that a database rejects (PostgreSQL: NUL). */
function readFilter(filter: { userId?: unknown; provider?: unknown } | undefined): SessionFilter {
  const { userId, provider } = filter ?? {}
  if ((userId === undefined) === (provider === undefined))
    throw new ManagementError('invalid', 'select the sessions by either `userId` or `provider`')
  if (provider === undefined) return { userId: readText(userId, 'userId', 'the id of a user') }
  return { provider: readText(provider, 'provider', 'the slug of a provider, such as `acme`') }
}

function readText(value: unknown, name: string, what: string): string {
  if (typeof value === 'string' && /^[^\p{Cc}]{1,255}$/u.test(value)) return value
  throw new ManagementError('invalid', [{ path: name, message: `give ${what}` }])
}
