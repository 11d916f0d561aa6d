import { formEncoded } from './provider-client.ts'

// Looks like a code, a token or a key: long, and made of their characters.
const secretLike = /[\w~+=%-]{20,}/g
// Useful to the operator and harmless: error names (`temporarily_unavailable`), and trace ids for the provider's support.
const harmless = /^(?:[a-z]+(?:[_-][a-z]+)+|[\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12})$/

// Attacker: an error page that sends the administrator who reads the quotation to another site.
const link = /\b(?:[a-z][a-z\d+.-]{0,20}:\/\/|www\.)[^\s"'<>]+/gi

/**
 * Quotes a provider's message for the operator, shortened and without secrets. Some providers repeat the code or the whole
 * request in an error: an attacker who reads the logs could use the code first, or impersonate the portal.
 *
 * @param secrets of this exchange
 */
export function quoteRedacted(message: string, secrets: readonly string[]): string {
  const safe = redact(message, secrets)
    .replace(link, '…')
    .replace(secretLike, (run) => (harmless.test(run) ? run : '…'))
  return JSON.stringify(safe.slice(0, 300))
}

/** Removes secrets from a text, in every encoding in which they are sent. */
export function redact(text: string, secrets: readonly string[]): string {
  const encodings = secrets.flatMap((secret) => [secret, encodeURIComponent(secret), formEncoded(secret)])
  return encodings
    .filter((encoded) => encoded !== '')
    .sort((a, b) => b.length - a.length)
    .reduce((redacted, encoded) => redacted.replaceAll(encoded, '…'), text)
}

/**
 * Entra's error numbers for missing consent: no one has consented (65001, 90008), the user declined (65004), only an administrator
 * may consent (90093, 90094, 900941), the administrator was asked just now (90095).
 */
const consentCodes = new Set(['65001', '65004', '90008', '90093', '90094', '900941', '90095'])

/** Extracts Entra's error number, such as `AADSTS65001`: the only part of a description that is safe to show. */
export function entraCode(description: unknown): string | undefined {
  return typeof description === 'string' ? /\bAADSTS\d{5,8}\b/.exec(description)?.[0] : undefined
}

/**
 * True if an error means missing consent (OpenID Connect Core 3.1.2.6). `interaction_required` is general: with another number
 * it means something else (50076: a second factor).
 */
export function isConsentRequired(error: string, description: unknown): boolean {
  if (error === 'consent_required') return true
  const code = entraCode(description)
  return code === undefined ? error === 'interaction_required' : consentCodes.has(code.slice('AADSTS'.length))
}
