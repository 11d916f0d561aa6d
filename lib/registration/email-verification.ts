import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto'
import { randomCode, unambiguousCharacters } from '../shared/random-code.ts'
import { deriveKey } from '../shared/seal.ts'
import type { VerificationCode } from '../sign-in/pending-registration.ts'
import { normaliseEmail } from '../users/email-address.ts'
import type { Subject } from '../users/identities-table.ts'
import type { EmailVerificationRow, EmailVerificationsTable } from './email-verifications-table.ts'

/** Where a code belongs to: only there it is good. */
export interface VerificationContext {
  portal: string
  /** id of the pending registration */
  registration: string
  /** who proves an address */
  identity: Subject
}

export interface EmailVerifications {
  /**
   * Makes a code, which takes the place of the one before, and hands it over to be sent.
   *
   * @returns `undefined` when there were too many already
   * @throws what `deliver` throws; the mail counts all the same, for it may arrive
   */
  send(
    context: VerificationContext,
    email: string,
    deliver: (code: string) => Promise<void>,
  ): Promise<VerificationCode | undefined>
  /** @returns `over` when the code is good no more: used, replaced, expired, tried too often */
  verify(
    context: VerificationContext,
    sent: VerificationCode,
    code: string,
  ): Promise<{ result: 'proven' | 'over' } | { result: 'wrong'; left: number }>
}

/** minutes that a code is good for */
export const codeMinutes = 10
const maxAttempts = 5
const mostCodes = 3
// Who asks in somebody else's name fills that person's mailbox no further than this. It also lets him use up that person's
// codes for the hour; signing in the usual way remains.
const mostMailsToAddress = 5
// One account at a provider, and begun anew any number of times, writes to no more people than this in our name.
const mostMailsForIdentity = 10
/** milliseconds that a mail counts; the maintenance keeps its row at least as long */
const remembered = 3_600_000
const length = 8

/**
 * A one-time code sent to an address shows who reads its mail.
 *
 * Who guesses has five tries of 2^40 for each mail, counted in the database before the code is compared. Who reads the table
 * learns nothing: forty bits behind a plain hash could be searched in seconds, so the hash is keyed (HMAC-SHA-256), over all
 * that the code belongs to. A code for one address, portal or registration is none for another.
 *
 * @param secrets at least one, newest first: it writes, all read
 */
export function createEmailVerifications(
  table: EmailVerificationsTable,
  secrets: readonly string[],
): EmailVerifications {
  const keys = secrets.map((secret) => deriveKey(secret, 'address-proof'))
  const macs = (...parts: string[]) =>
    keys.map((key) => createHmac('sha256', key).update(JSON.stringify(parts)).digest('base64url'))
  const codeMacs = (
    { portal, registration }: VerificationContext,
    { id, email }: VerificationCode,
    code: string,
  ) => macs('code', id, registration, portal, email, code)

  /** Asked after the row is in: so that of requests at once each counts the others, and none slips through. */
  async function isTooMany(
    registration: string,
    addressMacs: readonly string[],
    identityMacs: readonly string[],
    since: number,
  ): Promise<boolean> {
    return (
      (await table.count({ registration }, since)) > mostCodes ||
      (await table.count({ addressMacs }, since)) > mostMailsToAddress ||
      (await table.count({ identityMacs }, since)) > mostMailsForIdentity
    )
  }

  return {
    async send(context, email, deliver) {
      const sent: VerificationCode = { id: randomUUID(), email }
      const code = randomCode(length)
      const now = Date.now()
      const { portal, registration, identity } = context
      const addressMacs = macs('address', portal, mailboxOf(email))
      const identityMacs = macs('identity', portal, identity.issuer, identity.subject)
      const row: EmailVerificationRow = {
        id: sent.id,
        portal,
        registration,
        addressMac: addressMacs[0] as string,
        identityMac: identityMacs[0] as string,
        codeMac: codeMacs(context, sent, code)[0] as string,
        sentAt: now,
        expiresAt: now + codeMinutes * 60_000,
      }
      await table.insert(row)
      if (await isTooMany(registration, addressMacs, identityMacs, now - remembered)) {
        await table.remove(sent.id)
        return undefined
      }
      await table.invalidatePrevious(row)
      await deliver(`${code.slice(0, length / 2)}-${code.slice(length / 2)}`)
      return sent
    },
    async verify(context, sent, code) {
      const tried = await table.countAttempt(sent.id, context.registration, {
        most: maxAttempts,
        now: Date.now(),
      })
      if (!tried) return { result: 'over' }
      if (!codeMacs(context, sent, code).some((mac) => isSame(mac, tried.codeMac)))
        return { result: 'wrong', left: maxAttempts - tried.attempts }
      // Of two who enter it at once, one has it.
      return { result: (await table.spend(sent.id, tried.codeMac)) ? 'proven' : 'over' }
    },
  }
}

/**
 * What the mails to an address are counted under. One mailbox has any number of addresses (`ada+1@`, `ada+2@`; at some
 * providers `a.da@`): who knows one could fill it by all of them. Where two people's become one by this, they share a limit
 * and nothing else.
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
 * Reads a code as people enter it: in any case, with or without dashes and spaces.
 *
 * @returns `undefined` when it cannot be one, which costs no try
 */
export function readCode(text: unknown): string | undefined {
  if (typeof text !== 'string' || text.length > 100) return undefined
  // ASCII letters only: in capitals the LONG S is an S, and the DOTLESS I an I.
  const code = text.replace(/[\s\p{Pd}\p{Cf}]/gu, '').replace(/[a-z]/g, (letter) => letter.toUpperCase())
  const plain =
    code.length === length && [...code].every((character) => unambiguousCharacters.includes(character))
  return plain ? code : undefined
}

/**
 * An address that a code may be sent to.
 *
 * A mail server may read more into the part before the `@` than we do, and deliver elsewhere than to the domain behind it:
 * encoded words, `user%elsewhere@`, `elsewhere!user@`, and characters that it folds to others (a FULLWIDTH AT SIGN). Who
 * controls "elsewhere" would prove an address of a domain that is not his.
 *
 * @returns normal form
 */
export function provableEmail(text: unknown): string | undefined {
  const email = normaliseEmail(text)
  if (email === undefined || /=\?|[%!]/.test(email) || email.normalize('NFKC') !== email) return undefined
  return email
}
