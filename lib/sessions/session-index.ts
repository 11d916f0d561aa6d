import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { createForgetOld } from '../database/forget-old.ts'
import type { Logger } from '../logger.ts'
import type { Seal } from '../seal.ts'
import type { Subject } from '../users/identities-table.ts'

/** Which sessions a user, a subject or a provider's session has, wherever they run. */
export interface SessionIndex {
  add(session: IndexedSession): Promise<void>
  /** @returns all of them; of the marked ones 500 at once, the newest */
  find(match: SessionMatch): Promise<FoundSession[]>
  /**
   * Says that they are to end, for an instance that knows the store they are in.
   *
   * @param on a transaction
   * @returns how many
   */
  mark(match: SessionMatch, on?: Knex): Promise<number>
  remove(...sessionIds: string[]): Promise<void>
}

/**
 * Sessions that a provider can speak of (OpenID Connect Back-Channel Logout 1.0, 2.4): its own session, or a person; all that
 * were begun with one; or those that were marked.
 */
export type SessionMatch =
  | { portal: string; issuer: string; providerSession: string; subject?: string | undefined }
  | { portal: string; issuer: string; providerSession?: undefined; subject: string }
  | { portal: string; providerId: string }
  | 'marked'

export interface FoundSession {
  sessionId: string
  userId: string
}

export interface IndexedSession extends Subject {
  sessionId: string
  portal: string
  userId: string
  providerId: string
  /** the `sid` claim */
  providerSession: string | undefined
  expiresAt: Date
}

/** marked sessions that are opened at once: there may be hundreds of thousands */
const batch = 500

export function createSessionIndex(knex: Knex, seal: Seal, logger: Logger): SessionIndex {
  // Most sessions just run out, and nobody says so: their rows would be there for ever, and a logout a year later would be
  // told of all of them.
  const forgetOver = createForgetOld(knex, { table: 'sso_sessions', column: 'expires_at', keep: 0 }, logger)
  return {
    async add({ sessionId, portal, userId, providerId, issuer, subject, providerSession, expiresAt }) {
      const id = digest(sessionId)
      await knex('sso_sessions').insert({
        id,
        portal,
        user_id: userId,
        provider_id: providerId,
        issuer,
        subject,
        provider_session: providerSession ?? null,
        // Sealed, not plain: a copy of the database must not be a bunch of sessions.
        session: await seal.close(sessionId, id),
        created_at: new Date().toISOString(),
        expires_at: expiresAt.toISOString(),
      })
      forgetOver()
    },
    async find(match) {
      const query = running(knex, match).select('id', 'session', 'user_id')
      // What cannot be opened any more is older than all else, so it is never in the way.
      if (match === 'marked') query.orderBy('created_at', 'desc').limit(batch)
      const rows: { id: string; session: string; user_id: string }[] = await query
      const found = await Promise.all(
        rows.map(async ({ id, session, user_id: userId }) => ({
          sessionId: await seal.open(session, id),
          userId,
        })),
      )
      // One that was sealed under a secret which is gone is nobody's any more: that secret signed its cookie, too.
      return found.filter((each): each is FoundSession => typeof each.sessionId === 'string')
    },
    async mark(match, on = knex) {
      return await running(on, match).whereNull('ending_at').update({ ending_at: new Date().toISOString() })
    },
    async remove(...sessionIds) {
      await knex('sso_sessions').whereIn('id', sessionIds.map(digest)).delete()
    },
  }
}

function running(knex: Knex, match: SessionMatch): Knex.QueryBuilder {
  const rows = knex('sso_sessions').where('expires_at', '>', new Date().toISOString())
  if (match === 'marked') return rows.whereNotNull('ending_at')
  if ('providerId' in match) return rows.where({ portal: match.portal, provider_id: match.providerId })
  const { portal, issuer, providerSession, subject } = match
  return rows.where({
    portal,
    issuer,
    ...(providerSession !== undefined && { provider_session: providerSession }),
    ...(subject !== undefined && { subject }),
  })
}

function digest(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('base64url')
}
