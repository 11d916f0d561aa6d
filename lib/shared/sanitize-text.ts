import { Phrase, type PhraseValues } from './phrase.ts'

// Control and format characters, unpaired surrogates, and the two Unicode line separators.
const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
// Compact JWTs and JWEs start with `{"` in base64url. Fragments of a token are removed, too.
const token = /\beyJ[\w-]{8,}(?:\.[\w-]*)*/g

/**
 * Makes untrusted text safe for logs, events and terminals: one line of bounded length, without tokens. A line break could
 * forge a log line, and an escape sequence could rewrite the operator's screen, so such characters are written as escapes.
 */
export function sanitizeText(text: string, maxLength = 1000): string {
  const line = text
    .slice(0, maxLength + 1)
    .replace(invisible, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
    .replace(token, 'eyJ…')
  return line.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line
}

/** The same for the values of a text. */
export function sanitizePhrase({ text, values }: Phrase, maxLength?: number): Phrase {
  const safe = Object.entries(values).map(([name, value]) => {
    if (typeof value === 'number') return [name, value]
    return [
      name,
      typeof value === 'string' ? sanitizeText(value, maxLength) : sanitizePhrase(value, maxLength),
    ]
  })
  return new Phrase(text, Object.fromEntries(safe) as PhraseValues)
}

/**
 * Makes a sentence of an error message, which begins with a lower-case letter and may contain backticks.
 *
 * @param say translates the quotation marks that replace the backticks
 */
export function sentence(text: string, say: (text: string) => string = String): string {
  // Do not capitalise names such as `client_secret_basic`.
  const capitalised = text.replace(
    /^\p{Ll}+(?=[\s,’'-])/u,
    (word) => word.charAt(0).toUpperCase() + word.slice(1),
  )
  const quoted = capitalised.replace(/`([^`]*)`/g, say('“…”').replace('…', '$$1'))
  return /[.!?…]$/.test(quoted) ? quoted : `${quoted}.`
}
