import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { isUniqueViolation } from '../database/connect.ts'
import type { Identity } from '../sign-in/identity.ts'
import type { LogoutToken } from './logout-token.ts'

/** Logout tokens that were believed, on all instances: one does its work once, and on sign-ins that are still under way, too. */
export interface LogoutTokensTable {
  /** Whoever recorded one must not sign the person out again with it, who has signed in anew. */
  wasObeyed(portal: string, token: LogoutToken): Promise<boolean>
  /** Before sessions are ended: one that begins a moment later finds it here. */
  note(portal: string, token: LogoutToken): Promise<void>
  /** Only now it counts as seen: a provider that is told to come back does so with the same token. */
  setObeyed(portal: string, token: LogoutToken): Promise<void>
  /**
   * Whether a provider has said, since it signed the ID token of somebody who is just coming in, that it does not hold any more.
   * Of a person both moments are by the provider's clock. A session of the provider's that has ended does not begin again,
   * though a code that is redeemed after that may still name it.
   */
  hasEnded(portal: string, identity: Identity): Promise<boolean>
}

/** milliseconds that a code may be good for which was given out before its session ended (RFC 6749, 4.1.2: 10 minutes) */
const longestCode = 15 * 60_000
/** milliseconds: longer than a token is believed, and than a registration waits that began with an ID token from before it */
const remembered = 24 * 3_600_000

export function createLogoutTokensTable(knex: Knex): LogoutTokensTable {
  const rows = () => knex('sso_logout_tokens')
  const text = (milliseconds: number) => new Date(milliseconds).toISOString()

  return {
    async wasObeyed(portal, token) {
      const row: unknown = await rows()
        .select('id')
        .where({ id: digest(portal, token) })
        .whereNotNull('obeyed_at')
        .first()
      return row !== undefined
    },
    async note(portal, token) {
      const { issuer, issuedAt, ends } = token
      try {
        await rows().insert({
          id: digest(portal, token),
          portal,
          issuer,
          subject: ends.subject ?? null,
          provider_session: ends.providerSession ?? null,
          issued_at: text(issuedAt * 1000),
          noted_at: text(Date.now()),
          expires_at: text(Date.now() + remembered),
        })
      } catch (error) {
        // The same one, for the second time: what it says is noted.
        if (!isUniqueViolation(error)) throw error
      }
    },
    async setObeyed(portal, token) {
      await rows()
        .where({ id: digest(portal, token) })
        .update({ obeyed_at: text(Date.now()) })
    },
    async hasEnded(portal, { issuer, subject, providerSession, issuedAt, redeemedAt }) {
      const at = text(issuedAt * 1000)
      const row: unknown = await rows()
        .select('id')
        .where({ portal, issuer })
        .where((said) => {
          said.where((person) =>
            person
              .where({ subject })
              .whereNull('provider_session')
              // In one second of the provider's clock it is for ours to say which was first.
              .where((later) =>
                later
                  .where('issued_at', '>', at)
                  .orWhere((same) => same.where('issued_at', at).where('noted_at', '>=', text(redeemedAt))),
              ),
          )
          if (providerSession !== undefined)
            said.orWhere((session) =>
              session
                .where({ provider_session: providerSession })
                .where('noted_at', '>', text(redeemedAt - longestCode))
                .where((whose) => whose.where({ subject }).orWhereNull('subject')),
            )
        })
        .first()
      return row !== undefined
    },
  }
}

function digest(portal: string, { issuer, id }: LogoutToken): string {
  return createHash('sha256')
    .update(JSON.stringify([portal, issuer, id]))
    .digest('base64url')
}
