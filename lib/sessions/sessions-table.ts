import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { pauseAfterBatch } from '../database/connect.ts'
import { changeRows, insertInto, selectRows } from '../database/statement.ts'
import type { Provider } from '../providers/provider.ts'
import { digest, type Seal } from '../shared/seal.ts'
import { isoAt, MINUTE, SECOND } from '../shared/time.ts'
import type { Core } from '../web/core.ts'
import type { Device, NewSignIn } from './session-data.ts'
import type { LimitsByPortal } from './session-limits.ts'

/**
 * Selects one session by its own id or its row's; all of a user; all started with a provider, or with one session at it; or those
 * that a logout token can name (OpenID Connect Back-Channel Logout 1.0, 2.4): a provider's session or a subject.
 */
export type SessionMatch =
  | { sessionId: string }
  | { portal: string; id: string; userId?: string | undefined }
  | { portal: string; userId: string /** id of a row */; except?: string | undefined }
  /** those of a user that started without a link for which this address is proven, such as with the host's password */
  | { portal: string; userId: string; unprovenEmail: string; except?: string | undefined }
  /** slug */
  | { portal: string; provider: string; sid?: string | undefined }
  | { portal: string; issuer: string; sid: string; subject?: string | undefined }
  | {
      portal: string
      issuer: string
      sid?: undefined
      subject: string
      except?: string | undefined
    }

export interface NewSession extends Device {
  sessionId: string
  portal: string
  userId: string
  /** absent when the host signed the user in by `req.login` */
  signIn:
    | (Pick<NewSignIn, 'issuer' | 'subject' | 'sid'> & { provider: Pick<Provider, 'id' | 'slug'> })
    | undefined
  location: string | undefined
  expiresAt: Date
}

/** The public data of a session: nothing by which an attacker could take it over. */
export interface SessionInfo extends Device {
  /** Identifies the session, but cannot be used to open it. */
  id: string
  /** Id of the user. */
  userId: string
  /** Slug of the provider. `undefined` if the host signed the user in itself. */
  provider: string | undefined
  /** From the option `session.location`; default the client address as far as `events.clientAddress` keeps it. */
  location: string | undefined
  /** When the user signed in. ISO 8601. */
  startedAt: string
  /** When the user last sent a request. ISO 8601; updated once a tenth of the idle time has passed. */
  lastSeenAt: string
}

export interface RemovedSession {
  /** `undefined`: another instance sealed it, or a retired secret, which also signed its cookie */
  sessionId: string | undefined
  userId: string
  /** its idle time had not expired */
  wasValid: boolean
}

/** A task to end sessions, which any instance finishes if the one that began it dies. */
export interface SessionEnding {
  id: string
  match: SessionMatch
  /** ISO 8601; set by the instance that takes over, because the user may have signed in again since */
  startedBefore?: string | undefined
}

/** Also all sessions of a portal: for reading only, so that a missing filter ends no session. */
export type ListedSessions = SessionMatch | { portal: string }

/** `before`: the last session of the previous page. */
export interface SessionPage {
  before: Pick<SessionInfo, 'startedAt' | 'id'> | undefined
  size: number
}

type FindMissing = (sessionIds: string[]) => Promise<ReadonlySet<string>>

/** Other requests wait while SQLite deletes this many rows and their session ids are decrypted. */
const batchSize = 250
/** An instance that is still working on an ending has this time for itself. */
const endingGraceMs = 30 * SECOND
/** The times of two instances differ by less: see `database/clock.ts`. */
const maxClockDifferenceMs = MINUTE
export const listLimit = 1000

/**
 * The sessions of signed-in users, in whatever store they are. A session is valid as long as its row exists: deleting the row
 * revokes it on every instance and in every store, even if a request in flight writes it back.
 */
export class SessionsTable {
  readonly #knex: Knex
  readonly #clock: Core['clock']
  readonly #seal: Seal
  readonly #limits: LimitsByPortal

