import type { Knex } from 'knex'

/** A code that was sent. The row reveals neither the code nor the address. Times are milliseconds since 1970. */
export interface EmailVerificationRow {
  id: string
  portal: string
  /** id of the pending registration */
  registration: string
  addressMac: string
  /** of the identity that the address is verified for */
  identityMac: string
  codeMac: string
  sentAt: number
  expiresAt: number
}

export class EmailVerificationsTable {
  readonly #knex: Knex

  constructor(knex: Knex) {
    this.#knex = knex
  }

  async insert(verification: EmailVerificationRow): Promise<void> {
    const { id, portal, registration, addressMac, identityMac, codeMac, sentAt, expiresAt } = verification
    await this.#rows().insert({
      id,
      portal,
      registration,
      email_mac: addressMac,
      identity_mac: identityMac,
      code_mac: codeMac,
      attempts: 0,
      sent_at: isoAt(sentAt),
      expires_at: isoAt(expiresAt),
    })
  }

  /** How many codes were sent since then for a registration, to an address, or for an identity (under any of the keys). */
  async count(
    of: { registration: string } | { addressMacs: readonly string[] } | { identityMacs: readonly string[] },
    since: number,
  ): Promise<number> {
    const query = this.#rows().where('sent_at', '>=', isoAt(since))
    if ('registration' in of) query.where(of)
    else if ('addressMacs' in of) query.whereIn('email_mac', [...of.addressMacs])
    else query.whereIn('identity_mac', [...of.identityMacs])
    const row = await query.count({ rows: '*' }).first()
    return Number(row?.rows)
  }

  /** Makes the codes of all earlier rows of the registration unusable. */
  async invalidatePrevious({ id, registration, sentAt }: EmailVerificationRow): Promise<void> {
    // A total order, so that exactly one of two concurrent codes stays valid.
    const at = isoAt(sentAt)
    await this.#rows()
      .where({ registration })
      .where((earlier) =>
        earlier.where('sent_at', '<', at).orWhere((same) => same.where('sent_at', at).where('id', '<', id)),
      )
      .update({ code_mac: null })
  }

  /** @returns the MAC of the code and the number of attempts including this one; `undefined` if the code is not valid any more */
  async countAttempt(
    id: string,
    registration: string,
    { maxAttempts, now }: { maxAttempts: number; now: number },
  ): Promise<{ codeMac: string; attempts: number } | undefined> {
    // One statement, so that concurrent guesses on several instances get no extra attempt.
    const [row]: { code_mac: string; attempts: number }[] = await this.#rows()
      .where({ id, registration })
      .whereNotNull('code_mac')
      .where('attempts', '<', maxAttempts)
      .where('expires_at', '>', isoAt(now))
      .update({ attempts: this.#knex.raw('attempts + 1') })
      .returning(['code_mac', 'attempts'])
    return row && { codeMac: row.code_mac, attempts: row.attempts }
  }

  /** @returns whether this call was the one that used the code */
  async consume(id: string, codeMac: string): Promise<boolean> {
    // Not deleted, because the mail still counts for its address.
    return (await this.#rows().where({ id, code_mac: codeMac }).update({ code_mac: null })) === 1
  }

  async remove(id: string): Promise<void> {
    await this.#rows().where({ id }).delete()
  }

  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_email_verifications')
  }
}

function isoAt(milliseconds: number): string {
  return new Date(milliseconds).toISOString()
}
