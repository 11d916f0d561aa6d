import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import type { Seal } from '../seal.ts'
import type { Subject } from '../users/identities-table.ts'

/** Which sessions a user, a subject or a provider's session has, wherever they run. */
export interface SessionIndex {
  add(session: IndexedSession): Promise<void>
  remove(sessionId: string): Promise<void>
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

export function createSessionIndex(knex: Knex, seal: Seal): SessionIndex {
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
    },
    async remove(sessionId) {
      await knex('sso_sessions')
        .where({ id: digest(sessionId) })
        .delete()
    },
  }
}

function digest(sessionId: string): string {
  return createHash('sha256').update(sessionId).digest('base64url')
}
