import type { Knex } from 'knex'

/** One row per code that was sent. Neither the code nor the address can be read in it. Moments are milliseconds since 1970. */
export interface EmailVerificationRow {
  id: string
  portal: string
  /** id of the pending registration */
  registration: string
  addressMac: string
  /** of the identity that the proof is for */
  identityMac: string
  codeMac: string
  sentAt: number
  expiresAt: number
}

export interface EmailVerificationsTable {
  insert(proof: EmailVerificationRow): Promise<void>
  /** How many codes were sent since for a registration, to an address, or for an identity (under any of the keys). */
  count(
    of: { registration: string } | { addressMacs: readonly string[] } | { identityMacs: readonly string[] },
    since: number,
  ): Promise<number>
  /** Takes away the code of every earlier row of the registration. */
  invalidatePrevious(than: EmailVerificationRow): Promise<void>
  /** @returns what the code has to match and how often was tried, this time included; `undefined` when it is good no more */
  countAttempt(
    id: string,
    registration: string,
    bounds: { most: number; now: number },
  ): Promise<{ codeMac: string; attempts: number } | undefined>
  /** @returns whether this call was the one that used the code */
  spend(id: string, codeMac: string): Promise<boolean>
  remove(id: string): Promise<void>
}

export function createEmailVerificationsTable(knex: Knex): EmailVerificationsTable {
  const rows = () => knex('sso_email_verifications')
  const counted = (of: Parameters<EmailVerificationsTable['count']>[0]) => {
    if ('registration' in of) return rows().where(of)
    if ('addressMacs' in of) return rows().whereIn('email_mac', [...of.addressMacs])
    return rows().whereIn('identity_mac', [...of.identityMacs])
  }
  const text = (moment: number) => new Date(moment).toISOString()

  return {
    async insert({ id, portal, registration, addressMac, identityMac, codeMac, sentAt, expiresAt }) {
      await rows().insert({
        id,
        portal,
        registration,
        email_mac: addressMac,
        identity_mac: identityMac,
        code_mac: codeMac,
        attempts: 0,
        sent_at: text(sentAt),
        expires_at: text(expiresAt),
      })
    },
    async count(of, since) {
      const row = await counted(of).where('sent_at', '>=', text(since)).count({ rows: '*' }).first()
      return Number(row?.rows)
    },
    async invalidatePrevious({ id, registration, sentAt }) {
      // The order is the same for all who look, so that of two that are sent at once one stays good.
      const at = text(sentAt)
      await rows()
        .where({ registration })
        .where((earlier) =>
          earlier.where('sent_at', '<', at).orWhere((same) => same.where('sent_at', at).where('id', '<', id)),
        )
        .update({ code_mac: null })
    },
    async countAttempt(id, registration, { most, now }) {
      // One statement that counts and asks: guesses on several instances at once get no try more.
      const [row]: { code_mac: string; attempts: number }[] = await rows()
        .where({ id, registration })
        .whereNotNull('code_mac')
        .where('attempts', '<', most)
        .where('expires_at', '>', text(now))
        .update({ attempts: knex.raw('attempts + 1') })
        .returning(['code_mac', 'attempts'])
      return row && { codeMac: row.code_mac, attempts: row.attempts }
    },
    async spend(id, codeMac) {
      // Not deleted: the mail still counts for its address.
      return (await rows().where({ id, code_mac: codeMac }).update({ code_mac: null })) === 1
    },
    async remove(id) {
      await rows().where({ id }).delete()
    },
  }
}
