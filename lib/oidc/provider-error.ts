import { formEncoded } from './provider-client.ts'

// A code, a token or a key by its looks: long, and of the characters that those are made of.
const opaque = /[\w~+=%-]{20,}/g
// What tells the operator something and nobody else anything: the names of errors (`temporarily_unavailable`), and the trace
// ids that a provider's support asks for.
const telling = /^(?:[a-z]+(?:[_-][a-z]+)+|[\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12})$/

/**
 * What a provider said, for the operator: bounded, in quotes, and without secrets. Some providers quote the code, or the whole
 * request, when they refuse it; who reads logs could then try the code first, or be the portal.
 *
 * @param secrets of this exchange
 */
export function quote(said: string, secrets: readonly string[]): string {
  const safe = redact(said, secrets).replace(opaque, (run) => (telling.test(run) ? run : '…'))
  return JSON.stringify(safe.slice(0, 300))
}

/** Takes secrets out of a text, in the spellings in which they travel. */
export function redact(text: string, secrets: readonly string[]): string {
  const spellings = secrets.flatMap((secret) => [secret, encodeURIComponent(secret), formEncoded(secret)])
  return spellings
    .filter((spelling) => spelling !== '')
    .sort((a, b) => b.length - a.length)
    .reduce((left, spelling) => left.replaceAll(spelling, '…'), text)
}

/**
 * Answers of Entra for which an administrator, or the person, has to consent to the application first: nobody has (65001, 90008),
 * the person said no (65004), only an administrator may (90093, 90094, 900941), who was asked just now (90095).
 */
const consentCodes = new Set(['65001', '65004', '90008', '90093', '90094', '900941', '90095'])

/** The number that Entra gives an error, such as `AADSTS65001`; nothing else of a description is for anybody to see. */
export function entraCode(description: unknown): string | undefined {
  return typeof description === 'string' ? /\bAADSTS\d{5,8}\b/.exec(description)?.[0] : undefined
}

/**
 * Whether an error says that consent is missing (OpenID Connect Core 3.1.2.6). `interaction_required` is general, and with
 * another number (50076: a second factor) something else.
 */
export function isConsentRequired(error: string, description: unknown): boolean {
  if (error === 'consent_required') return true
  const code = entraCode(description)
  return code === undefined ? error === 'interaction_required' : consentCodes.has(code.slice('AADSTS'.length))
}
