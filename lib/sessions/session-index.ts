import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { createForgetOld } from '../database/forget-old.ts'
import type { Logger } from '../logger.ts'
import type { Seal } from '../seal.ts'
import type { Subject } from '../users/identities-table.ts'

/** Which sessions a user, a subject or a provider's session has, wherever they run. */
export interface SessionIndex {
  add(session: IndexedSession): Promise<void>
  find(match: SessionMatch): Promise<FoundSession[]>
  remove(...sessionIds: string[]): Promise<void>
}

/** Sessions that a provider can speak of (OpenID Connect Back-Channel Logout 1.0, 2.4): its own session, or a person. */
export type SessionMatch = { portal: string; issuer: string } & (
  | { providerSession: string; subject?: string | undefined }
  | { providerSession?: undefined; subject: string }
)

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
    async find({ portal, issuer, providerSession, subject }) {
      const rows: { id: string; session: string; user_id: string }[] = await knex('sso_sessions')
        .select('id', 'session', 'user_id')
        .where({
          portal,
          issuer,
          ...(providerSession !== undefined && { provider_session: providerSession }),
          ...(subject !== undefined && { subject }),
        })
        .where('expires_at', '>', new Date().toISOString())
      const found = await Promise.all(
        rows.map(async ({ id, session, user_id: userId }) => ({
          sessionId: await seal.open(session, id),
          userId,
        })),
      )
      // One that was sealed under a secret which is gone is nobody's any more: that secret signed its cookie, too.
      return found.filter((each): each is FoundSession => typeof each.sessionId === 'string')
    },
    async remove(...sessionIds) {
      await knex('sso_sessions').whereIn('id', sessionIds.map(digest)).delete()
    },
  }
}

function digest(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('base64url')
}
