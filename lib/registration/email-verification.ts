import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import type { Knex } from 'knex'
import { randomCode, unambiguousCharacters } from '../shared/random-code.ts'
import { deriveKey } from '../shared/seal.ts'
import { HOUR, isoAt, MINUTE, SECOND } from '../shared/time.ts'
import type { PendingRegistration, VerificationCode } from '../sign-in/pending-registration.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { Core } from '../web/core.ts'

/** `over`: the code is not valid any more: used, replaced, expired, or too many attempts. */
export type Verdict = { result: 'proven' | 'over' } | { result: 'wrong'; left: number }

/** A code is valid only for the pending registration, or the session, that it was sent for. */
type VerificationContext = Pick<PendingRegistration, 'id' | 'portal'> & {
  identity: Pick<PendingRegistration['identity'], 'issuer' | 'subject'>
}

export const codeMinutes = 10
/** Until the page offers another mail to the same address. The limits below hold without it. */
const resendSeconds = 30
const maxAttempts = 5
const maxCodes = 3
// An attacker who enters another person's address cannot send more mails to it. They can use up that person's codes for the
// hour, but not the usual sign-in.
const maxMailsToAddress = 5
// Limits how many people one account at a provider can write to in our name, also with many registrations.
const maxMailsForIdentity = 10
/** A mail counts this long; `maintenance/` keeps its row at least as long. */
const countingPeriodMs = HOUR
const codeLength = 8
/** length of the part of an ID that depends on the address */
const addressLength = 12

/**
 * A one-time code proves who reads an address's mail. An attacker has five attempts of 2^40, counted before the comparison. The
 * hash is keyed (HMAC-SHA-256), because a plain hash of 40 bits in a stolen table could be searched in seconds.
 */
export class EmailVerifications {
  readonly #clock: Core['clock']
  readonly #knex: Knex
  readonly #keys: Uint8Array[]

  /** @param secrets at least one, newest first: it writes, all read */
  constructor({ clock, knex }: Pick<Core, 'clock' | 'knex'>, secrets: readonly string[]) {
    this.#clock = clock
    this.#knex = knex
    this.#keys = secrets.map((secret) => deriveKey(secret, 'address-proof'))
  }

  /**
   * Creates a code, which replaces the previous one, and delivers it. A repeated request, such as that of a double click, has the
   * cookie of the first and delivers none.
   *
   * @returns the new code, or that of the first request; `undefined` if too many were sent already
   * @throws what `deliver` throws; the mail still counts, because it may arrive
   */
  async send(
    pending: VerificationContext,
    email: string,
    deliver: (code: string) => Promise<void>,
  ): Promise<VerificationCode | undefined> {
    const now = this.#clock.now()
    const { id: registration, portal, identity } = pending
    // `email_mac` is the same for all addresses of a mailbox, so the ID begins with a MAC of the address itself.
    const addressMac = this.#macs('sent-to', registration, email)[0]?.slice(0, addressLength) ?? ''
    const id = addressMac + randomUUID().slice(addressLength)
    const sent: VerificationCode = { id, email, at: now }
    const code = randomCode(codeLength)
    const addressMacs = this.#macs('address', portal, mailboxOf(email))
    const identityMacs = this.#macs('identity', portal, identity.issuer, identity.subject)
    const row = {
      id,
      portal,
      registration,
      email_mac: addressMacs[0],
      identity_mac: identityMacs[0],
      code_mac: this.#codeMacs(pending, sent, code)[0],
      attempts: 0,
      sent_at: isoAt(now),
      expires_at: isoAt(now + codeMinutes * MINUTE),
    }
    await this.#rows().insert(row)
    const [first] = await this.#findRepeated(row)
    if (first) {
      await this.#rows().where({ id }).delete()
      return { ...sent, id: first.id, at: Date.parse(first.sent_at) }
    }
    // Counted after the insert, so that concurrent requests see each other.
    const recent = this.#rows().where('sent_at', '>=', isoAt(now - countingPeriodMs))
    const tooMany =
      (await count(recent.clone().where({ registration }))) > maxCodes ||
      (await count(recent.clone().whereIn('email_mac', addressMacs))) > maxMailsToAddress ||
      (await count(recent.clone().whereIn('identity_mac', identityMacs))) > maxMailsForIdentity
    if (tooMany) {
      await this.#rows().where({ id }).delete()
      return undefined
    }
    await this.#earlier(row).update({ code_mac: null })
    await deliver(`${code.slice(0, codeLength / 2)}-${code.slice(codeLength / 2)}`).catch(async (error) => {
      // No cookie contains this code, so the next request must send another one.
      await this.#rows().where({ id }).update({ code_mac: null })
      throw error
    })
    return sent
  }

