import { formEncoded } from '../providers/client-authentication.ts'

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
  const safe = conceal(said, secrets).replace(opaque, (run) => (telling.test(run) ? run : '…'))
  return JSON.stringify(safe.slice(0, 300))
}

/** Takes secrets out of a text, in the spellings in which they travel. */
export function conceal(text: string, secrets: readonly string[]): string {
  const spellings = secrets.flatMap((secret) => [secret, encodeURIComponent(secret), formEncoded(secret)])
  return spellings
    .filter((spelling) => spelling !== '')
    .sort((a, b) => b.length - a.length)
    .reduce((left, spelling) => left.replaceAll(spelling, '…'), text)
}
