import { entraErrors } from '../providers/presets/entra.ts'
import type { ProblemCode } from '../shared/errors.ts'
import { sanitizeText } from '../shared/sanitize-text.ts'

// Looks like a code, a token or a key: long, and made of their characters.
const secretLike = /[\w~+=%-]{20,}/g
// Useful to the operator and harmless: error names (`temporarily_unavailable`), and trace ids for the provider's support.
const harmless = /^(?:[a-z]+(?:[_-][a-z]+)+|[\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12})$/

// Attacker: a provider whose error leads the administrator who reads the quotation to another site.
const link = /\b(?:[a-z][a-z\d+.-]{0,20}:\/\/|www\.)[^\s"'<>]+/gi

/** Attacker: a hostile provider whose messages of a megabyte would each stall the process for a twentieth of a second. */
const maxReadLength = 10_000

/**
 * Quotes a provider's message for the operator, shortened and without secrets. Some providers repeat the code or the whole
 * request in an error: an attacker who reads the logs could use the code first, or impersonate the portal.
 *
 * @param secrets of this exchange
 */
export function quoteRedacted(message: string, secrets: readonly string[], maxLength = 300): string {
  const safe = redact(message, secrets)
    .slice(0, maxReadLength)
    .replace(link, '…')
    .replace(secretLike, (run) => (harmless.test(run) ? run : '…'))
  return JSON.stringify(safe.slice(0, maxLength))
}

// E-mail addresses, URLs, and host names in any script, which programs turn into links as well.
const linkLike = /\S*(?:@|:\/\/)\S*|(?:[\p{L}\p{M}\p{N}_-]+[.。．｡])+[\p{L}\p{M}]{2,}\S*/gu

/**
 * Describes the error of an authorization response. Attacker: anyone can forge one in their own browser, to put a text or a link into
 * the operator's log. So it is quoted as one line of at most 200 characters, without links and addresses.
 */
export function describeReportedError(
  error: string,
  description: unknown,
  secrets: readonly string[],
): string {
  const text = typeof description === 'string' ? description : ''
  const quote = (value: string) => {
    const line = redact(value, secrets).slice(0, 1000).replace(/\s+/g, ' ').replace(linkLike, '…')
    return quoteRedacted(sanitizeText(line), [], 200)
  }
  // Microsoft's support asks for it, and it comes after the 200 characters.
  const [traceId] = /\bTrace ID: [\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\b/i.exec(text) ?? []
  const ids = [entraCode(text), traceId].filter(Boolean).join(', ')
  return `the error ${quote(error)}${ids && ` (${ids})`}${text && `: ${quote(text)}`}`
}

/** Removes secrets from a text, in every encoding in which they are sent. */
export function redact(text: string, secrets: readonly string[]): string {
  const encodings = secrets.flatMap((secret) => [secret, encodeURIComponent(secret), formEncoded(secret)])
  return encodings
    .filter((encoded) => encoded !== '')
    .sort((a, b) => b.length - a.length)
    .reduce((redacted, encoded) => redacted.replaceAll(encoded, '…'), text)
}

function entraCode(description: unknown): string | undefined {
  return typeof description === 'string' ? /\bAADSTS\d{5,8}\b/.exec(description)?.[0] : undefined
}

/**
 * Returns the problem to show, if the error names one (OpenID Connect Core 3.1.2.6; Entra's error numbers).
 * `interaction_required` is general: with another number it does not mean missing consent.
 */
export function problemOf(error: string, description: unknown): ProblemCode | undefined {
  if (error === 'consent_required') return 'consent_missing'
  const known = entraErrorOf(description)?.problem
  if (known) return known
  if (error === 'temporarily_unavailable' || error === 'server_error') return 'provider_unavailable'
  return error === 'interaction_required' && !entraCode(description) ? 'consent_missing' : undefined
}

export function entraErrorOf(description: unknown): (typeof entraErrors)[number] | undefined {
  const number = Number(entraCode(description)?.slice('AADSTS'.length))
  return entraErrors.find(({ numbers }) => numbers.includes(number))
}

/** RFC 6749, appendix B. */
export function formEncoded(text: string): string {
  return new URLSearchParams({ '': text }).toString().slice(1)
}
