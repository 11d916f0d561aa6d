import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import type { Seal } from '../shared/seal.ts'
import type { Device } from './session-data.ts'
import type { LimitsOf } from './session-limits.ts'

/**
 * The sessions that run, wherever their store is. A session lasts as long as its row: whoever deletes that has ended it on every
 * instance and in every store, also where a request in flight writes it back.
 */
export interface SessionsTable {
  add(session: NewSession): Promise<void>
  /** @returns `undefined`: it has ended */
  lastSeen(sessionId: string): Promise<Date | undefined>
  /** Notes that it was seen just now; one that has ended stays so. */
  renew(sessionId: string): Promise<void>
  /** Gives one another id, under which it is found to be ended at every moment. @returns `false`: it has ended */
  rename(sessionId: string, to: string): Promise<boolean>
  /** Those that run, the newest first: also one that its store forgot has ended when its idle time is over. @param most default 1000 */
  list(match: SessionMatch, most?: number): Promise<SessionInfo[]>
  /** How many of these there are. */
  count(match: SessionMatch): Promise<number>
  /** Ends them. @returns all of them, to be taken out of their store; also those whose idle time is over */
  remove(match: SessionMatch): AsyncIterable<RemovedSession[]>
  /** Ends them without a word of which they were. @param on a transaction. @returns how many */
  removeQuietly(match: SessionMatch, on?: Knex): Promise<number>
}

/**
 * One session, by its own id or that of its row; all of a user; all that were begun with a provider, or with one session of it; or those that a provider can
 * speak of (OpenID Connect Back-Channel Logout 1.0, 2.4): its own session, or a person.
 */
export type SessionMatch =
  | { sessionId: string }
  | { portal: string; id: string; userId?: string | undefined }
  | { portal: string; userId: string /** id of a row */; except?: string | undefined }
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
  /** absent when the host signed the person in by `req.login` */
  signedInVia: { providerId: string; provider: string; issuer: string; subject: string } | undefined
  /** the `sid` claim */
  sid: string | undefined
  location: string | undefined
  expiresAt: Date
}

/** What may be shown of a session: nothing by which somebody could take it over. */
export interface SessionInfo extends Device {
  /** names it, and opens nothing */
  id: string
  userId: string
  /** slug */
  provider: string | undefined
  location: string | undefined
  /** ISO 8601 */
  startedAt: string
  /** ISO 8601; noted when a tenth of the idle time has passed */
  lastSeenAt: string
}

export interface RemovedSession {
  /** `undefined`: it was sealed under a secret that is gone, which signed its cookie, too */
  sessionId: string | undefined
  userId: string
  /** its idle time was not over */
  ran: boolean
}

/** rows of one statement */
const batch = 500

