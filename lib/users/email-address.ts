import { domainToASCII } from 'node:url'

/**
 * Normalizes an address: trimmed, ASCII letters in lower case, the domain in ASCII form. Look-alikes stay different addresses:
 * Unicode case folding would turn the KELVIN SIGN into a `k`, and an attacker could take over another user's account.
 *
 * @returns `undefined` for a value that is no address
 */
export function normaliseEmail(text: unknown): string | undefined {
  if (typeof text !== 'string' || text.length > 1000) return undefined
  const trimmed = text.trim()
  const at = trimmed.lastIndexOf('@')
  const local = trimmed.slice(0, at).replace(/[A-Z]/g, (letter) => letter.toLowerCase())
  const domain = asciiDomain(trimmed.slice(at + 1))
  if (at < 1 || domain === undefined) return undefined
  // No quoted local parts or comments: one mailbox would have two spellings. No invisible characters: an administrator would
  // read another user's address. No unpaired surrogates: every one becomes U+FFFD in the database.
  // A mail program could take a leading `-` for an option, and `|` for a command.
  if (!/^(?![-|])[^\s\p{Cc}\p{Cf}\p{Cs}"(),:;<>@[\\\]]+$/u.test(local) || local.length > 64) return undefined
  const email = `${local}@${domain}`
  return Buffer.byteLength(email) <= 254 ? email : undefined
}

/** @param email in normal form */
export function domainOf(email: string): string {
  return email.slice(email.lastIndexOf('@') + 1)
}

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
// No mail server accepts `localhost` or an IP address as a domain.
const domainPattern = new RegExp(`^(?:${label}\\.)+(?!\\d+$)${label}$`)

function asciiDomain(text: string): string | undefined {
  // domainToASCII parses a URL's host, so characters that no host name has must not reach it.
  if (!/^[\p{L}\p{M}\p{N}.-]+$/u.test(text)) return undefined
  const ascii = /^\p{ASCII}*$/u.test(text) ? text.toLowerCase() : domainToASCII(text)
  return domainPattern.test(ascii) ? ascii : undefined
}
