import { domainToASCII } from 'node:url'

/**
 * The normal form in which addresses are kept and compared: trimmed, ASCII letters (only those) lower-cased, the domain in
 * its ASCII form. Unicode case folding would turn the KELVIN SIGN into a `k` and hand over somebody else's account, so
 * look-alikes stay different addresses.
 *
 * @returns `undefined` when it is not an address
 */
export function normaliseEmail(text: unknown): string | undefined {
  if (typeof text !== 'string' || text.length > 1000) return undefined
  const trimmed = text.trim()
  const at = trimmed.lastIndexOf('@')
  const local = lowerAscii(trimmed.slice(0, at))
  const domain = asciiDomain(trimmed.slice(at + 1))
  if (at < 1 || domain === undefined) return undefined
  // Quoted local parts and comments are left out: two spellings of one mailbox would be two addresses here. So is what
  // cannot be seen (an administrator would read somebody else's address), and half a surrogate pair, which becomes U+FFFD
  // on its way into a database, whichever half it was.
  if (!/^[^\s\p{Cc}\p{Cf}\p{Cs}"(),:;<>@[\\\]]+$/u.test(local) || local.length > 64) return undefined
  const email = `${local}@${domain}`
  return Buffer.byteLength(email) <= 254 ? email : undefined
}

/** @param email in normal form */
export function domainOf(email: string): string {
  return email.slice(email.lastIndexOf('@') + 1)
}

function lowerAscii(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())
}

function asciiDomain(text: string): string | undefined {
  // domainToASCII reads like a URL's host: anything a host cannot hold must not get that far.
  if (!/^[\p{L}\p{M}\p{N}.-]+$/u.test(text)) return undefined
  const ascii = /^\p{ASCII}*$/u.test(text) ? lowerAscii(text) : domainToASCII(text)
  const labels = ascii.split('.')
  return labels.every((label) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(label)) ? ascii : undefined
}