  constructor({ knex, clock }: Pick<Core, 'knex' | 'clock'>, seal: Seal, limits: LimitsByPortal) {
    this.#knex = knex
    this.#clock = clock
    this.#seal = seal
    this.#limits = limits
  }

  async add({ sessionId, portal, userId, signIn, ...client }: NewSession): Promise<void> {
    const id = digest(sessionId)
    const now = this.#now()
    const row = {
      id,
      portal,
      user_id: userId,
      provider_id: signIn?.provider.id ?? null,
      provider: signIn?.provider.slug ?? null,
      issuer: signIn?.issuer ?? null,
      subject: signIn?.subject ?? null,
      sid: signIn?.sid ?? null,
      // Sealed, so that a copy of the database cannot be used to take over sessions.
      session: this.#seal.close(sessionId, id),
      browser: client.browser ?? null,
      os: client.os ?? null,
      location: client.location ?? null,
      created_at: now,
      last_seen_at: now,
      expires_at: client.expiresAt.toISOString(),
    }
    await changeRows(this.#knex, insertInto('sso_sessions', row))
  }

  /** True while the row exists, even if the session has expired by our clock. */
  async exists(sessionId: string): Promise<boolean> {
    return (await this.#matching({ sessionId }).first('id')) !== undefined
  }

  /** @returns `undefined` if the session was revoked or has expired */
  async lastSeen(sessionId: string): Promise<Date | undefined> {
    const sql = 'select last_seen_at from sso_sessions where id = ? and expires_at > ?'
    const bindings = [digest(sessionId), this.#now()]
    const [row] = await selectRows<{ last_seen_at: string }>(this.#knex, { sql, bindings })
    return row && new Date(row.last_seen_at)
  }

  /** Sets the time of the last request. It does not bring back a revoked session. */
  async renew(sessionId: string): Promise<void> {
    await this.#unexpired({ sessionId }).update({ last_seen_at: this.#now() })
  }

  /**
   * Gives a session another id in one statement, so that a revocation always finds it.
   *
   * @returns `false` if the session was revoked or has expired
   */
  async rename(sessionId: string, newSessionId: string): Promise<boolean> {
    const id = digest(newSessionId)
    const session = this.#seal.close(newSessionId, id)
    return (await this.#unexpired({ sessionId }).update({ id, session })) === 1
  }

  /** Whether an address of the user was proven less than so long ago. */
  async wasProvenWithin(milliseconds: number, portal: string, userId: string): Promise<boolean> {
    const since = isoAt(this.#clock.now() - milliseconds)
    const proofs = this.#knex('sso_identities').where({ portal, user_id: userId })
    return (await proofs.where('proven_at', '>', since).first('id')) !== undefined
  }

  /**
   * Valid sessions, newest first. A session whose idle time has expired is not listed, even while its row exists.
   *
   * @param findMissing returns the sessions that are no longer in their store, which are not listed either
   */
  async list(match: SessionMatch, limit = listLimit, findMissing?: FindMissing): Promise<SessionInfo[]> {
    const found: ListedRow[] = await this.#listed(match).limit(limit)
    const rows = findMissing ? await this.#without(found, findMissing) : found
    return rows.map(fromListedRow)
  }

  /**
   * One page of the list. It may have fewer sessions than its size although there is a next one: some may be missing in their store.
   *
   * @param page.before the last session of the previous page
   */
  async page(
    match: ListedSessions,
    { before, size }: SessionPage,
    findMissing?: FindMissing,
  ): Promise<{ sessions: SessionInfo[]; next: string | undefined }> {
    const query = this.#listed(match).orderBy('id', 'desc')
    // In this form, the database starts reading the index at the cursor.
    if (before)
      query
        .where('created_at', '<=', before.startedAt)
        .where((rest) => rest.where('created_at', '<', before.startedAt).orWhere('id', '<', before.id))
    const found: ListedRow[] = await query.limit(size + 1)
    const shown = found.slice(0, size)
    const last = found.length > size ? shown.at(-1) : undefined
    const rows = findMissing ? await this.#without(shown, findMissing) : shown
    return { sessions: rows.map(fromListedRow), next: last && `${last.startedAt}_${last.id}` }
  }

  #listed(match: ListedSessions): Knex.QueryBuilder {
    return this.#valid(match)
      .select('id', 'session', 'provider', 'browser', 'os', 'location')
      .select({ userId: 'user_id', startedAt: 'created_at', lastSeenAt: 'last_seen_at' })
      .orderBy('created_at', 'desc')
  }

  /** Keeps rows of other instances, and of a retired secret, because only their own store knows those sessions. */
  async #without(rows: ListedRow[], findMissing: FindMissing): Promise<ListedRow[]> {
    const sessionIds = rows.map(({ id, session }) => this.#unseal(session, id))
    const missing = await findMissing(sessionIds.filter((sessionId) => sessionId !== undefined))
    return rows.filter((_row, at) => !missing.has(sessionIds[at] ?? ''))
  }

  #unseal(sealed: string, id: string): string | undefined {
    return this.#seal.open(sealed, id) as string | undefined
  }

  /** The number of sessions that `list` would return without a limit. @param most stops counting there */
  async count(match: SessionMatch, most?: number): Promise<number> {
    const valid = this.#valid(match)
    // In the order of an index, so that PostgreSQL uses it.
    const first = () =>
      valid
        .select('id')
        .orderBy('created_at', 'desc')
        .limit(most ?? 0)
    const counted: Knex.QueryBuilder = most === undefined ? valid : this.#knex.from(first().as('valid'))
    const row = await counted.count({ sessions: '*' }).first()
    return Number(row?.sessions)
  }

  /**
   * Call this before ending sessions that may be more than one batch.
   *
   * @param how `on` a transaction, the database's time, and how many sessions will end, if somebody watches
   */
  async recordEnding(
    match: SessionMatch,
    how: { on?: Knex.Transaction; now?: number; total?: number } = {},
  ): Promise<SessionEnding> {
    const { on = this.#knex, now = await this.#clock.measure(), total = null } = how
    const id = randomUUID()
    const selection = JSON.stringify(match)
    await on('sso_session_endings').insert({ id, selection, requested_at: isoAt(now), total })
    return { id, match }
  }

  /** How many sessions of an ending are deleted. @returns `undefined` if it has finished, or is of another portal */
  async endingProgress(id: string, portal: string): Promise<{ total: number; done: number } | undefined> {
    const row = await this.#knex('sso_session_endings').where({ id }).first('selection', 'total', 'done')
    if (!row || (JSON.parse(row.selection) as { portal?: string }).portal !== portal) return undefined
    // Rows of expired sessions are deleted, too, but not part of the total.
    const total = Number(row.total ?? 0)
    return { total, done: Math.min(Number(row.done), total) }
  }

  /** Those that no instance has finished in time. */
  async abandonedEndings(): Promise<SessionEnding[]> {
    const begunBefore = isoAt((await this.#clock.measure()) - endingGraceMs)
    const rows: Record<'id' | 'selection' | 'requested_at', string>[] = await this.#knex(
      'sso_session_endings',
    ).where('requested_at', '<', begunBefore)
    return rows.map(({ id, selection, requested_at }) => ({
      id,
      match: JSON.parse(selection) as SessionMatch,
      startedBefore: isoAt(Date.parse(requested_at) + maxClockDifferenceMs),
    }))
  }

  /**
   * Deletes rows, also of expired sessions: they may be valid by the clock of another instance.
   *
   * @param given recorded before, and deleted afterwards. Omitted: recorded as soon as one batch is not enough
   * @returns the sessions in batches, to be destroyed in their store
   */
  async *remove(match: SessionMatch, given?: SessionEnding): AsyncIterable<RemovedSession[]> {
    let ending = given
    for (let found = batchSize; found === batchSize; ) {
      const startedAt = performance.now()
      const query = this.#matching(match).select(
        'id',
        'session',
        'user_id',
        'last_seen_at',
        'expires_at',
        'portal',
      )
      if (given?.startedBefore) query.where('created_at', '<', given.startedBefore)
      const rows: SealedRow[] = await query.limit(batchSize)
      if (rows.length === batchSize) ending ??= await this.recordEnding(match)
      const ids = rows.map(({ id }) => id)
      const deleted = ids.length > 0 ? await this.#knex('sso_sessions').whereIn('id', ids).delete() : 0
      if (ending && deleted > 0)
        await this.#knex('sso_session_endings').where({ id: ending.id }).increment('done', deleted)
      // Fewer: a row may have been renamed in between and still exists, so go round again.
      found = deleted < rows.length ? batchSize : rows.length
      // Another caller deleted the same rows. Continue, since no caller may return before all rows are gone.
      if (deleted > 0) yield rows.map((row) => this.#toRemoved(row))
      if (found === batchSize) await pauseAfterBatch(this.#knex, startedAt)
    }
    if (ending) await this.#knex('sso_session_endings').where({ id: ending.id }).delete()
  }

  #toRemoved({ id, session, user_id, last_seen_at, expires_at, portal }: SealedRow): RemovedSession {
    const wasValid = last_seen_at > this.#idleSince(portal) && expires_at > this.#now()
    return { sessionId: this.#unseal(session, id), userId: user_id, wasValid }
  }

  #valid(match: ListedSessions): Knex.QueryBuilder {
    const portal = 'portal' in match ? match.portal : undefined
    return this.#unexpired(match).where('last_seen_at', '>', this.#idleSince(portal))
  }

  #unexpired(match: ListedSessions): Knex.QueryBuilder {
    return this.#matching(match).where('expires_at', '>', this.#now())
  }

  #matching(match: ListedSessions): Knex.QueryBuilder {
    const knex = this.#knex
    const query = knex('sso_sessions')
    if ('sessionId' in match) return query.where({ id: digest(match.sessionId) })
    const { except, sid, unprovenEmail, userId: user_id, ...others }: MatchFields = match
    for (const [column, value] of Object.entries({ user_id, ...others }))
      if (value !== undefined) query.where(column, value)
    if (sid !== undefined)
      query.where((either) => {
        either.where({ sid })
        // Include sessions whose `sid` is unknown: the token names their subject.
        if (others.subject !== undefined) either.orWhereNull('sid')
      })
    if (unprovenEmail !== undefined)
      query.whereNotExists(
        knex('sso_identities as proven')
          .select('proven.id')
          .where({
            'proven.portal': knex.ref('sso_sessions.portal'),
            'proven.issuer': knex.ref('sso_sessions.issuer'),
            'proven.subject': knex.ref('sso_sessions.subject'),
            'proven.user_id': knex.ref('sso_sessions.user_id'),
          })
          .where('proven.proven_email', unprovenEmail),
      )
    return except === undefined ? query : query.whereNot('id', except)
  }

  /** ISO 8601; a session that was last seen before this has expired */
  #idleSince(portal: string | undefined): string {
    return isoAt(this.#clock.now() - this.#limits.of(portal).idleMs)
  }

  #now(): string {
    return isoAt(this.#clock.now())
  }
}

/** A digest in base64url. Other input never reaches the database. */
export const sessionDigestPattern = /^[\w-]{43}$/

type SealedRow = Record<'id' | 'session' | 'user_id' | 'last_seen_at' | 'expires_at' | 'portal', string>
type ListedRow = Record<'id' | 'session' | 'userId' | 'startedAt' | 'lastSeenAt', string> &
  Record<'provider' | 'browser' | 'os' | 'location', string | null>

function fromListedRow(listed: ListedRow): SessionInfo {
  const { provider, browser, os, location, session: _sealed, ...row } = listed
  return {
    ...row,
    provider: provider ?? undefined,
    browser: browser ?? undefined,
    os: os ?? undefined,
    location: location ?? undefined,
  }
}

/** The fields of every kind of match. */
type MatchFields = {
  [field in
    | 'portal'
    | 'id'
    | 'userId'
    | 'provider'
    | 'issuer'
    | 'subject'
    | 'sid'
    | 'except'
    | 'unprovenEmail']?: string | undefined
}
