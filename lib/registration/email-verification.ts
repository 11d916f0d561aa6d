import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import { randomCode, unambiguousCharacters } from '../shared/random-code.ts'
import { deriveKey } from '../shared/seal.ts'
import type { VerificationCode } from '../sign-in/pending-registration.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { Subject } from '../users/identities-table.ts'
import type { EmailVerificationRow, EmailVerificationsTable } from './email-verifications-table.ts'

/** A code is valid only in the context that it was sent for. */
export interface VerificationContext {
  portal: string
  /** id of the pending registration */
  registration: string
  /** the identity whose user proves an address */
  identity: Subject
}

/** A code expires after this many minutes. */
export const codeMinutes = 10
const maxAttempts = 5
const maxCodes = 3
// An attacker who enters another person's address cannot send more mails to it. They can use up that person's codes for the
// hour, but not the usual sign-in.
const maxMailsToAddress = 5
// Limits how many people one account at a provider can write to in our name, also with many registrations.
const maxMailsForIdentity = 10
/** A mail counts this long; `maintenance/` keeps its row at least as long. */
const countingPeriodMs = 3_600_000
const codeLength = 8

/**
 * A one-time code proves who reads an address's mail. An attacker has five attempts of 2^40, counted before the comparison. The
 * hash is keyed (HMAC-SHA-256), because a plain hash of 40 bits in a stolen table could be searched in seconds.
 */
export class EmailVerifications {
  readonly #table: EmailVerificationsTable
  readonly #keys: Uint8Array[]

  /** @param secrets at least one, newest first: it writes, all read */
  constructor(table: EmailVerificationsTable, secrets: readonly string[]) {
    this.#table = table
    this.#keys = secrets.map((secret) => deriveKey(secret, 'address-proof'))
  }

  /**
   * Creates a code, which replaces the previous one, and delivers it.
   *
   * @returns `undefined` if too many were sent already
   * @throws what `deliver` throws; the mail still counts, because it may arrive
   */
  async send(
    context: VerificationContext,
    email: string,
    deliver: (code: string) => Promise<void>,
  ): Promise<VerificationCode | undefined> {
    const sent: VerificationCode = { id: randomUUID(), email }
    const code = randomCode(codeLength)
    const now = Date.now()
    const { portal, registration, identity } = context
    const addressMacs = this.#macs('address', portal, mailboxOf(email))
    const identityMacs = this.#macs('identity', portal, identity.issuer, identity.subject)
    const row: EmailVerificationRow = {
      id: sent.id,
      portal,
      registration,
      addressMac: addressMacs[0] as string,
      identityMac: identityMacs[0] as string,
      codeMac: this.#codeMacs(context, sent, code)[0] as string,
      sentAt: now,
      expiresAt: now + codeMinutes * 60_000,
    }
    await this.#table.insert(row)
    // Counted after the insert, so that concurrent requests see each other.
    const since = now - countingPeriodMs
    const tooMany =
      (await this.#table.count({ registration }, since)) > maxCodes ||
      (await this.#table.count({ addressMacs }, since)) > maxMailsToAddress ||
      (await this.#table.count({ identityMacs }, since)) > maxMailsForIdentity
    if (tooMany) {
      await this.#table.remove(sent.id)
      return undefined
    }
    await this.#table.invalidatePrevious(row)
    await deliver(`${code.slice(0, codeLength / 2)}-${code.slice(codeLength / 2)}`)
    return sent
  }

  /** @returns `over` if the code is not valid any more: used, replaced, expired, or too many attempts */
  async verify(
    context: VerificationContext,
    sent: VerificationCode,
    code: string,
  ): Promise<{ result: 'proven' | 'over' } | { result: 'wrong'; left: number }> {
    const limits = { maxAttempts, now: Date.now() }
    const attempt = await this.#table.countAttempt(sent.id, context.registration, limits)
    if (!attempt) return { result: 'over' }
    if (!this.#codeMacs(context, sent, code).some((mac) => isSame(mac, attempt.codeMac)))
      return { result: 'wrong', left: maxAttempts - attempt.attempts }
    // Only one of two concurrent requests consumes the code.
    return { result: (await this.#table.consume(sent.id, attempt.codeMac)) ? 'proven' : 'over' }
  }

  /** Over everything that a code belongs to: a code for one address, portal or registration is invalid for another. */
  #codeMacs({ portal, registration }: VerificationContext, { id, email }: VerificationCode, code: string) {
    return this.#macs('code', id, registration, portal, email, code)
  }

  #macs(...parts: string[]): string[] {
    return this.#keys.map((key) =>
      createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url'),
    )
  }
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