export function createSessionsTable(knex: Knex, seal: Seal, limitsOf: LimitsOf): SessionsTable {
  const now = () => new Date(Date.now()).toISOString()

  function matching(match: SessionMatch, on = knex): Knex.QueryBuilder {
    const running = on('sso_sessions').where('expires_at', '>', now())
    if ('sessionId' in match) return running.where({ id: sessionDigest(match.sessionId) })
    const { except, provider, sid, id, userId, ...rest } = { ...none, ...match }
    const named = { id, user_id: userId, provider, ...rest }
    const given = Object.entries(named).filter(([, value]) => value !== undefined)
    running.where(Object.fromEntries(given))
    if (sid !== undefined)
      running.where((which) => {
        which.where({ sid: sid })
        // Of which one it hangs on the provider has not said: the person is named, and may be meant.
        if ('subject' in rest && rest.subject !== undefined) which.orWhereNull('sid')
      })
    return except === undefined ? running : running.whereNot('id', except)
  }

  /** ISO 8601: what was last seen before has ended */
  function idleSince(portal: string | undefined): string {
    const { idle } = limitsOf(portal)
    return new Date(Date.now() - idle).toISOString()
  }

  const running = (match: SessionMatch) =>
    matching(match).where('last_seen_at', '>', idleSince('portal' in match ? match.portal : undefined))

  async function* remove(match: SessionMatch): AsyncIterable<RemovedSession[]> {
    for (let found = batch; found === batch; ) {
      const rows: SealedRow[] = await matching(match)
        .select('id', 'session', 'user_id', 'last_seen_at', 'portal')
        .limit(batch)
      const ids = rows.map(({ id }) => id)
      const deleted = await knex('sso_sessions').whereIn('id', ids).delete()
      // One that was renamed in between is there still.
      found = deleted < rows.length ? batch : rows.length
      // Of two who end them at once, one has done it; the other goes on, for neither returns before all are over.
      if (deleted === 0) continue
      yield await Promise.all(
        rows.map(async ({ id, session, user_id: userId, last_seen_at, portal }) => ({
          sessionId: (await seal.open(session, id)) as string | undefined,
          userId,
          ran: last_seen_at > idleSince(portal),
        })),
      )
    }
  }

  return {
    async add({ sessionId, portal, userId, signedInVia, sid, location, browser, os, expiresAt }) {
      const id = sessionDigest(sessionId)
      await knex('sso_sessions').insert({
        id,
        portal,
        user_id: userId,
        provider_id: signedInVia?.providerId ?? null,
        provider: signedInVia?.provider ?? null,
        issuer: signedInVia?.issuer ?? null,
        subject: signedInVia?.subject ?? null,
        sid: sid ?? null,
        // Sealed, not plain: a copy of the database must not be a bunch of sessions.
        session: await seal.close(sessionId, id),
        browser: browser ?? null,
        os: os ?? null,
        location: location ?? null,
        created_at: now(),
        last_seen_at: now(),
        expires_at: expiresAt.toISOString(),
      })
    },
    async lastSeen(sessionId) {
      const row: { last_seen_at: string } | undefined = await matching({ sessionId })
        .select('last_seen_at')
        .first()
      return row && new Date(row.last_seen_at)
    },
    async renew(sessionId) {
      await matching({ sessionId }).update({ last_seen_at: now() })
    },
    async rename(sessionId, to) {
      const id = sessionDigest(to)
      return (await matching({ sessionId }).update({ id, session: await seal.close(to, id) })) === 1
    },
    async list(match, most = 1000) {
      const rows: Row[] = await running(match).select(columns).orderBy('created_at', 'desc').limit(most)
      return rows.map((row) => ({
        id: row.id,
        userId: row.user_id,
        provider: row.provider ?? undefined,
        browser: row.browser ?? undefined,
        os: row.os ?? undefined,
        location: row.location ?? undefined,
        startedAt: row.created_at,
        lastSeenAt: row.last_seen_at,
      }))
    },
    async count(match) {
      const row = await running(match).count({ sessions: '*' }).first()
      return Number(row?.sessions)
    },
    remove,
    removeQuietly: async (match, on) => await matching(match, on).delete(),
  }
}

/** A digest in base64url; nothing else that somebody may have entered is asked of the database. */
export const sessionDigestPattern = /^[\w-]{43}$/

/** What is shown in place of a session's id. */
export function sessionDigest(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('base64url')
}

type Column = 'id' | 'user_id' | 'created_at' | 'last_seen_at'
type Optional = 'provider' | 'browser' | 'os' | 'location'
type SealedRow = Record<'id' | 'session' | 'user_id' | 'last_seen_at' | 'portal', string>
type Row = Record<Column, string> & Record<Optional, string | null>

const columns: (keyof Row)[] = [
  'id',
  'user_id',
  'provider',
  'browser',
  'os',
  'location',
  'created_at',
  'last_seen_at',
]

/** every name by which a match may ask */
const none: { [name in 'except' | 'provider' | 'sid' | 'id' | 'userId']?: string | undefined } = {}
