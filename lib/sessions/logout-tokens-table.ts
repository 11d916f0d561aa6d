import type { Knex } from 'knex'
import type { Sql } from '../database/statement.ts'
import type { Identity } from '../oidc/identity.ts'
import type { LogoutToken } from '../oidc/logout-token.ts'
import type { Provider } from '../providers/provider.ts'
import { digest } from '../shared/seal.ts'
import type { Core } from '../web/core.ts'

/** A provider's message that its session has ended, or all sessions of a subject. */
export type LogoutNotice = Omit<LogoutToken, 'id'> & {
  portal: string
  /** the `jti` claim; omitted for a front-channel logout, which has no token and may be repeated */
  id?: string | undefined
}

/**
 * Longer than a logout token is accepted (six minutes) and than a sign-in takes: ten minutes at the provider, then up to four
 * steps of a registration with half an hour each.
 */
const retentionMs = 4 * 3_600_000

/**
 * Recent logout notices of providers. A replayed token must not sign a user out again, and a sign-in that was in progress when a
 * notice arrived must not survive it. In the database, so that this holds on every instance and with any session store.
 */
export class LogoutTokensTable {
  /** A notice and a sign-in on two instances are compared. */
  readonly #clock: Core['clock']
  readonly #knex: Knex

  constructor({ clock, knex }: Pick<Core, 'clock' | 'knex'>) {
    this.#clock = clock
    this.#knex = knex
  }

  /**
   * Call this before ending any session, so that none can start in between.
   *
   * @returns whether to apply the notice; `false` if it has been processed before
   */
  async record(notice: LogoutNotice): Promise<boolean> {
    const id = idOf(notice)
    const now = this.#clock.now()
    const times = {
      received_at: new Date(now).toISOString(),
      expires_at: new Date(now + retentionMs).toISOString(),
    }
    const { portal, issuer, ends } = notice
    // Not `ignore()`: in MySQL that is INSERT IGNORE, which also truncates values.
    await this.#rows()
      .insert({ id, portal, issuer, subject: ends.subject ?? null, sid: ends.sid ?? null, ...times })
      .onConflict('id')
      .merge(['id'])
    const row = this.#rows().where({ id })
    // A processed token is not renewed: an attacker who replays it could otherwise keep refusing the user's new sign-ins.
    return (await (notice.id === undefined ? row : row.whereNull('processed_at')).update(times)) === 1
  }

  /** Until then the provider may send the same token again, as it does after an error response. */
  async markProcessed(notice: LogoutNotice): Promise<void> {
    await this.#rows()
      .where({ id: idOf(notice) })
      .update({ processed_at: new Date().toISOString() })
  }

  /** False if the attempt is so old that a notice may have been deleted since, or if its start is unknown. */
  covers({ askedAt }: Pick<Identity, 'askedAt'>): boolean {
    return askedAt > this.#clock.now() - retentionMs
  }

  /** Selects the notices for the identity's session or subject that have arrived since `askedAt`. */
  noticesFor(
    { portal, issuer: configuredIssuer }: Pick<Provider, 'portal' | 'issuer'>,
    { issuer, subject, sid, askedAt }: Identity,
  ): Sql {
    // A notice without an issuer was recorded under the provider's configured one.
    const sql = 'select id from sso_logout_tokens where portal = ? and issuer in (?, ?) and received_at >= ?'
    const bindings = [portal, issuer, configuredIssuer, new Date(askedAt).toISOString()]
    // Without a `sid` of our own, a notice for any session of the subject may apply.
    if (sid === undefined) return { sql: `${sql} and subject = ?`, bindings: [...bindings, subject] }
    // One look-up each: `or` would read all notices of the provider.
    return {
      sql: `${sql} and subject = ? and (sid is null or sid = ?) union all ${sql} and subject is null and sid = ?`,
      bindings: [...bindings, subject, sid, ...bindings, sid],
    }
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_logout_tokens')
  }
}

function idOf({ portal, issuer, id, ends }: LogoutNotice): string {
  return digest(JSON.stringify([portal, issuer, id === undefined ? { sid: ends.sid } : { jti: id }]))
}
