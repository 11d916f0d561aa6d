// Controls, formats (they turn the direction of text), halves of characters, and the two separators that are line breaks.
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
// JOSE's compact forms begin so: `{"` in base64url. Parts of a token are as good as gone, too.
const token = /\beyJ[\w-]{8,}(?:\.[\w-]*)*/g

/**
 * Text from outside, fit for a log, an event and the terminal that somebody reads them in: one line of bounded length. A line
 * break would forge a line of its own in a host's plain-text log, an escape sequence would rewrite the operator's screen. What
 * is not seen is written out, so that an attack can be read; what looks like a token is left out, whoever quoted it.
 *
 * @param longest characters
 */
export function sanitizeText(text: string, longest = 1000): string {
  const line = text
    .slice(0, longest + 1)
    .replace(unseen, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
    .replace(token, 'eyJ…')
  return line.length > longest ? `${line.slice(0, longest - 1)}…` : line
}
