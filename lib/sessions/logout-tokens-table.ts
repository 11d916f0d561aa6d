import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import type { Identity } from '../oidc/identity.ts'
import type { LogoutToken } from '../oidc/logout-token.ts'
import type { Provider } from '../providers/provider.ts'

/** What a provider said has ended. */
export type LogoutNotice = Omit<LogoutToken, 'id'> & {
  portal: string
  /** `jti`; left out: it came through a browser, without a token, and may be said again */
  id?: string | undefined
}

/**
 * What providers said has ended, for a while: whoever recorded a logout token must not sign the person out again with it, who
 * has signed in anew; and a sign-in that was under way when it came must not outlive it. In the database, so that it holds on
 * every instance, with any session store.
 */
export interface LogoutTokensTable {
  /**
   * Notes that it came: before any session is ended by it, lest one begin in between.
   *
   * @returns whether it is to be obeyed; `false`: it has done its work before
   */
  note(told: LogoutNotice): Promise<boolean>
  /** Notes that it has done its work. Until then it may be sent again, for a provider told to come back uses the same token. */
  obeyed(told: LogoutNotice): Promise<void>
  /** False if the attempt is so old that a notice may have been deleted since, or if its start is unknown. */
  covers(identity: Pick<Identity, 'askedAt'>): boolean
  /** Selects the notices for the identity's session or subject that have arrived since `askedAt`. */
  noticesFor(provider: Pick<Provider, 'portal' | 'issuer'>, identity: Identity): Knex.QueryBuilder
}

/**
 * milliseconds: longer than a token could be believed (six minutes), and than a sign-in takes (ten at the provider, then up to
 * four steps of a registration, half an hour each). Of who takes longer it is not known any more whether they left meanwhile.
 */
const kept = 4 * 3_600_000

export function createLogoutTokensTable(knex: Knex): LogoutTokensTable {
  const rows = () => knex('sso_logout_tokens')
  const isoAt = (milliseconds: number) => new Date(milliseconds).toISOString()

  return {
    async note(told) {
      const id = digest(told)
      const now = Date.now()
      const when = { received_at: isoAt(now), expires_at: isoAt(now + kept) }
      const { portal, issuer, ends } = told
      await rows()
        .insert({
          id,
          portal,
          issuer,
          subject: ends.subject ?? null,
          sid: ends.sid ?? null,
          ...when,
        })
        .onConflict('id')
        .ignore()
      const row = rows().where({ id })
      // One that has done its work is not renewed: whoever replays it would keep people out who sign in anew.
      return (await (told.id === undefined ? row : row.whereNull('processed_at')).update(when)) === 1
    },
    async obeyed(told) {
      await rows()
        .where({ id: digest(told) })
        .update({ processed_at: isoAt(Date.now()) })
    },
    covers: ({ askedAt }) => askedAt > Date.now() - kept,
    noticesFor({ portal, issuer: configuredIssuer }, { issuer, subject, sid, askedAt }) {
      const forSubject = (query: Knex.QueryBuilder) => {
        query.where({ subject })
        // A notice for another session of the same subject does not apply. Without a `sid` of our own it may.
        if (sid !== undefined) query.whereNull('sid')
      }
      const forSession = (query: Knex.QueryBuilder) =>
        query.where({ sid }).where((owner) => owner.whereNull('subject').orWhere({ subject }))
      return (
        rows()
          .select('id')
          .where({ portal })
          // A notice without an issuer was recorded under the provider's configured one.
          .whereIn('issuer', [issuer, configuredIssuer])
          .where('received_at', '>=', isoAt(askedAt))
          .where((either) => {
            either.where(forSubject)
            if (sid !== undefined) either.orWhere(forSession)
          })
      )
    },
  }
}

function digest({ portal, issuer, id, ends }: LogoutNotice): string {
  const named = id === undefined ? { sid: ends.sid } : { jti: id }
  return createHash('sha256')
    .update(JSON.stringify([portal, issuer, named]))
    .digest('base64url')
}