  /** @param at of a code, in ms @returns seconds until another mail */
  secondsToWait(at = 0): number {
    const seconds = Math.ceil((at - this.#clock.now()) / 1000) + resendSeconds
    return Math.min(Math.max(seconds, 0), resendSeconds)
  }

  async verify(pending: VerificationContext, sent: VerificationCode, code: string): Promise<Verdict> {
    const { id } = sent
    const row = await this.#countAttempt(id, pending.id)
    if (!row) return { result: 'over' }
    const { code_mac, attempts } = row
    if (!this.#codeMacs(pending, sent, code).some((mac) => isSame(mac, code_mac)))
      return { result: 'wrong', left: maxAttempts - attempts }
    // Only one of two concurrent requests uses the code. The row stays, because the mail still counts for its address.
    const used = await this.#rows().where({ id, code_mac }).update({ code_mac: null })
    return { result: used === 1 ? 'proven' : 'over' }
  }

  /** Concurrent guesses on several instances get no extra attempt: each counts another one. @returns `undefined` if none is left */
  async #countAttempt(id: string, registration: string): Promise<Attempts | undefined> {
    for (;;) {
      const row: Attempts | undefined = await this.#rows()
        .select('code_mac', 'attempts')
        .where({ id, registration })
        .whereNotNull('code_mac')
        .where('attempts', '<', maxAttempts)
        .where('expires_at', '>', isoAt(this.#clock.now()))
        .first()
      if (!row) return undefined
      const attempts = row.attempts + 1
      const unchanged = this.#rows().where({ id, ...row })
      if ((await unchanged.update({ attempts })) === 1) return { ...row, attempts }
    }
  }

  /** @returns usable codes of earlier requests for the same address, while the user has to wait for another one */
  async #findRepeated(row: NewCode): Promise<NewCode[]> {
    const rows: NewCode[] = await this.#earlier(row)
      .whereNotNull('code_mac')
      .where('attempts', '<', maxAttempts)
      .where('sent_at', '>', isoAt(Date.parse(row.sent_at) - resendSeconds * SECOND))
      .orderBy(['sent_at', 'id'])
    return rows.filter(({ id }) => id.startsWith(row.id.slice(0, addressLength)))
  }

  /** Orders rows by time and ID, so that two concurrent requests agree on which of them is earlier: only that one sends a mail. */
  #earlier({ id, registration, sent_at }: NewCode): Knex.QueryBuilder {
    return this.#rows()
      .where({ registration })
      .whereRaw('(sent_at < ? or (sent_at = ? and id < ?))', [sent_at, sent_at, id])
  }

  /** Over everything that a code belongs to: a code for one address, portal or registration is invalid for another. */
  #codeMacs(pending: VerificationContext, { id, email }: VerificationCode, code: string): string[] {
    return this.#macs('code', id, pending.id, pending.portal, email, code)
  }

  #macs(...parts: string[]): string[] {
    return this.#keys.map((key) =>
      createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url'),
    )
  }

  /** A row reveals neither the code nor the address. */
  #rows(): Knex.QueryBuilder {
    return this.#knex('sso_email_verifications')
  }
}

interface Attempts {
  code_mac: string
  attempts: number
}

type NewCode = Record<'id' | 'registration' | 'sent_at', string>

async function count(rows: Knex.QueryBuilder): Promise<number> {
  const row = await rows.count({ rows: '*' }).first()
  return Number(row?.rows)
}

/**
 * One mailbox has any number of addresses (`ada+1@`; at some providers `a.da@`), which an attacker could use to fill it. Two
 * people whose addresses look the same here share a limit and nothing else.
 */
function mailboxOf(email: string): string {
  const at = email.lastIndexOf('@')
  return email.slice(0, at).replace(/\+.*$/, '').replaceAll('.', '') + email.slice(at)
}

function isSame(mac: string, other: string): boolean {
  const [a, b] = [Buffer.from(mac), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

/**
 * Accepts any case, with or without dashes and spaces.
 *
 * @returns `undefined` for text that is not a code, which costs no attempt
 */
export function readCode(text: unknown): string | undefined {
  if (typeof text !== 'string' || text.length > 100) return undefined
  // ASCII letters only: `toUpperCase` would turn a LONG S into an S and a DOTLESS I into an I.
  const code = text.replace(/[\s\p{Pd}\p{Cf}]/gu, '').replace(/[a-z]/g, (letter) => letter.toUpperCase())
  const plain =
    code.length === codeLength && [...code].every((character) => unambiguousCharacters.includes(character))
  return plain ? code : undefined
}

/**
 * An address that a code may be sent to. A mail server may deliver `user%elsewhere@`, `elsewhere!user@`, encoded words or a
 * FULLWIDTH AT SIGN to another domain, whose owner would then prove an address that is not theirs.
 *
 * @returns normal form
 */
export function provableEmail(text: unknown): string | undefined {
  const email = normaliseEmail(text)
  if (email === undefined || /=\?|[%!]/.test(email) || email.normalize('NFKC') !== email) return undefined
  return email
}
